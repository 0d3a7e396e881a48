"""Durations and sizes read as they are written, and figures look as they should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.values import (
    format_bytes,
    format_count,
    format_elapsed,
    format_setting,
    format_time,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("5", 5.0),
        ("1.5s", 1.5),
        (".5", 0.5),
        ("2m", 120.0),
        ("1.5h", 5400.0),
        ("1h", 3600.0),
        ("50us", 0.00005),
        ("0.1ms", 0.0001),
        ("0", 0.0),
        ("0s", 0.0),
        ("5 s", 5.0),
        ("1,500 ms", 1.5),
        ("576h", 24 * 86400.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "-1", "-1s", "+1", "nan", "inf", "1e3", "5x", "5 s ", " 5", "5S", "1_0", "5.", ".", "1,00", "٥", "1m30s"],
)
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(text)
    assert str(caught.value) == f"{text!r} is no duration; write a number and us, ms, s, m or h, such as 300ms or 5s"


@pytest.mark.parametrize("text", ["577h", "999999999999999999999999"])
def test_durations_end_where_poll_does(text: str) -> None:
    with pytest.raises(ValueError, match="24 days"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("5", 5),
        ("5B", 5),
        ("10k", 10240),
        ("10K", 10240),
        ("64KiB", 65536),
        ("64kiB", 65536),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1m", 1024**2),
        ("1M", 1024**2),
        ("1MiB", 1024**2),
        ("1MB", 1000**2),
        ("2g", 2 * 1024**3),
        ("2G", 2 * 1024**3),
        ("2GiB", 2 * 1024**3),
        ("2GB", 2 * 1000**3),
        ("1.5k", 1536),
        ("1.50kB", 1500),
        ("131,072 B", 131072),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "B", "-1", "5b", "5kb", "5KIB", "5Kib", "1e3", "0x10", "nan", "5 k ", "1,0", "5s", "5T"]
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_size(text)
    assert str(caught.value) == (
        f"{text!r} is no size; write a number and B, k, M or G (KiB is 1024, kB is 1000), such as 64k or 5B"
    )


def test_sizes_are_whole_bytes_that_a_file_can_have() -> None:
    with pytest.raises(ValueError, match=r"^the size '0\.3k' is no whole number of bytes$"):
        parse_size("0.3k")
    with pytest.raises(ValueError, match="is too large; 9223372036854775807 B is the most"):
        parse_size(str(2**63))


@given(st.text())
def test_junk_is_refused_in_one_safe_line(text: str) -> None:
    for parse in (parse_duration, parse_size):
        message = ""
        try:
            assert parse(text) >= 0
        except ValueError as error:
            message = str(error)
        assert message.isprintable()
        assert len(message) < 800


@given(st.one_of(st.just(0.0), st.floats(1e-9, 24 * 86400), st.integers(0, 24 * 86400).map(float)))
def test_settings_read_back(seconds: float) -> None:
    assert parse_duration(format_setting(seconds)) == seconds
    assert parse_duration(format_setting(seconds).replace(" ", "")) == seconds


@given(st.integers(0, 2**63 - 1))
def test_bytes_read_back(size: int) -> None:
    assert parse_size(format_bytes(size)) == size


@given(st.floats(0, 1e6))
def test_measured_times_keep_three_digits(seconds: float) -> None:
    for text in (format_time(seconds), format_elapsed(seconds)):
        number = text.split()[0]
        assert sum(c.isdigit() for c in number.replace(",", "").lstrip("0.")) <= max(3, len(f"{seconds:.0f}"))
        # Half a percent of the figure, or half a unit of the last place that is shown.
        assert parse_duration(text) == pytest.approx(seconds, rel=0.0051, abs=0.51e-6)


@pytest.mark.parametrize(
    ("seconds", "elapsed", "time"),
    [
        (0.0, "0.000 ms", "0 us"),
        (0.000027, "0.027 ms", "27 us"),
        (0.000212, "0.212 ms", "212 us"),
        (0.000912, "0.912 ms", "912 us"),
        (0.0009996, "1.00 ms", "1.00 ms"),
        (0.00131, "1.31 ms", "1.31 ms"),
        (0.00812, "8.12 ms", "8.12 ms"),
        (0.009996, "10.0 ms", "10.0 ms"),
        (0.09996, "100 ms", "100 ms"),
        (0.31, "310 ms", "310 ms"),
        (0.9996, "1.00 s", "1.00 s"),
        (5.0, "5.00 s", "5.00 s"),
        (14.0, "14.0 s", "14.0 s"),
        (133.0, "133 s", "133 s"),
        (7200.0, "7,200 s", "7,200 s"),
    ],
)
def test_measured_times(seconds: float, elapsed: str, time: str) -> None:
    assert (format_elapsed(seconds), format_time(seconds)) == (elapsed, time)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "5 s"),
        (300, "300 s"),
        (1.5, "1.5 s"),
        (0.3, "300 ms"),
        (0.00005, "50 us"),
        (0.001, "1 ms"),
        (0, "0 s"),
        (1000000, "1000000 s"),
    ],
)
def test_settings(seconds: float, text: str) -> None:
    assert format_setting(seconds) == text


def test_counts() -> None:
    assert format_count(1234567) == "1,234,567"
    assert format_count(999) == "999"
    assert format_bytes(3939840) == "3,939,840 B"
