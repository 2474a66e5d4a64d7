"""The state that lets a load ask only for what changed since the last one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, cast

from letta_source.state.cursors import Cursor, Cursors
from letta_source.times import Overlap, parse_time


class StoredChanges(TypedDict, total=False):
    """The part of a resource's state in `state["changes"]`."""

    since: str
    """Start of the last load that read the resource to its end, by the server's clock; of an earlier one
    while no load asks only for changes."""
    cursors: dict[str, list[str | None]]
    """The cursor in the list of all messages, under an empty key."""
    open: list[str]
    """Parents to ask whatever the signals say: those with messages in the overlap, or not read whole."""
    proven: list[str]
    """Messages beyond the cursor that name no run, and were loaded."""
    agents: int
    """The number of agents."""
    missing: str
    """The host's response when it was found to lack the resource's family."""
    lacks_step_list: bool
    """True if steps have to be read through runs."""


class Changes:
    """The record of a resource's last load; changes only with `finish`.

    Args:
        stored: the dict that dlt keeps for the resource.
        overlap: the overlap with the last load.

    Attributes:
        is_marked: this load has set the point from which the next one walks the list of all messages.
        tail: messages beyond that point that name no run, if this load did not walk to it.
    """

    def __init__(self, stored: MutableMapping[str, Any], overlap: Overlap) -> None:
        self._overlap = overlap
        self._next: StoredChanges = {}
        self._moved: dict[str, Any] = {}
        self._cursors = Cursors(self._moved, overlap)
        self.is_marked = False
        self.tail: set[str] = set()
        self.bind(stored)

    def bind(self, stored: MutableMapping[str, Any]) -> None:
        """Continue with the state dict of the next load package."""
        self._owner = stored
        self._stored = cast(StoredChanges, stored.get("changes", {}))

    @property
    def since(self) -> datetime | None:
        """The time since which to look for changes: the start of the last load, less the overlap."""
        since = self._stored.get("since")
        return self._overlap.before(parse_time(since)) if since else None

    @property
    def cursor(self) -> Cursor | None:
        """The cursor in the list of all messages, both fields null at its start; None if unknown."""
        stored = self._stored.get("cursors", {}).get("")
        return (stored[0], stored[1]) if stored else None

    def walk(self, items: Sequence[Mapping[str, Any]]) -> int:
        """Move over messages from the list of all messages, in order; return how many the cursor passes."""
        passed = self._cursors.observe("", items)
        if passed:
            self._next["cursors"] = {}
        return passed

    def walk_from_start(self) -> None:
        """Have the next load walk the whole list, as it is short."""
        self._next["cursors"] = {"": [None, None]}

    @property
    def open(self) -> Collection[str]:
        """Parents to ask whatever the signals say."""
        return self._stored.get("open", ())

    @property
    def proven(self) -> Collection[str]:
        """Messages beyond the cursor that name no run, and were loaded."""
        return self._stored.get("proven", ())

    @property
    def agents(self) -> int:
        """The number of agents in the last load; 0 if unknown."""
        return self._stored.get("agents", 0)

    @property
    def missing(self) -> str | None:
        """The host's response when it was found to lack the resource's family."""
        return self._stored.get("missing")

    @property
    def lacks_step_list(self) -> bool:
        """True if the host was found to have no list of steps."""
        return self._stored.get("lacks_step_list", False)

    def note(self, **found: Any) -> None:
        """Note values to store, by the field names of `StoredChanges`."""
        self._next.update(cast(StoredChanges, found))

    def finish(self, started_at: datetime, open_parents: Collection[str], is_used: bool) -> None:
        """Store what was noted, once everything was read.

        Args:
            is_used: this load, or the next one, asks only for changes. If not, `since` stays as it is: an
                earlier one only lists more, and a load that finds nothing new then has nothing to store.
        """
        self._cursors.commit()
        since = None if is_used else self._stored.get("since")
        kept: dict[str, Any] = {**self._next, "since": since or started_at.isoformat()}
        if self._next.get("cursors") == {}:
            kept["cursors"] = self._moved["cursors"]
        for name in ("cursors", "proven", "agents", "missing", "lacks_step_list"):
            kept.setdefault(name, self._stored.get(name))
        kept["open"] = sorted(open_parents)
        self._owner["changes"] = {name: value for name, value in kept.items() if value}
