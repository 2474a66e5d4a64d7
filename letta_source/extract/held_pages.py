"""Pages held back until their run, step or batch has ended."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from letta_source.api.spool import cannot_write
from letta_source.errors import FatalError
from letta_source.items import Item

ParentPages = Iterable[tuple[str, Sequence[Item], int]]
"""Items by their parent, and the bytes that they take, where these are known."""

# A page that is in memory, or its first and last byte in the file.
_Place = list[Item] | tuple[int, int]


class HeldPages:
    """Pages by the job that read them; beyond a limit they wait in a private temporary file.

    Args:
        most: limit on the memory of all of them, in bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._held: dict[str, list[tuple[str, int, _Place]]] = {}
        self._file: IO[bytes] | None = None
        self._in_file = 0

    def add(self, job_id: str, parent_id: str, items: Sequence[Item], size: int) -> None:
        """Hold a page.

        Args:
            size: bytes that it takes.

        Raises:
            FatalError: the temporary folder cannot be written.
        """
        page = self._held.setdefault(job_id, [])
        if self._used + size > self._most and (place := self._write(items)):
            page.append((parent_id, size, place))
            return
        self._used += size
        # A copy: the page itself is emptied once it was taken.
        page.append((parent_id, size, list(items)))

    def pop(self, job_id: str) -> Iterator[tuple[str, Sequence[Item], int]]:
        """Yield the pages of a job, and forget each."""
        for parent_id, size, place in self._held.pop(job_id, []):
            items = self._read(*place) if isinstance(place, tuple) else place
            self._forget(size, place)
            yield parent_id, items, size

    def drop(self, job_id: str, parent_id: str | None = None) -> None:
        """Forget the pages of a job, or those of one parent in it."""
        pages = self._held.pop(job_id, [])
        kept = [page for page in pages if parent_id not in (None, page[0])]
        for page in pages:
            if page not in kept:
                self._forget(*page[1:])
        if kept:
            self._held[job_id] = kept

    def _write(self, items: Sequence[Item]) -> tuple[int, int] | None:
        """Return where the page is in the file; None if it cannot be there, being too deep or too odd."""
        try:
            # Not orjson, which knows neither lone surrogates nor integers beyond 64 bits.
            text = json.dumps(list(items)).encode()
        except (RecursionError, ValueError):
            return None
        try:
            if not self._file:
                # It has no name on most systems, is its owner's alone on all, and vanishes with the process.
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
            begin = self._file.seek(0, os.SEEK_END)
            self._file.write(text)
        except OSError as error:
            why = cannot_write(error)
        else:
            self._in_file += 1
            return begin, begin + len(text)
        raise FatalError(why)

    def _read(self, begin: int, end: int) -> list[Item]:
        assert self._file
        self._file.seek(begin)
        items: list[Item] = json.loads(self._file.read(end - begin))
        return items

    def _forget(self, size: int, place: _Place) -> None:
        if isinstance(place, tuple):
            self._in_file -= 1
        else:
            self._used -= size
        if not self._in_file:
            self.close()

    def close(self) -> None:
        """Remove the file."""
        if self._file:
            self._file.close()
            self._file = None
