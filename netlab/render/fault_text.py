"""The list of faults as a page: what one writes, what comes of it, and two commands that show it."""

from __future__ import annotations

from collections.abc import Mapping

from netlab.records import Record
from netlab.render.layout import columns, labelled, steps
from netlab.render.text import Lines, View
from netlab.reports import FaultKind, FaultList

__all__ = ["LINES"]


def _fault_list(view: View, record: FaultList) -> list[str]:
    lines = [line for kind in record.kinds for line in (*_fault(view, kind), "")]
    return [*lines, "Several combine; --seed N makes what is left to chance the same again."]


def _fault(view: View, kind: FaultKind) -> list[str]:
    return [
        view.paint(kind.usage, "green"),
        *labelled("  server", kind.does),
        *labelled("  client", kind.sees),
        columns("  try", kind.server),
        *steps("", [(kind.client, f"exit status {kind.status}")]),
    ]


LINES: Mapping[type[Record], Lines] = {FaultList: _fault_list}
