"""Stream a selection's rows from an open destination, children as lists; and small results of queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import dlt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from letta_source.errors import Changed
from letta_source.export.query import Queries, Reader
from letta_source.export.readers import has_table, open_reader
from letta_source.export.selection import Selection, lists_of
from letta_source.export.values import widened
from letta_source.schema.columns import Column, text
from letta_source.schema.tables import LOAD_LOG


def read(
    pipeline: dlt.Pipeline, selection: Selection, folder: Path | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a selection; for `folder` see `letta_source.export.readers.open_reader`."""
    with open_reader(pipeline, folder) as reader:
        # Children are read by queries of their own, which see the changes of a load in the meantime.
        loads = loads_of(reader, selection) if selection.children else None
        yield from rows_of(reader, selection)
        if loads and loads_of(reader, selection) != loads:
            raise Changed


def rows_of(reader: Reader, selection: Selection) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a selection, with their children as lists."""
    queries = Queries(selection, reader)
    if (found := queries.rows()) is None:
        return
    rows = reader.stream(*found)
    if selection.children:
        children = {}
        for name, table in selection.children.items():
            asked = queries.child(name)
            stream = reader.stream(*asked) if asked else iter(())
            children[name] = Child(stream, table.primary_key[:-1], lists_of(table))
        rows = nested(rows, selection.root.primary_key, children)
    for batch in rows:
        yield widened(batch, selection.schema)


def loads_of(reader: Reader, selection: Selection) -> tuple[Any, ...] | None:
    """Return counts that every load changes; None if there is no such table."""
    return reader.row(Queries(selection, reader).loads()) if reader.columns_of(selection.root.name) else None


def arrow(pipeline: dlt.Pipeline, selection: Selection) -> pa.Table:
    """Return all rows of a selection at once."""
    return pa.Table.from_batches(read(pipeline, selection), selection.schema)


class Child:
    """The rows of one child table, in the order of their parent rows.

    Rows are matched by equal keys only, because databases order texts differently.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch], key: Sequence[str], type_: pa.ListType) -> None:
        self._batches = batches
        self._key = key
        self._type = type_
        self._rest: pa.RecordBatch | None = None

    def lists(self, keys: pa.Array) -> pa.ListArray:
        """Return a list of child rows for each of the next parent rows, given by their `joined` keys."""
        taken: list[pa.RecordBatch] = []
        places: list[pa.Array] = []
        while (batch := self._next()) is not None:
            place = pc.index_in(joined(batch, self._key), value_set=keys)
            count = place.is_null().index(True).as_py() if place.null_count else len(place)
            taken.append(batch.slice(0, count))
            places.append(place.slice(0, count))
            self._rest = batch.slice(count)
            if count < len(place):
                # The rest belongs to parent rows that are still to come.
                break
        return self._listed(taken, places, len(keys))

    def finish(self) -> None:
        """Raise Changed if there are rows whose parents never came."""
        if self._next() is not None:
            raise Changed

    def _next(self) -> pa.RecordBatch | None:
        while self._rest is None or not self._rest.num_rows:
            self._rest = next(self._batches, None)
            if self._rest is None:
                return None
        return self._rest

    def _listed(self, taken: list[pa.RecordBatch], places: list[pa.Array], rows: int) -> pa.ListArray:
        if not taken:
            return pa.array([[]] * rows, self._type)
        table = pa.Table.from_batches(taken).combine_chunks()
        place = np.concatenate([one.to_numpy(zero_copy_only=False) for one in places])
        if (np.diff(place) < 0).any():
            # If the database treats two keys as equal, its order is not that of the rows.
            order = np.argsort(place, kind="stable")
            table, place = table.take(order), place[order]
        fields = list(self._type.value_type)
        names = set(table.column_names)
        arrays = [
            _whole(table[one.name]) if one.name in names else pa.nulls(len(place), one.type) for one in fields
        ]
        offsets = np.searchsorted(place, np.arange(rows + 1)).astype(np.int32)
        values = pa.StructArray.from_arrays(arrays, fields=fields)
        return pa.ListArray.from_arrays(pa.array(offsets), values, type=self._type)


def nested(
    batches: Iterator[pa.RecordBatch], key: Sequence[str], children: Mapping[str, Child]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows, each with its children as lists.

    Raises:
        Changed: some child rows have no parent row.
    """
    for batch in batches:
        keys = joined(batch, key)
        for name, child in children.items():
            batch = batch.append_column(name, child.lists(keys))
        yield batch
    for child in children.values():
        child.finish()


def joined(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    """Join several columns into one text per row, with NUL between them, which no text holds."""
    return pc.binary_join_element_wise(*(batch[name].cast(pa.string()) for name in names), "\0")


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def query(
    reader: Reader, sql: str, columns: Sequence[Column], values: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """Return all rows of a query, which must have an order.

    Args:
        columns: of the result; times are in UTC.
    """
    batches = list(reader.stream((sql, list(values)), columns))
    names = [column.name for column in columns]
    rows = pa.Table.from_batches(batches).to_pylist() if batches else []
    return [dict(zip(names, map(_aware, row.values()), strict=True)) for row in rows]


def last_runs(reader: Reader, most: int) -> list[list[dict[str, Any]]]:
    """Return the rows of each of the last runs in load_log, the newest run first; none without that table."""
    if not has_table(reader, LOAD_LOG.name):
        return []
    run_id, table = reader.column("run_id"), reader.table(LOAD_LOG.name)
    sql = f"SELECT DISTINCT {run_id} FROM {table} ORDER BY {run_id} DESC"
    last = [row["run_id"] for row in query(reader, sql, [text("run_id", "")])[:most]]
    there = reader.columns_of(LOAD_LOG.name)
    columns = [column for column in LOAD_LOG.columns if column.name in there]
    listed = ", ".join(reader.column(column.name) for column in columns)
    marks = ", ".join(["%s"] * len(last))
    sql = f"SELECT {listed} FROM {table} WHERE {run_id} IN ({marks}) ORDER BY {run_id} DESC"
    rows = query(reader, sql, columns, last) if last else []
    return [list(of_run) for _, of_run in groupby(rows, itemgetter("run_id"))]


def _aware(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return value
