"""Search everything a run leaves behind for a secret: files, tables and log lines."""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import duckdb
import pyarrow.parquet as pq

_PIECE = 12
# zlib in base64: dlt stores schemas and states in tables this way.
_PACKED = re.compile(rb"e[A-Za-z0-9][A-Za-z0-9+/]{20,}={0,2}")


class Canary:
    """A secret, and the forms in which it or a piece of it may appear."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        forms = [secret.encode(), quote(secret, safe="").encode()]
        for encode in (b64encode, urlsafe_b64encode):
            # The first and the last characters depend on the bytes around the secret.
            forms += [encode(b"." * before + secret.encode())[4:-4] for before in range(3)]
        self._pieces = {form[at : at + _PIECE] for form in forms for at in range(len(form) - _PIECE + 1)}

    def is_in(self, said: str | bytes) -> bool:
        """Return True if any piece of it appears, also in compressed content."""
        data = said if isinstance(said, bytes) else said.encode()
        return any(piece in content for content in _contents(data) for piece in self._pieces)

    def files(self, folder: Path) -> list[str]:
        """Return the files below a folder in which it appears: in a table's cell, the name or the bytes."""
        return sorted(
            str(file.relative_to(folder))
            for file in folder.rglob("*")
            if self.is_in(str(file.relative_to(folder))) or (file.is_file() and self._is_in_file(file))
        )

    def _is_in_file(self, file: Path) -> bool:
        return self.is_in(file.read_bytes()) or any(map(self.is_in, _cells(file)))


KEY = "sk-let-Canary7F/q9+ZxK41w%mN8v=Rt5"
CANARY = Canary(KEY)


class _Lines(logging.Handler):
    """Collects every record as a log would show it, with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def every_line() -> Iterator[list[str]]:
    """Yield the lines of every logger at DEBUG; dlt's logger does not propagate to the root."""
    handler = _Lines()
    loggers = [logging.getLogger(), logging.getLogger("dlt")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield handler.lines
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def _contents(data: bytes) -> Iterator[bytes]:
    yield data
    if data.startswith(b"\x1f\x8b"):
        yield from _contents(gzip.decompress(data))
    if data.startswith(b"PAR1"):
        yield from _contents(str(pq.read_table(BytesIO(data)).to_pydict()).encode())
    for packed in _PACKED.findall(data):
        # Many ordinary words match the pattern.
        with suppress(ValueError, zlib.error):
            yield zlib.decompress(b64decode(packed))


def _cells(file: Path) -> Iterator[str]:
    """Yield every row of every table, dlt's own included: DuckDB compresses what it stores."""
    if file.suffix != ".duckdb":
        return
    with duckdb.connect(str(file), read_only=True) as connection:
        tables = connection.execute("SELECT table_schema, table_name FROM information_schema.tables")
        for schema, table in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()
            yield f"{table} {rows}"
