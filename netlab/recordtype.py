"""What a record is: its base class, how its classes are made, and what takes it."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, TypeVar, dataclass_transform

__all__ = ["Emit", "Record", "record"]

R = TypeVar("R")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(made: type[R]) -> type[R]:
    """Make a class a record: a dataclass with slots, its fields by keyword only, frozen for whoever checks types.

    A class that is frozen at run time, too, and has methods of its own to compare and to show it, takes three times as
    long to make, which every start would pay for thirty of them; and so does each of its objects.
    """
    return dataclass(slots=True, kw_only=True, eq=False, repr=False)(made)


@record
class Record:
    """Base of all records; ``event`` is the JSON discriminator."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    event: ClassVar[str] = ""
    time: float = field(default_factory=clock.time)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, each.name) == getattr(other, each.name) for each in fields(self)
        )

    def __repr__(self) -> str:
        shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
        return f"{type(self).__name__}({', '.join(shown)})"

    def parts(self) -> tuple[Record, ...]:
        """Return what machines get for it, one JSON line each: itself, unless people see several records as one."""
        return (self,)


Emit = Callable[[Record], None]
"""Takes each record as it happens, in the thread it happened in.  What it raises stops the operation."""
