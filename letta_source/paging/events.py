"""The events that a walk yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from letta_source.api.memory import Lease


@dataclass(frozen=True)
class Page:
    """Items of one parent, in ascending order, as sent; never empty.

    Attributes:
        in_order: false beyond an item that could not be read: cursors do not move over these.
        lease: the memory that it takes; whoever gets the page gives it back.
    """

    items: Sequence[Any]
    in_order: bool = True
    lease: Lease | None = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes of memory that it takes."""
        return self.lease.size if self.lease else 0

    def hold(self) -> None:
        """Say that it goes to whoever gathers rows."""
        if self.lease:
            self.lease.hold()

    def release(self) -> None:
        """Give back the memory, once nobody needs the items: some who had the page go on referring to it."""
        if self.lease:
            self.lease.release()
            if isinstance(self.items, list):
                self.items.clear()


@dataclass(frozen=True)
class Restarted:
    """The item under the cursor is gone: what follows is read from the start."""


UNREADABLE = "unreadable"
"""The kind of issue that a gap is."""


@dataclass(frozen=True)
class Gap:
    """A part of the list that the server cannot give, between two ids; an empty one is the end of the list.

    `answered` is false if no request for this list got an answer: nothing of it can be read.
    """

    after_id: str
    before_id: str
    detail: str
    answered: bool = field(default=True, compare=False)


@dataclass(frozen=True)
class Retried:
    """A gap that an earlier load left was tried again; `left` is what remains of it."""

    after_id: str
    before_id: str
    left: Gap | None


Event = Page | Restarted | Gap | Retried
