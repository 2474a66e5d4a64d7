"""Attach child rows as lists to their parent rows while both are streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from letta_source.errors import Changed


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
