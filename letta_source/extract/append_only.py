"""Append-only loading: rows are held back until nothing can change them any more.

Those of a run, step or batch may be many: beyond a limit they wait in a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

from letta_source.api.spool import cannot_write
from letta_source.destinations.existing_rows import LoadedIds
from letta_source.errors import FatalError
from letta_source.extract.gathered_rows import ParentPages, content_of
from letta_source.items import Item, ids_of
from letta_source.plan.filters import is_wanted
from letta_source.plan.job import Job
from letta_source.rows.mask import Mask
from letta_source.schema.card import Resource
from letta_source.state.resource_state import ResourceState
from letta_source.times import created_at

# A page that is in memory, or its first and last byte in the file.
_Place = list[Item] | tuple[int, int]


class AppendOnly:
    """Selection of one resource's items that are handed over, each once.

    Messages are handed over up to the first one within the overlap; items of a run, step or batch, once it is
    finished and was read to its end; agents, groups, blocks and so on, each time they changed.

    Args:
        loaded: returns the ids already loaded, for when the cursors cannot tell.
        mask: applied before the digest of an item is taken, so that no masked value is kept.
    """

    def __init__(self, resource: Resource, state: ResourceState, loaded: LoadedIds, mask: Mask) -> None:
        self._always_whole = resource.always_whole
        self._is_timeless = resource.is_timeless
        # Messages of the cursor's second are read again.
        self._comes_again = resource.always_whole or resource.renumbered
        self._hangs = resource.parent is not None
        self._state = state
        self._loaded = loaded
        self._mask = mask
        # A batch may be larger than the memory.
        self._held = HeldPages(state.session.server.memory.enough_rows)
        self._handed: dict[str, set[str]] = {}
        self._restarted: set[str] = set()
        self._done: set[str] = set()

    def page(
        self, job: Job, parent_id: str, items: Sequence[Item], passed: int, in_order: bool, size: int = 0
    ) -> Sequence[Item]:
        """Return the items of a page that can be handed over now.

        Args:
            passed: how many of the first items the cursor passes.
            size: bytes that they take.
        """
        if job.moves == "parent" or (job.moves == "cursor" and not in_order):
            self._held.add(job.id, parent_id, items, size)
            return []
        if job.moves == "cursor":
            return self._new(job, parent_id, items if passed == len(items) else items[:passed])
        if job.moves == "worklist":
            worklist = self._state.worklist(job.key)
            items = [item for item in items if worklist.is_finished(item)]
            # Items without a date are listed again until a load before the overlap has read past them.
            times = map(created_at, items)
            undated = any(time is None or self._state.overlap.is_ahead(time) for time in times)
            return self._new(job, "", items, asks=not in_order or undated)
        if self._always_whole:
            return self._new(job, parent_id, items)
        # Several parents may have the same item.
        of = f"{parent_id} " if self._hangs else ""
        # The others are not loaded, so no digest may say that they were.
        items = [item for item in items if is_wanted(self._state.settings, item, self._is_timeless)]
        return [item for item in items if self._state.has_changed(f"{of}{item['id']}", self._digest(item))]

    def gap_retried(self, job: Job) -> ParentPages:
        """Yield the items read from a gap, once its rest is known."""
        for parent_id, items, size in self._held.pop(job.id):
            yield parent_id, self._new(job, parent_id, items), size

    def end(self, job: Job, finished: bool) -> ParentPages:
        """Yield the items held back for a run, step or batch; none unless it is finished."""
        self._handed.pop(job.id, None)
        if not (job.moves == "parent" and finished) or job.id in self._done:
            self._held.drop(job.id)
            return
        self._done.add(job.id)
        # A host that lists steps lists them without a date, so they may come again, as above.
        host = self._state.session.host
        asks = host.has_restarted_list or bool(host.lists_steps)
        parents = set()
        for parent_id, items, size in self._held.pop(job.id):
            parents.add(parent_id)
            yield parent_id, self._new(job, parent_id, items, asks), size
        for parent_id in parents:
            self._handed.pop(parent_id, None)

    def close(self) -> None:
        """Remove the file of the held pages."""
        self._held.close()

    def restart(self, job: Job, parent_id: str) -> None:
        """Note that a parent is read again from its start."""
        self._restarted.add(parent_id)
        if job.moves == "parent":
            self._held.drop(job.id, parent_id)

    def _new(self, job: Job, parent_id: str, items: Sequence[Item], asks: bool = False) -> Sequence[Item]:
        handed = self._handed.setdefault(parent_id, set())
        asks = asks or parent_id in self._restarted or self._state.rereads or self._comes_again
        if (asks or self._may_be_added(job, items)) and items:
            known = handed | self._loaded(parent_id)
            items = [item for item in items if item["id"] not in known]
        handed.update(ids_of(items))
        if items:
            self._state.note_added()
        return items

    def _may_be_added(self, job: Job, items: Sequence[Item]) -> bool:
        """Return True if a load of a window, of some agents or of all may have added items before.

        Such loads have no cursor, or cursors of their own for the lists of some agents.
        """
        if job.moves != "cursor" and job.key and "" in self._state.cursors:
            return True
        until = self._state.added_until
        if until is None:
            return False
        times = [created_at(item) or created_at(job.parent) for item in items]
        return any(time is None or time <= until or self._state.overlap.is_ahead(time) for time in times)

    def _digest(self, item: Item) -> str:
        return hashlib.blake2b(content_of(item, self._mask), digest_size=8).hexdigest()


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
