"""Write rows to a file or a pipe as they come: Parquet, CSV, or JSON lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from letta_source.errors import ConfigError
from letta_source.export.selection import Selection, child_columns

FORMATS = ("parquet", "csv", "jsonl")
CHAT_FORMATS = ("chat", "sharegpt", "trajectory")
"""Formats of conversations, one JSON text per line."""
_COMPRESSIONS = {"gz": "gzip", "zst": "zstd"}
# Limits of a Parquet row group, whichever is reached first.
_ROWS, _BYTES = 50_000, 64 * 2**20
# Text that spreadsheets treat as a formula, even after blanks or invisible characters, or if its sign is a
# full-width or small one. Marks, fillers and the blank of Braille are neither spaces nor controls in Unicode.
_FORMULA = (
    r"^[\s\pZ\p{Cc}\p{Cf}\p{Mn}\x{115F}\x{1160}\x{2800}\x{3164}\x{FFA0}]*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}\x{FE62}\x{FE63}\x{FE66}\x{FE6B}\x{2212}]"
    r"|^[\t\r\n]"
)


@dataclass(frozen=True)
class Form:
    """A file format and its compression, if any."""

    name: str
    compression: str | None = None
    is_for_spreadsheets: bool = False


def form_of(output: Path | None, wanted: str | None, csv_safe: bool | None = None) -> Form:
    """Return the form of a file from its name, such as `messages.csv.gz`; without a file, JSON lines.

    Args:
        output: the file, or None for standard output.
        wanted: one of `FORMATS` or `CHAT_FORMATS`; overrides the name.
        csv_safe: False to allow formulas in CSV; by default no text is a formula.

    Raises:
        ConfigError: the name tells no format, or the format cannot be written this way.
    """
    endings = [ending[1:].lower() for ending in output.suffixes] if output else []
    compression = _COMPRESSIONS.get(endings.pop()) if endings and endings[-1] in _COMPRESSIONS else None
    name = wanted or (endings[-1] if endings and endings[-1] in FORMATS else None)
    if name is None and output:
        known = ", ".join(f".{one}" for one in FORMATS)
        raise ConfigError(f"the format of {output.name} is unknown: name it {known}, or add --format")
    if name == "parquet" and not output:
        raise ConfigError("Parquet needs a file: --output FILE")
    if name == "parquet" and compression:
        raise ConfigError("Parquet is compressed already: leave out .gz and .zst")
    if csv_safe is not None and name != "csv":
        raise ConfigError("--csv-safe is for CSV: --format csv")
    return Form(name or "jsonl", compression, name == "csv" and csv_safe is not False)


@contextmanager
def writer(form: Form, file: BinaryIO, selection: Selection) -> Iterator[Writer]:
    """Yield a writer; leaving the block finishes the output but leaves the file open."""
    csv = SafeCSV if form.is_for_spreadsheets else CSV
    kinds: dict[str, type[Writer]] = {"parquet": Parquet, "csv": csv, "jsonl": JSONL}
    with compressed(form, file) as into, kinds[form.name](into, selection) as writing:
        yield writing


@contextmanager
def compressed(form: Form, file: BinaryIO) -> Iterator[Any]:
    """Yield the stream to write to; leaving the block leaves the file open."""
    if not form.compression:
        yield file
        return
    # Given the file itself, pyarrow would close it.
    with pa.CompressedOutputStream(_Open(file), form.compression) as stream:
        yield stream


class _Open:
    """A file that others may write to but not close."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write
        self.flush = file.flush

    def close(self) -> None:
        """Leave the file open."""


class Writer(ABC):
    """A writer of one format. Leaving it finishes the output but leaves the file open."""

    def __init__(self, file: BinaryIO, selection: Selection) -> None:
        self._file = file
        self._selection = selection
        self._json = [column.name for column in selection.columns if column.type == "json"]
        self._json_of = {
            name: [column.name for column in child_columns(table) if column.type == "json"]
            for name, table in selection.children.items()
        }

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows."""

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        """Finish the output, even after an error: pyarrow's writers would write to a closed file later."""
        self.close()

    def close(self) -> None:  # noqa: B027  # most have nothing to end
        """Finish the output."""

    def _children(self, batch: pa.RecordBatch, name: str) -> list[list[dict[str, Any]]]:
        json = self._json_of[name]
        return [
            [{**row, **{one: _fragment(row[one]) for one in json}} for row in rows]
            for rows in batch[name].to_pylist()
        ]


class Parquet(Writer):
    """Writer of Parquet, in which json is text, for readers that know no other type."""

    def __init__(self, file: BinaryIO, selection: Selection) -> None:
        super().__init__(file, selection)
        self._writer = pq.ParquetWriter(file, selection.schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= _ROWS or self._bytes >= _BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
            self._waiting = []
            self._rows = self._bytes = 0


class CSV(Writer):
    """Writer of CSV: null is an empty field, an empty text is `""`, json and children are JSON texts."""

    def __init__(self, file: BinaryIO, selection: Selection) -> None:
        super().__init__(file, selection)
        texts = [
            pa.field(one.name, pa.string() if one.name in selection.children else one.type)
            for one in selection.schema
        ]
        self._writer = pc_csv.CSVWriter(file, pa.schema(texts))

    def write(self, batch: pa.RecordBatch) -> None:
        arrays = [
            pa.array([orjson.dumps(rows).decode() for rows in self._children(batch, name)], pa.string())
            if name in self._selection.children
            else batch[name]
            for name in batch.schema.names
        ]
        self._writer.write(pa.RecordBatch.from_arrays(arrays, names=batch.schema.names))

    def close(self) -> None:
        self._writer.close()


class SafeCSV(CSV):
    """Writer of CSV without formulas: an apostrophe precedes = + - @, tab and line break."""

    def write(self, batch: pa.RecordBatch) -> None:
        arrays = [_without_formulas(column) for column in batch.columns]
        super().write(pa.RecordBatch.from_arrays(arrays, names=batch.schema.names))


def _without_formulas(column: pa.Array) -> pa.Array:
    if not pa.types.is_string(column.type):
        return column
    is_formula = pc.match_substring_regex(column, _FORMULA)
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", column, ""), column)


class JSONL(Writer):
    """Writer of JSON lines: json and children are JSON, times look like `2026-01-31T12:00:00.000000Z`."""

    def write(self, batch: pa.RecordBatch) -> None:
        names = batch.schema.names
        columns = [self._values(batch, name) for name in names]
        lines = (
            orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
            for row in zip(*columns, strict=True)
        )
        self._file.write(b"".join(lines))

    def _values(self, batch: pa.RecordBatch, name: str) -> list[Any]:
        if name in self._selection.children:
            return self._children(batch, name)
        column = batch[name]
        if pa.types.is_timestamp(column.type):
            column = pc.replace_substring(column.cast(pa.string()), " ", "T")
        values: list[Any] = column.to_pylist()
        return [_fragment(value) for value in values] if name in self._json else values


def _fragment(text: str | None) -> Any:
    """Return a JSON text as JSON. Its line breaks stand only between values, so they become spaces."""
    if text is None:
        return None
    return orjson.Fragment(
        text.replace("\n", " ").replace("\r", " ") if "\n" in text or "\r" in text else text
    )
