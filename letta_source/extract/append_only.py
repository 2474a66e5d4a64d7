"""Append-only loading: rows are held back until nothing can change them any more."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from letta_source.destinations.existing_rows import LoadedIds
from letta_source.extract.held_pages import HeldPages, ParentPages
from letta_source.extract.unchanged_list import content_of
from letta_source.items import Item, ids_of
from letta_source.plan.filters import is_wanted
from letta_source.plan.job import Job
from letta_source.rows.mask import Mask
from letta_source.schema.card import Resource
from letta_source.state.resource_state import ResourceState
from letta_source.times import created_at


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
        """Yield the items read from a gap, once it is known what is left of the gap."""
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
        """Remove the file of what is held back."""
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
