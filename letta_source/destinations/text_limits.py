"""Truncate texts to what a destination holds: a longer one would fail its load, and each after it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import orjson
import pyarrow as pa
import pyarrow.compute as pc

LONGEST_TEXT: Mapping[str, int] = {
    # VARCHAR(MAX); a text in a SUPER has the same limit.
    "redshift": 65_535,
    "snowflake": 16 * 1024 * 1024,
}
"""Limits in bytes, by sqlglot dialect; other destinations hold all texts of Letta's messages."""


def within(rows: pa.Table, longest: int, json: Collection[str]) -> tuple[pa.Table, int]:
    """Return the rows with texts cut to `longest` bytes, and how many were cut.

    Args:
        longest: bytes of UTF-8, at least 2.
        json: columns of JSON text; a value that is cut becomes a JSON string of its beginning.
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
