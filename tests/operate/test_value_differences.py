"""Rows of older versions: a field that had no column then, and is in `extra`, is no difference."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest

from letta_source.operate.value_differences import really_edited

NOON = datetime(2025, 3, 3, 12, tzinfo=timezone.utc)
SCHEMA = pa.schema(
    {"text": pa.string(), "stats": pa.string(), "at": pa.timestamp("us", "UTC"), "extra": pa.string()}
)


def row(**values: Any) -> pa.Table:
    return pa.Table.from_pylist([values], schema=SCHEMA)


@pytest.mark.parametrize(
    ("sent", "held", "differ"),
    [
        ({"text": "a"}, {"extra": '{"text": "a"}'}, []),
        ({"stats": '{"n":1}'}, {"extra": '{"stats": {"n": 1}}'}, []),
        ({"at": NOON}, {"extra": '{"at": "2025-03-03T12:00:00Z"}'}, []),
        ({}, {"extra": '{"text": null}'}, []),
        ({"text": "a", "extra": '{"new": 1}'}, {"extra": '{"new": 1, "text": "a"}'}, []),
        ({"text": "b"}, {"extra": '{"text": "a"}'}, ["text", "extra"]),
        ({"text": "a"}, {"extra": '{"text": "a", "unknown": 1}'}, ["extra"]),
        ({"text": "a", "extra": '{"new": 1}'}, {"extra": '{"text": "a"}'}, ["extra"]),
        ({"text": "a", "stats": "1"}, {"stats": "2", "extra": '{"text": "a"}'}, ["stats"]),
        ({"text": "a"}, {"text": "b", "extra": '{"text": "a"}'}, ["text", "extra"]),
        ({"extra": "[1]"}, {"extra": '{"text": "a"}'}, ["extra"]),
    ],
)
def test_a_value_that_an_older_version_kept_in_extra_is_no_difference(
    sent: dict[str, Any], held: dict[str, Any], differ: list[str]
) -> None:
    names = [name for name in SCHEMA.names if sent.get(name) != held.get(name)]
    assert really_edited(names, row(**sent), row(**held)) == differ
