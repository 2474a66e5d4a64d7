"""When an item was created, whatever its endpoint calls the field."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.times import created_at, parse_time

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
def test_what_is_no_time_is_refused(text: str) -> None:
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
