"""A picture as a Mermaid sequence diagram (mermaid.js.org), which GitHub and many editors draw.

Everything that came from outside is written in entity codes where Mermaid would take it for syntax.
"""

from __future__ import annotations

import re
import textwrap

from netlab.render.calls import call_text, equals
from netlab.render.picture.cells import gathered_text
from netlab.render.picture.lanes import Lane
from netlab.render.picture.scene import Scene, Step

__all__ = ["draw_mermaid"]

_PREVIEW = 24
_NOTE_WIDTH = 44
# Mermaid ends statements at ; and #, begins comments with %%, and takes HTML in texts.
_SYNTAX = re.compile(r"[^\w .,:()/'\"=|@*+-]", re.ASCII)


def draw_mermaid(scene: Scene) -> list[str]:
    """Return the lines of a Mermaid ``sequenceDiagram``: calls as notes over their lane, arrows between lanes."""
    lines = ["sequenceDiagram"]
    lines += [f"    participant L{index} as {_lane(lane)}" for index, lane in enumerate(scene.lanes)]
    lines += [f"    {line}" for step in scene.steps for line in _step(step)]
    for number, note in enumerate(scene.notes, start=1):
        wrapped = "<br/>".join(
            _text(line) for line in textwrap.wrap(f"({number}) {note}", _NOTE_WIDTH, break_on_hyphens=False)
        )
        lines.append(f"    Note over L0,L{len(scene.lanes) - 1}: {wrapped}")
    return lines


def _lane(lane: Lane) -> str:
    thread = lane.thread or "(not traced)"
    return _text(f"{lane.side.upper()} {thread}") + (f"<br/>{_text(lane.local)}" if lane.local else "")


def _step(step: Step) -> list[str]:
    words = []
    if step.repeats > 1:
        words = [gathered_text(step)]
    elif step.kind in ("call", "begin"):
        words = [call_text(step.call, fd=step.shows_fd, limit=_PREVIEW)]
    if step.kind in ("call", "end") and step.repeats == 1:
        words.append(equals(step.call, _PREVIEW))
    words += [step.mark, step.state, step.state_mark]
    note = f"Note over L{step.lane}: {_text(' '.join(word for word in words if word))}"
    arrows = []
    for arrow in step.arrows:
        source, target = (step.lane, step.other) if arrow.outward else (step.other, step.lane)
        arrows.append(f"L{source}->>L{target}: {_text(arrow.label)}")
    # What comes in is seen by the result, which stands after it.
    return [*arrows, note] if step.kind == "end" else [note, *arrows]


def _text(text: str) -> str:
    return _SYNTAX.sub(lambda found: f"#{ord(found[0])};", text)
