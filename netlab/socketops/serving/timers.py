"""What is due when: the waits of a loop that must not wait for one of its clients alone."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
from collections.abc import Callable

__all__ = ["Timer", "Timers"]

Timer = tuple[float, int, Callable[[], None]]
"""One thing to do; for `Timers.cancel`."""


class Timers:
    """Things to do later, the next one first; those of one moment in the order in which they were added.

    >>> timers, done = Timers(), []
    >>> for moment in (2.0, 1.0, 3.0):
    ...     timer = timers.add(moment, lambda moment=moment: done.append(moment))
    >>> timers.cancel(timer)
    >>> timers.run(2.5), done, timers.next
    (None, [1.0, 2.0], inf)
    """

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._numbers = itertools.count()

    def add(self, moment: float, action: Callable[[], None]) -> Timer:
        """Do something at a moment of time.monotonic."""
        timer = (moment, next(self._numbers), action)
        heapq.heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Leave it undone, if it is not done yet; it is forgotten at once, however late it was due."""
        with contextlib.suppress(ValueError):
            self._heap.remove(timer)
            heapq.heapify(self._heap)

    def run(self, now: float) -> None:
        """Do what is due by now."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()

    @property
    def next(self) -> float:
        """The moment of the next one; infinite if there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def __len__(self) -> int:
        return len(self._heap)
