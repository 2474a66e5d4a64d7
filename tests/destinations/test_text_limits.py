"""Texts that are too long for a destination are truncated; all others are unchanged."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.destinations.capabilities import within

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def table(**columns: list[str | None]) -> pa.Table:
    return pa.table({name: pa.array(texts, pa.string()) for name, texts in columns.items()})


@given(st.lists(st.none() | TEXTS, max_size=5), st.integers(2, 70))
def test_texts_keep_their_beginning(texts: list[str | None], longest: int) -> None:
    made, cut = within(table(text=texts), longest, ())
    kept = made["text"].to_pylist()
    assert cut == sum(before != after for before, after in zip(texts, kept, strict=True))
    for before, after in zip(texts, kept, strict=True):
        if before is None or len(before.encode()) <= longest:
            assert after == before
        else:
            # A character has four bytes at most.
            assert before.startswith(after)
            assert longest - 4 < len(after.encode()) <= longest


@given(TEXTS, st.integers(2, 70))
def test_json_stays_json(text: str, longest: int) -> None:
    sent = json.dumps({"text": text})
    made, cut = within(table(extra=[sent, None]), longest, {"extra"})
    kept = made["extra"][0].as_py()
    assert len(kept.encode()) <= longest
    if cut:
        assert sent.startswith(json.loads(kept))
    else:
        assert kept == sent


def test_truncated_json_uses_the_whole_limit() -> None:
    made, _ = within(table(extra=["1" * 99]), 10, {"extra"})
    assert made["extra"].to_pylist() == ['"11111111"']


@pytest.mark.parametrize("chunks", [1, 3])
def test_rows_that_fit_are_unchanged(chunks: int) -> None:
    rows = pa.concat_tables([table(text=["a", None, "é"]).append_column("idx", pa.array([1, 2, 3]))] * chunks)
    made, cut = within(rows, 2, ())
    assert made is rows
    assert cut == 0


def test_schema_and_other_columns_stay() -> None:
    schema = pa.schema(
        [pa.field("id", pa.string(), nullable=False), ("idx", pa.int64()), ("text", pa.string())]
    )
    rows = pa.concat_tables(
        [pa.table([["a"], [1], ["x" * 9]], schema), pa.table([["b"], [2], [None]], schema)]
    )
    made, cut = within(rows, 4, ())
    assert (made.schema, cut) == (schema, 1)
    assert made.to_pylist() == [{"id": "a", "idx": 1, "text": "xxxx"}, {"id": "b", "idx": 2, "text": None}]
