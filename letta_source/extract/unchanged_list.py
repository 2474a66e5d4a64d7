"""A list of agents, groups, tools, … is written again only if anything in it changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from letta_source.items import Item
from letta_source.plan.job import Job
from letta_source.rows.flatten import without_credentials
from letta_source.rows.mask import Mask
from letta_source.schema.card import Resource
from letta_source.state.resource_state import ResourceState

Held = tuple[Job, str, Sequence[Item], int]
"""A page of a job: the parent's id, its items, the bytes that they take."""


class UnchangedList:
    """Pages of one list, held back until its end tells whether anything in it changed.

    Without this, each run would load a package for a few agents in which nothing is new: a sixth of its time.
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
        # A sweep writes all again, and so does whoever cannot know that the last load arrived.
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
