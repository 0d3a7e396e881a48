"""Durations and sizes as people write them, and figures as netlab shows them.

Everything inside netlab is in seconds and bytes; units exist only here.
"""

from __future__ import annotations

import re

__all__ = [
    "format_bytes",
    "format_count",
    "format_elapsed",
    "format_setting",
    "format_time",
    "parse_duration",
    "parse_size",
]

# Seconds in a unit, as a fraction of whole numbers: so parse_duration divides once, and rounds correctly.
_DURATION_UNITS = {
    "us": (1, 1_000_000),
    "ms": (1, 1000),
    "": (1, 1),
    "s": (1, 1),
    "m": (60, 1),
    "h": (3600, 1),
}
_LONGEST = 24 * 86400
"""poll(2) takes milliseconds as an int, which ends after 24.8 days; Python raises OverflowError above that."""

_SIZE_UNITS = {"": 1, "B": 1}
for _power, _letters in enumerate(("kK", "mM", "gG"), start=1):
    for _letter in _letters:
        _SIZE_UNITS |= {_letter: 1024**_power, f"{_letter}iB": 1024**_power, f"{_letter}B": 1000**_power}
_LARGEST = 2**63 - 1
"""The kernel's loff_t: no file and no socket counts further."""

_NUMBER_AND_UNIT = re.compile(r"(?=\.?[0-9])([0-9]*|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.([0-9]+))? ?([A-Za-z]*)")
_TEXT_MAX = 64


def parse_duration(text: str) -> float:
    """Read a duration such as ``300ms``, ``1.5s``, ``2m`` or ``5``; a bare number is seconds.

    Returns:
      float: seconds, 0 to 24 days.

    Raises:
      ValueError: the text is no duration; the message is one line that lists the units.

    >>> parse_duration("300ms"), parse_duration("2m"), parse_duration("5")
    (0.3, 120.0, 5.0)
    """
    number, scale, unit = _split(text)
    if number is None or unit not in _DURATION_UNITS:
        raise ValueError(f"{_shown(text)} is no duration; write a number and us, ms, s, m or h, such as 300ms or 5s")
    times, parts = _DURATION_UNITS[unit]
    seconds = number * times / (scale * parts)
    if seconds > _LONGEST:
        raise ValueError(f"the duration {_shown(text)} is too long; 24 days (576h) is the most")
    return seconds


def parse_size(text: str) -> int:
    """Read a size such as ``10k``, ``64KiB``, ``1kB`` or ``5B``; a bare number is bytes.

    ``k``, ``K`` and ``KiB`` are 1024 bytes, ``kB`` is 1000; the same holds for m and g.

    Raises:
      ValueError: the text is no size, or no whole number of bytes; the message is one line that lists the units.

    >>> parse_size("64KiB"), parse_size("1kB"), parse_size("131,072 B")
    (65536, 1000, 131072)
    """
    number, scale, unit = _split(text)
    if number is None or unit not in _SIZE_UNITS:
        raise ValueError(
            f"{_shown(text)} is no size; write a number and B, k, M or G (KiB is 1024, kB is 1000), such as 64k or 5B"
        )
    size, rest = divmod(number * _SIZE_UNITS[unit], scale)
    if rest:
        raise ValueError(f"the size {_shown(text)} is no whole number of bytes")
    if size > _LARGEST:
        raise ValueError(f"the size {_shown(text)} is too large; {_LARGEST} B is the most")
    return size


def format_elapsed(seconds: float) -> str:
    """Format a time that was measured, in ms or s: ``0.212 ms``, ``8.12 ms``, ``5.00 s``, ``14.0 s``."""
    return f"{seconds * 1e3:.3f} ms" if seconds < 0.9995e-3 else _three_digits(seconds)


def format_time(seconds: float) -> str:
    """Format a time that was measured, in us, ms or s: ``31 us``, ``1.31 ms``, ``5.00 s``."""
    return f"{seconds * 1e6:.0f} us" if seconds < 0.9995e-3 else _three_digits(seconds)


def format_setting(seconds: float) -> str:
    """Format a duration that was asked for, exactly: ``5 s``, ``300 ms``; `parse_duration` reads it back."""
    from decimal import Decimal

    shift, unit = (0, "s") if seconds == 0 or seconds >= 1 else (3, "ms") if seconds >= 1e-3 else (6, "us")
    exact = f"{Decimal(repr(float(seconds))).scaleb(shift):f}"
    return f"{exact.rstrip('0').rstrip('.') if '.' in exact else exact} {unit}"


def format_count(number: int) -> str:
    """Format a number of things: ``1,234,567``."""
    return f"{number:,}"


def format_bytes(size: int) -> str:
    """Format a number of bytes, exactly: ``3,939,840 B``; `parse_size` reads it back."""
    return f"{size:,} B"


def _three_digits(seconds: float) -> str:
    # Each limit is where rounding would need one digit more, so that 9.996 gives 10.0 and not 10.00.
    number, unit = (seconds * 1e3, "ms") if seconds < 0.9995 else (seconds, "s")
    decimals = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:,.{decimals}f} {unit}"


def _split(text: str) -> tuple[int | None, int, str]:
    """Split into a whole number, the power of ten that divides it, and the unit; the number is None for junk."""
    found = _NUMBER_AND_UNIT.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if not found:
        return None, 1, ""
    whole, fraction, unit = found.groups(default="")
    return int(whole.replace(",", "") + fraction), 10 ** len(fraction), unit


def _shown(text: str) -> str:
    """Quote a text for a message: shortened, with all that does not print escaped."""
    return repr(text if len(text) <= _TEXT_MAX else text[:60] + "...")
