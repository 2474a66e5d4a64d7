"""Joining children with their rows while both are streamed gives the same as a naive join."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.errors import Changed
from letta_source.export.stream import Child, nested

SCHEMA = pa.schema([("parent", pa.string()), ("id", pa.string()), ("position", pa.int64())])
TYPE = pa.list_(pa.struct([("said", pa.string()), ("missing", pa.int64())]))
KEY = ("parent", "id", "position")
# Some keys would be equal if concatenated, and collations sort these texts differently.
TEXTS = st.sampled_from(["a", "A", "ab", "b", "ä", "", "-", "a-"])
Key = tuple[str, str, int]


def cut(rows: Sequence[Any], sizes: Sequence[int], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield batches of these sizes in turn; a batch may be empty."""
    at = turn = 0
    while at < len(rows):
        size = sizes[turn % len(sizes)]
        turn += 1
        part = rows[at : at + size]
        columns: list[Any] = list(zip(*part, strict=True)) or [[]] * len(schema)
        arrays = [pa.array(values, one.type) for values, one in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        at += size


def joined(
    keys: Sequence[Key], children: Sequence[tuple[Any, ...]], sizes: Sequence[int], child_sizes: Sequence[int]
) -> list[tuple[Key, list[str]]]:
    schema = pa.schema([*SCHEMA, ("said", pa.string())])
    child = Child(cut(children, child_sizes, schema), KEY, TYPE)
    found = []
    for batch in nested(cut(keys, sizes, SCHEMA), KEY, {"children": child}):
        for row in batch.to_pylist():
            assert all(one["missing"] is None for one in row["children"])
            found.append((tuple(row[name] for name in KEY), [one["said"] for one in row["children"]]))
    return found


SIZES = st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(any)


@given(
    keys=st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 2)), unique=True, max_size=12),
    counts=st.lists(st.integers(0, 5), min_size=12, max_size=12),
    sizes=SIZES,
    child_sizes=SIZES,
)
def test_equals_a_naive_join(
    keys: list[Key], counts: list[int], sizes: list[int], child_sizes: list[int]
) -> None:
    children = [
        (*key, f"{number} {index}")
        for number, (key, count) in enumerate(zip(keys, counts, strict=False))
        for index in range(count)
    ]
    expected = [(key, [row[3] for row in children if row[:3] == key]) for key in keys]
    assert joined(keys, children, sizes, child_sizes) == expected


@given(order=st.permutations([0, 1, 2]))
def test_keys_that_a_database_treats_as_equal_may_come_in_any_order(order: list[int]) -> None:
    keys: list[Key] = [("a", "x", 0), ("A", "x", 0), ("ä", "x", 0)]
    children = [(*keys[number], str(number)) for number in order]
    assert joined(keys, children, [3], [2]) == [(key, [str(number)]) for number, key in enumerate(keys)]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_children_without_their_parent_row_are_an_error(number: int) -> None:
    keys: list[Key] = [("a", "x", 0), ("a", "y", 0), ("b", "z", 0)]
    children = [(*key, "said") for key in keys]
    del keys[number]
    with pytest.raises(Changed, match="try again"):
        joined(keys, children, [2], [2])
