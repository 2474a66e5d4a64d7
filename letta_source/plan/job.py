"""One thing to read, and the events that reading it yields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from letta_source.api.client import Client
from letta_source.paging.events import Event


@dataclass(frozen=True)
class Job:
    """One thing to read: an agent's messages, a list, a run's steps, …

    Attributes:
        id: of the parent or unit; empty for a list.
        events: given a client, yields (parent id, event).
        key: of the list that gave it, or that it reads; empty for an unfiltered one.
        unit: the run, step or batch it reads, if it is one.
        in_order: the unit comes in the order of its list; false for one that is read by its id.
        pages: what its pages move: the parent's cursor, the units they list, or nothing.
        read_again: its rows may have been loaded before.
        asked_for: the user named it.
        passes: it only lets the cursor of its list pass the unit, which is not to be read.
    """

    id: str
    events: Callable[[Client], AsyncIterator[tuple[str, Event]]]
    key: str = ""
    unit: dict[str, Any] | None = None
    in_order: bool = True
    pages: Literal["cursor", "units"] | None = None
    read_again: bool = False
    asked_for: bool = False
    passes: bool = False


async def nothing(client: Client) -> AsyncIterator[tuple[str, Event]]:
    return
    yield
