"""One thing to read, and the events that reading it yields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from letta_source.api.client import Client
from letta_source.paging.walk import Event


@dataclass(frozen=True)
class ParentSeen:
    """The current state of the job's run, step or batch: read by its id, or dated by its messages."""

    parent: Mapping[str, Any]


Events = AsyncIterator[tuple[str, Event | ParentSeen]]
"""Pairs of a parent's id and an event from reading it."""
Read = Callable[[Client], Events]

Moves = Literal["cursor", "worklist", "parent", "place", "nothing"]


@dataclass(frozen=True)
class Job:
    """One thing to read: an agent's messages, a list, a run's steps, …

    Attributes:
        id: the parent's id; empty for a list.
        events: takes a client, yields the events of reading.
        moves: the state that it moves. "cursor": the parent's cursor, over messages. "worklist": its pages
            list runs or steps that are rows themselves. "parent": it reads a run, step or batch, which is
            closed once it is finished. "place": only the list's cursor passes the parent, which is not read.
        key: key of the list that named the parent, or that the job reads; empty for an unfiltered list.
        parent: the run, step or batch to read, as listed.
        in_order: the parent comes in the order of its list; false for one read by its id.
        read_again: its messages may have been loaded before, with children that they no longer have.
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
    """Yield no events."""
    return
    yield
