"""One thing to read, and the events that reading it yields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from letta_source.api.client import Client
from letta_source.paging.events import Event


@dataclass(frozen=True)
class ParentSeen:
    """The job's run, step or batch as it is now: read by its id, or with a date that its messages tell."""

    parent: Mapping[str, Any]


Events = AsyncIterator[tuple[str, Event | ParentSeen]]
"""Pairs of parent's id and what came of it."""
Read = Callable[[Client], Events]

Moves = Literal["cursor", "worklist", "parent", "place", "nothing"]


@dataclass(frozen=True)
class Job:
    """One thing to read: an agent's messages, a list, a run's steps, …

    Attributes:
        id: of the parent; empty for a list.
        events: given a client, yields what is read.
        moves: what of the state it moves. "cursor": the parent's, over messages. "worklist": its pages list
            runs or steps that are rows themselves. "parent": it reads a run, step or batch, which is closed
            once it is finished. "place": only its place in the list, it is not to be read.
        key: of the list that named it, or that it reads; empty for an unfiltered one.
        parent: the run, step or batch it reads, as the list gave it.
        in_order: the parent comes in the order of its list; false for one that is read by its id.
        read_again: its rows may have been loaded before.
        asked_for: the user named it.
    """

    id: str
    events: Read
    moves: Moves = "nothing"
    key: str = ""
    parent: Mapping[str, Any] = field(default_factory=dict)
    in_order: bool = True
    read_again: bool = False
    asked_for: bool = False


async def nothing(client: Client) -> Events:
    """Yields no event."""
    return
    yield
