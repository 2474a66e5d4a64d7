"""The events that a walk yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from letta_source.api.memory_budget import MemoryLease

UNREADABLE = "unreadable"
"""The issue kind of a gap."""


@dataclass(frozen=True)
class Page:
    """Items of one parent, in ascending order, as sent; never empty.

    Attributes:
        in_order: false beyond an unreadable item: cursors do not move over such a page.
        lease: the memory that it takes; the receiver of the page releases it.
    """

    items: Sequence[Any]
    in_order: bool = True
    lease: MemoryLease | None = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Memory that the page takes, in bytes."""
        return self.lease.size if self.lease else 0

    def hold(self) -> None:
        """Mark the memory as held by the collector of rows, which releases it on a shortage."""
        if self.lease:
            self.lease.hold()

    def release(self) -> None:
        """Give back the memory and clear the items, as other code may still refer to the page."""
        if self.lease:
            self.lease.release()
            if isinstance(self.items, list):
                self.items.clear()


@dataclass(frozen=True)
class Restarted:
    """The item under the cursor is gone; the list is read again from the start."""


@dataclass(frozen=True)
class Gap:
    """A part of the list that the server cannot return, between two ids; an empty id is an end of the list.

    `answered` is false if no request for this list succeeded: nothing of it can be read.
    """

    after_id: str
    before_id: str
    detail: str
    answered: bool = field(default=True, compare=False)


@dataclass(frozen=True)
class Retried:
    """A gap left by an earlier load was retried; `left` is what remains of it."""

    after_id: str
    before_id: str
    left: Gap | None


Event = Page | Restarted | Gap | Retried
