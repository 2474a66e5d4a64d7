"""Texts cut to what a destination can hold: one that is too long would fail its load, and each after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import orjson
import pyarrow as pa
import pyarrow.compute as pc

LONGEST_TEXT: Mapping[str, int] = {
    # VARCHAR(MAX); a text in a SUPER is no longer.
    "redshift": 65_535,
    "snowflake": 16 * 1024 * 1024,
}
"""Bytes, by the destination's dialect as sqlglot calls it; others hold what Letta's messages come to."""


def within(rows: pa.Table, longest: int, json: Collection[str]) -> tuple[pa.Table, int]:
    """Rows whose texts have `longest` bytes at most, and how many were cut.

    Args:
        longest: bytes of UTF-8, 2 at least.
        json: columns of JSON texts; one that is cut becomes a JSON string of its beginning.
    """
    cut = 0
    for index, field in enumerate(rows.schema):
        if not pa.types.is_string(field.type):
            continue
        column = rows.column(index).combine_chunks()
        too_long = pc.fill_null(pc.greater(pc.binary_length(column), longest), False)
        if not pc.any(too_long).as_py():
            continue
        shorten: Callable[[str, int], str] = _json_beginning if field.name in json else _beginning
        shorter = pa.array(
            [shorten(text, longest) for text in column.filter(too_long).to_pylist()], pa.string()
        )
        rows = rows.set_column(index, field, pc.replace_with_mask(column, too_long, shorter))
        cut += len(shorter)
    return rows, cut


def _beginning(text: str, longest: int) -> str:
    return text.encode()[:longest].decode(errors="ignore")


def _json_beginning(text: str, longest: int) -> str:
    room = longest
    while len(made := orjson.dumps(_beginning(text, room))) > longest:
        room -= len(made) - longest
    return made.decode()
