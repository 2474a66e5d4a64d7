"""Holds rows back for destinations that can only add them, until nothing can change them any more."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from letta_source.destinations.existing_rows import LoadedIds
from letta_source.items import ids_of
from letta_source.plan.job import Job
from letta_source.rows.flatten import without_credentials
from letta_source.rows.mask import Mask
from letta_source.schema.card import Resource
from letta_source.state.resource_state import ResourceState
from letta_source.times import created_at

Item = dict[str, Any]
Pages = list[tuple[str, Sequence[Item]]]
"""Items by their parent."""


class AppendOnly:
    """Decides which items of one resource are handed over, each once.

    Messages are, up to the first that is younger than the overlap; what hangs from a run, a step or a batch,
    once that is finished and all of it was read; agents, groups, blocks and so on, each time they changed.

    Args:
        loaded: asked where the cursors cannot tell what was loaded.
        mask: nothing of what it hides is kept, not as a digest either.
    """

    def __init__(self, resource: Resource, state: ResourceState, loaded: LoadedIds, mask: Mask) -> None:
        self._always_whole = resource.always_whole
        self._hangs = resource.parent is not None
        self._state = state
        self._loaded = loaded
        self._mask = mask
        self._held: dict[str, Pages] = {}
        self._handed: dict[str, set[str]] = {}
        self._restarted: set[str] = set()
        self._done: set[str] = set()

    def page(
        self, job: Job, parent_id: str, items: Sequence[Item], passed: int, in_order: bool
    ) -> Sequence[Item]:
        """The items of a page that can be handed over now.

        Args:
            passed: how many of the first items the cursor passes.
        """
        if job.moves == "parent" or (job.moves == "cursor" and not in_order):
            # A copy: the page itself is emptied once it was taken.
            self._held.setdefault(job.id, []).append((parent_id, list(items)))
            return []
        if job.moves == "cursor":
            return self._new(parent_id, items if passed == len(items) else items[:passed])
        if job.moves == "worklist":
            worklist = self._state.worklist(job.key)
            items = [item for item in items if worklist.is_finished(item)]
            # What has no date is listed again until its list was read beyond it for as long as the overlap.
            times = map(created_at, items)
            undated = any(time is None or self._state.overlap.is_ahead(time) for time in times)
            return self._new("", items, asks=not in_order or undated)
        if self._always_whole:
            return self._new(parent_id, items)
        # Those of several parents may hold the same item.
        of = f"{parent_id} " if self._hangs else ""
        return [
            item
            for item in items
            if self._state.has_changed(f"{of}{item['id']}", _digest(self._mask.item(item)))
        ]

    def gap_retried(self, job: Job) -> Pages:
        """The items that were read of a gap, once it is known what is left of it."""
        return [(parent_id, self._new(parent_id, items)) for parent_id, items in self._held.pop(job.id, [])]

    def end(self, job: Job, finished: bool) -> Pages:
        """The items that were held back of a run, step or batch; none unless it is finished."""
        held = self._held.pop(job.id, [])
        self._handed.pop(job.id, None)
        if not (job.moves == "parent" and finished) or job.id in self._done:
            return []
        self._done.add(job.id)
        # A host that lists steps lists them without a date: as above.
        host = self._state.session.host
        asks = host.has_restarted_list or bool(host.lists_steps)
        new = [(parent_id, self._new(parent_id, items, asks)) for parent_id, items in held]
        for parent_id, _ in held:
            self._handed.pop(parent_id, None)
        return new

    def restart(self, job: Job, parent_id: str) -> None:
        """Notes that what follows of a parent was read before."""
        self._restarted.add(parent_id)
        if job.moves == "parent":
            self._held[job.id] = [page for page in self._held.get(job.id, []) if page[0] != parent_id]

    def _new(self, parent_id: str, items: Sequence[Item], asks: bool = False) -> Sequence[Item]:
        handed = self._handed.setdefault(parent_id, set())
        asks = asks or parent_id in self._restarted or self._state.rereads or self._always_whole
        if asks and items:
            known = handed | self._loaded(parent_id)
            items = [item for item in items if item["id"] not in known]
        handed.update(ids_of(items))
        return items


def _digest(item: Item) -> str:
    """A digest of all that is loaded of the item."""
    kept = {field: without_credentials(field, value) for field, value in item.items()}
    return hashlib.blake2b(repr(kept).encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
