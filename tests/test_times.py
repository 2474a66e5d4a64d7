"""The creation time of an item, whatever its endpoint calls the field; and times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import letta_source
from letta_source.cli import status
from letta_source.errors import ConfigError
from letta_source.report import formats
from letta_source.report.period import PeriodOptions
from letta_source.times import created_at, newest_of, parse_time, written

PACKAGE = Path(letta_source.__file__).parent

SECOND = datetime(2026, 11, 21, 8, 9, 28, tzinfo=timezone.utc)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=zones)


@given(moments, st.sampled_from(["", "7", "789"]))
def test_times_come_back_in_utc_to_the_microsecond(moment: datetime, beyond: str) -> None:
    text = moment.isoformat(timespec="microseconds")
    parsed = parse_time(f" {text[:26]}{beyond}{text[26:]}")
    assert parsed == moment
    assert parsed.tzinfo is timezone.utc
    assert parse_time(text[:26]) == moment.replace(tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "9999-12-31T23:59:59-12:00", "9999-12-31T24:00"])
def test_invalid_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"date": "2026-11-21T08:09:28+00:00"}, SECOND),
        ({"created_at": "2026-11-21T08:09:28"}, SECOND),
        ({"date": None, "created_at": "2026-11-21T08:09:28Z"}, SECOND),
        ({"date": "2026-11-21T08:09:28Z", "created_at": "2025-01-01"}, SECOND),
        ({"date": "soon"}, None),
        ({"date": 5}, None),
        ({}, None),
    ],
)
def test_created_at(item: dict[str, object], expected: datetime | None) -> None:
    assert created_at(item) == expected


# `newest_of` and `parse_time` parse most of these alike; those that the former rejects are parsed singly.
WRITTEN = [
    "2026-11-21T08:09:28+00:00", "2026-11-21T08:09:28Z", "2026-11-21T08:09:28.5Z", "2026-11-21 08:09:28Z",
    "2026-11-21T10:09:28+02:00", "2026-11-21T08:09:28-0530", "2026-11-21T08:09:28+05", "2026-11-21T08Z",
    "2026-11-21T08:09:28", "2026-11-21", "20261121T080928Z", "2026-W47-6T08:09:28+00:00",
    "2026-11-21T24:00:00Z", "2026-11-21T08:09:28.123456789Z", " 2026-11-21T08:09:28Z",
    "2026-11-21T08:09:28,5Z", "2026-11-21T08:09:60Z", "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59-12:00", "2026-02-30T00:00:00Z", "soon", "",
]  # fmt: skip


@given(st.lists(st.sampled_from([*WRITTEN, None, 5]) | moments.map(datetime.isoformat), max_size=4))
def test_newest_of_equals_the_newest_parsed_time_or_raises(texts: list[object]) -> None:
    times = [time for text in texts if (time := created_at({"date": text})) is not None]
    try:
        newest = newest_of(texts)
    except ValueError:
        return
    assert newest == max(times, default=None)


def test_newest_of_accepts_times_as_the_server_writes_them() -> None:
    texts = ["2026-11-21T08:09:27+00:00", None, "2026-11-21T08:09:28+00:00", "2026-11-21T08:09:26.5+00:00"]
    assert newest_of(texts) == SECOND
    assert newest_of([None]) is newest_of([]) is None


def test_early_years_have_four_digits_wherever_they_are_shown() -> None:
    """On Linux, `strftime` writes the year 1 as 1."""
    time = datetime(1, 2, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
    assert written(time) == formats.moment(time) == status._time(time) == "0001-02-03 04:05:06"
    assert written(time, "microseconds") == "0001-02-03 04:05:06.000007"
    assert formats.day(time) == "3 Feb 0001"
    with pytest.raises(ConfigError, match="from 0001-02-03 04:05 to 0001-02-03 04:05"):
        PeriodOptions(time, time, 30).period(None)
    formatted = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if "%Y" in file.read_text("utf-8") and file.parent.name != "demo"
    }
    # The dates of charts are formatted by Vega, all others are of now.
    assert formatted == {
        "cli/progress.py", "destinations/lease_holder.py", "extract/issues.py", "loading/load_log.py",
        "operate/erase.py", "report/charts.py",
    }  # fmt: skip
