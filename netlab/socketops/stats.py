"""Figures on many measured times: exact ends, mean and deviation, percentiles, and a histogram, in bounded memory."""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Mapping, Sequence

__all__ = ["Samples"]

_KEPT = 200_000
"""Samples kept for percentiles; of more, each is kept with the same chance (Vitter's algorithm R)."""
# 1, 2, 5, 10 ... from 1 us to 1000 s: bounds that a reader has in mind, and few enough for a screen.
_BOUNDS = [digit * 10.0**power for power in range(-6, 3) for digit in (1, 2, 5)] + [1000.0]


class Samples:
    """Times in seconds, added one by one."""

    def __init__(self) -> None:
        self.count = 0
        self.min = math.inf
        self.max = 0.0
        self.mean = 0.0
        self._squares = 0.0  # sum of squared distances from the mean (Welford's method, which loses no digits)
        self._kept = array("d")
        self._buckets = [0] * (len(_BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        """Count one measured time."""
        self.count += 1
        distance = seconds - self.mean
        self.mean += distance / self.count
        self._squares += distance * (seconds - self.mean)
        self.min, self.max = min(self.min, seconds), max(self.max, seconds)
        self._buckets[bisect.bisect_right(_BOUNDS, seconds)] += 1
        if len(self._kept) < _KEPT:
            self._kept.append(seconds)
        else:
            self._replace(seconds)

    def _replace(self, seconds: float) -> None:
        import random  # costs more to load than all else here, and few runs are so long

        place = random.randrange(self.count)
        if place < _KEPT:
            self._kept[place] = seconds

    @property
    def deviation(self) -> float:
        """The standard deviation of all that was measured (ping's mdev)."""
        return math.sqrt(self._squares / self.count) if self.count else 0.0

    def percentiles(self, wanted: Sequence[float]) -> list[float]:
        """Return the nearest-rank percentiles: a value that was measured, below or at which so many percent lie.

        >>> samples = Samples()
        >>> for number in range(1, 101): samples.add(number)
        >>> samples.percentiles([50, 90, 99.9])
        [50.0, 90.0, 100.0]
        """
        ordered = sorted(self._kept)
        ranks = (max(math.ceil(percent / 100 * len(ordered)), 1) for percent in wanted)
        return [ordered[rank - 1] for rank in ranks] if ordered else []

    def figures(self, percentiles: Mapping[str, float], front: str = "") -> dict[str, float]:
        """Return min, the percentiles, max, mean and sd in us, under JSON keys; nothing where nothing was measured.

        Args:
          percentiles: key, without its ``_us``, and how many percent.
          front: put before each key.
        """
        if not self.count:
            return {}
        found = dict(zip(percentiles, self.percentiles(list(percentiles.values())), strict=True))
        seconds = {"min": self.min, **found, "max": self.max, "mean": self.mean, "sd": self.deviation}
        return {f"{front}{name}_us": round(value * 1e6, 3) for name, value in seconds.items()}

    def histogram(self) -> list[tuple[float, float, int]]:
        """Return rows of lower bound, upper bound and count, from the shortest time to the longest without a gap."""
        used = [number for number, count in enumerate(self._buckets) if count]
        if not used:
            return []
        bounds = [0.0, *_BOUNDS, math.inf]
        rows = range(used[0], used[-1] + 1)
        return [(max(bounds[n], self.min), min(bounds[n + 1], self.max), self._buckets[n]) for n in rows]
