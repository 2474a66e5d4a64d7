"""Gather one resource's items into rows; a list of agents, tools, … is written only if it changed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from letta_source.items import Item, ids_of
from letta_source.plan.filters import is_wanted
from letta_source.plan.job import Job
from letta_source.rows.flatten import Rows, without_credentials
from letta_source.rows.mask import Mask
from letta_source.schema.card import Resource
from letta_source.state.counts import Counts
from letta_source.state.resource_state import ResourceState

if TYPE_CHECKING:
    import pyarrow as pa

ParentPages = Iterable[tuple[str, Sequence[Item], int]]
"""Items by their parent, and the bytes that they take, where these are known."""
Held = tuple[Job, str, Sequence[Item], int]
"""A page of a job: the parent's id, its items, the bytes that they take."""


class Repeats:
    """Detection of items that are read twice: without any, rows can be appended to empty tables.

    It keeps message ids for parents in progress; for finished parents only the parent id. Ids are kept as
    hashes, which take a third of the memory. Two ids with the same hash count as a repeat.
    """

    def __init__(self) -> None:
        self._ids: dict[str, set[int]] = {}
        self._done: set[str] = set()

    def take(self, parent_id: str, ids: Sequence[str]) -> bool:
        """Note a page; return False if any of its ids came before."""
        known = self._ids.setdefault(parent_id, set())
        found = {hash(one) for one in ids}
        if parent_id in self._done or not known.isdisjoint(found):
            return False
        known |= found
        return True

    def end(self, parent_id: str) -> None:
        """End a parent that was read to its end."""
        self._done.add(parent_id)
        self._ids.pop(parent_id, None)


class GatheredRows:
    """Rows of one resource since they were last taken.

    While the tables are empty and no item repeats, rows are appended without tombstones. On the first repeat
    the resource leaves `session.before.empty`, and rows are merged from then on.

    Args:
        mask: for the digest of a list, see `UnchangedList`.
        tombstones: see `letta_source.rows.flatten.Rows`.
    """

    def __init__(
        self, resource: Resource, state: ResourceState, counts: Counts, mask: Mask, tombstones: bool
    ) -> None:
        session = state.session
        self._name = resource.name
        self._is_timeless = resource.is_timeless
        self._session = session
        self._counts = counts
        self._list = UnchangedList(resource, state, mask)
        self._tombstones = tombstones
        appends = resource.name in session.before.empty
        # Sequence numbers grow between loads, as none reads a row per microsecond. Empty tables need no
        # tombstones.
        self._rows = Rows(resource, tombstones and not appends, sequence=time.time_ns() // 1000)
        self._repeats = Repeats() if appends else None
        self._has_repeats = False

    @property
    def count(self) -> int:
        """The number of rows gathered."""
        return self._rows.count

    @property
    def size(self) -> int:
        """Bytes of the arrays built from the rows."""
        return self._rows.size

    @property
    def is_waiting(self) -> bool:
        """True while it holds items that are not converted to arrays yet."""
        return self._rows.is_waiting

    def add(self, pages: ParentPages, job: Job) -> None:
        """Add the items that the settings ask for, page by page."""
        settings = self._session.settings
        for parent_id, items, size in pages:
            if settings.window or settings.agent_ids:
                items = [item for item in items if is_wanted(settings, item, self._is_timeless)]
            if erased := self._session.before.erased:
                items = [item for item in items if erased.isdisjoint(_whose(job, parent_id, item))]
            if items:
                self._put(self._list.page(job, parent_id, items, size))

    def end_list(self) -> None:
        """End the list, which was read to its end."""
        self._put(self._list.end())

    def give_up_list(self) -> None:
        """Note that a list cannot be read to its end, or is read again."""
        self._put(self._list.give_up())

    def _put(self, pages: Iterable[Held]) -> None:
        for job, parent_id, items, size in pages:
            self._watch_repeats(parent_id, items)
            self._rows.add(items, parent_id, job.read_again or self._has_repeats, size)
            self._counts.items += len(items)

    def end(self, job: Job) -> None:
        """End a job: none of its items should come again."""
        if self._repeats:
            self._repeats.end(job.id)

    def tables(self, load_id: str) -> list[tuple[str, pa.Table]]:
        """Return the rows gathered so far, and start afresh."""
        return self._rows.tables(load_id)

    def _watch_repeats(self, parent_id: str, items: Sequence[Item]) -> None:
        if self._repeats and not self._repeats.take(parent_id, ids_of(items)):
            self._repeats, self._has_repeats = None, True
            self._session.before.empty.discard(self._name)
            self._rows.tombstones = self._tombstones


def _whose(job: Job, parent_id: str, item: Item) -> set[str]:
    """Return the ids of an item and of its agent, conversation, run and so on."""
    names = ("id", "agent_id", "conversation_id", "run_id", "sender_id")
    found = {one.get(name) for one in (item, job.parent) for name in names}
    return {parent_id, *(one for one in found if isinstance(one, str))}


class UnchangedList:
    """Pages of one list, held back until its end tells whether anything in it changed.

    Without this, each run would load a package of unchanged agents, which takes a sixth of its time.
    The list is written as a whole or not at all, so that items that left it keep an older `_dlt_load_id` than
    the others.

    Args:
        mask: applied before the digest of the list is taken, so that no masked value is kept.
    """

    def __init__(self, resource: Resource, state: ResourceState, mask: Mask) -> None:
        self._state = state
        self._mask = mask
        self._most = state.session.server.memory.enough_rows
        self._held: list[Held] = []
        self._size = 0
        self._holds = resource.walk == "list" and not (
            state.adds_only or state.settings.agent_ids or state.settings.window or state.asks_for_changes
        )
        # A sweep writes the list again, and so does a load that cannot know whether the last one arrived.
        self._may_skip = not (state.loaded_before or state.sweeps)
        # Another version may have other columns.
        written = f"{resource.root.arrow_schema} {state.settings.images}"
        self._digest = hashlib.blake2b(written.encode(), digest_size=16)
        if not self._holds:
            state.forget_list()

    def page(self, job: Job, parent_id: str, items: Sequence[Item], size: int) -> Iterator[Held]:
        """Hold a page back; yield the pages to write now."""
        if not self._holds:
            yield job, parent_id, items, size
            return
        for item in items:
            self._digest.update(content_of(item, self._mask))
        # A copy: the page itself is emptied once it was taken.
        self._held.append((job, parent_id, list(items), size))
        self._size += size
        if self._size > self._most:
            yield from self.give_up()

    def give_up(self) -> Iterator[Held]:
        """Yield the pages held back, and hold no more: the list is too long, or cannot be read to its end."""
        if self._holds:
            self._holds = False
            self._state.forget_list()
            yield from self._held
            self._held.clear()

    def end(self) -> Iterator[Held]:
        """Yield the pages to write, once all was read: none if the last load wrote the same list."""
        digest = self._digest.hexdigest()
        if self._holds and not (self._may_skip and self._state.has_list(digest)):
            yield from self.give_up()
            self._state.note_list(digest)


def content_of(item: Item, mask: Mask) -> bytes:
    """Return everything that is loaded of an item, masked, as bytes."""
    kept = {field: without_credentials(field, value) for field, value in mask.item(item).items()}
    return repr(kept).encode("utf-8", "backslashreplace")
