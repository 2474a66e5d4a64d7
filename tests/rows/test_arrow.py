"""Whatever the server sends in a field is in its column or in the row's `extra`."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, get_args

import pyarrow as pa
import pytest

from letta_source.models.marks import Type
from letta_source.rows.arrow import empty, table_of, to_arrays
from letta_source.schema.columns import EXTRA, LOAD_ID, Column, text
from letta_source.schema.tables import Table

SENT = {"text": "t_sent", "timestamp": "date"}
TABLE = Table(
    "table",
    "A column of each type.",
    (
        text("id", "", nullable=False),
        *(Column(type_, type_, type_, source=SENT.get(type_)) for type_ in get_args(Type)),
        EXTRA,
        LOAD_ID,
    ),
    primary_key=("id",),
)
SECOND = datetime(2026, 11, 21, 8, 9, 28, tzinfo=timezone.utc)


def _landed(type_: Type, *values: Any, extra: dict[str, Any] | None = None) -> list[tuple[Any, Any]]:
    """Return the cells of one column's values, each with its row's `extra`."""
    columns = {"id": ["a"] * len(values), type_: list(values)}
    extras = {row: extra for row in range(len(values))} if extra else None
    table = table_of(TABLE, [(len(values), to_arrays(TABLE, columns, extras))], "load-1")
    table.validate(full=True)
    assert table.schema == TABLE.arrow_schema
    assert table[LOAD_ID.name].to_pylist() == ["load-1"] * len(values)
    found = [cell and json.loads(cell) for cell in table["extra"].to_pylist()]
    return list(zip(table[type_].to_pylist(), found, strict=True))


FITTING: list[tuple[Type, Any, Any]] = [
    ("text", "", ""),
    ("text", 5, "5"),
    ("text", 1.5, "1.5"),
    ("text", 2**70, str(2**70)),
    ("text", False, "false"),
    ("text", {"a": [None]}, '{"a":[null]}'),
    ("text", "a\0b", "a\ufffdb"),
    ("text", "a\ud800b", "a\ufffdb"),
    ("text", {"a\0": "\ud800"}, '{"a\ufffd":"\ufffd"}'),
    ("bigint", 2**63 - 1, 2**63 - 1),
    ("bigint", -(2**63), -(2**63)),
    ("double", 0.1, 0.1),
    ("double", 1, 1.0),
    ("bool", False, False),
    ("timestamp", "2026-11-21T08:09:28+00:00", SECOND),
    ("timestamp", "2026-11-21T08:09:28.000001Z", SECOND.replace(microsecond=1)),
    # completed_at of runs has no time zone.
    ("timestamp", "2026-11-21T08:09:28", SECOND),
    ("timestamp", "2026-11-21T08:09:28.123456", SECOND.replace(microsecond=123456)),
    ("timestamp", "2026-11-21T03:39:28-04:30", SECOND),
    ("timestamp", "2026-11-21T09:09:28.123456789+01:00", SECOND.replace(microsecond=123456)),
    ("timestamp", "2026-11-21", SECOND.replace(hour=0, minute=0, second=0)),
    ("timestamp", SECOND, SECOND),
]
GOOD: dict[Type, Any] = {
    "text": "a",
    "bigint": 1,
    "double": 1.5,
    "bool": True,
    "timestamp": "2026-01-01T00:00Z",
}


@pytest.mark.parametrize(("type_", "value", "cell"), FITTING)
def test_values_that_fit(type_: Type, value: Any, cell: Any) -> None:
    for values in ([value], [None, value, GOOD[type_]], [value, "misfit"]):
        landed = _landed(type_, *values)
        assert landed[values.index(value)] == (cell, None)
        assert type(landed[values.index(value)][0]) is type(cell)


MISFITS: list[tuple[Type, Any]] = [
    ("bigint", "5"),
    ("bigint", 1.5),
    ("bigint", 1.0),
    ("bigint", True),
    ("bigint", 2**63),
    ("bigint", 2**70),
    ("bigint", {"a": 1}),
    ("double", "0.5"),
    ("double", True),
    ("double", 2**53 + 1),
    ("double", 10**400),
    ("bool", 1),
    ("bool", "true"),
    ("bool", [True]),
    ("timestamp", "soon"),
    ("timestamp", ""),
    ("timestamp", 1767225600),
    ("timestamp", "2026-02-30T00:00:00Z"),
    ("timestamp", "2026-11-21T08:09:60Z"),
    ("timestamp", "0000-01-01T00:00:00Z"),
    ("timestamp", "9999-12-31T23:59:59-12:00"),
    ("timestamp", "0001-01-01T00:00:00.1234567+12:00"),
]


@pytest.mark.parametrize(("type_", "value"), MISFITS)
def test_values_that_do_not_fit_go_to_extra(type_: Type, value: Any) -> None:
    field = SENT.get(type_, type_)
    for values in ([value], [None, value, GOOD[type_]]):
        landed = _landed(type_, *values)
        cell, extra = landed[values.index(value)]
        assert cell is None
        assert extra == {field: value}
        assert type(extra[field]) is type(value)
        assert not any(other for row, (_, other) in enumerate(landed) if values[row] is not value)


def test_misfits_are_added_to_extra() -> None:
    (landed,) = _landed("bigint", "five", extra={"new": 99999999999999999999})
    assert landed == (None, {"new": 99999999999999999999, "bigint": "five"})


def test_misfits_of_several_columns_go_to_their_rows() -> None:
    columns = {"id": ["a", "b", "c"], "bigint": ["x", 1, 2], "timestamp": ["y", "z", None]}
    extras = to_arrays(TABLE, columns)["extra"].to_pylist()
    assert [extra and json.loads(extra) for extra in extras] == [
        {"bigint": "x", "date": "y"},
        {"date": "z"},
        None,
    ]


def test_a_column_that_parts_lack_is_null_there() -> None:
    parts: list[dict[str, list[str | None]]] = [
        {"id": ["a"]},
        {"id": ["b", "c"], "text": ["x", None]},
        {"id": ["d"]},
        {"id": ["e"], "text": ["y"]},
    ]
    table = table_of(TABLE, [(len(part["id"]), to_arrays(TABLE, part)) for part in parts], "load-1")
    table.validate(full=True)
    assert table["id"].to_pylist() == ["a", "b", "c", "d", "e"]
    assert table["text"].to_pylist() == [None, "x", None, None, "y"]
    assert table["bool"].null_count == 5


def test_an_empty_table_has_every_column() -> None:
    assert empty(TABLE).schema == TABLE.arrow_schema
    assert empty(TABLE).num_rows == 0


def test_a_chunked_column_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyarrow makes chunks of texts beyond 2 GB."""
    array = pa.array

    def in_chunks(values: list[Any], type_: pa.DataType | None = None) -> pa.ChunkedArray:
        return pa.chunked_array([array(values[:1], type_), array(values[1:], type_)], type_)

    monkeypatch.setattr(pa, "array", in_chunks)
    for values in (["a", None, "b"], ["a", "\0b", None]):
        cells = [value and value.replace("\0", "\ufffd") for value in values]
        assert _landed("text", *values) == [(cell, None) for cell in cells]
