"""The point from which a sweep reads a parent again: edits move no date, so only rereading finds them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any

from letta_source.times import created_at, parse_time

Mark = tuple[str | None, str | None]


class RereadMarks:
    """Marks by parent, in `state["reread"]`: [created_at, id] of the newest item before the window.

    Kept for parents with items in the window; both are null if all of a parent's items are in it.

    Args:
        state: the state of the dlt resource.
        window_start: a sweep reads items created since then again.
    """

    def __init__(self, state: MutableMapping[str, Any], window_start: datetime) -> None:
        self._window_start = window_start
        self._marks: dict[str, Mark] = {}
        self._in_window: set[str] = set()
        self.bind(state)

    def bind(self, state: MutableMapping[str, Any]) -> None:
        """Continue with the state dict of the next load package."""
        self._state = state

    def get(self, parent_id: str) -> Mark | None:
        """Return [created_at, id] to read again from; None if the parent has no items in the window."""
        stored = self._state.get("reread", {}).get(parent_id)
        return (stored[0], stored[1]) if stored else None

    def observe(
        self, parent_id: str, items: Sequence[Mapping[str, Any]], cursor: Mark | None, are_old: bool
    ) -> None:
        """Note items that the parent's cursor passes.

        Args:
            cursor: the cursor before these items.
            are_old: all items are known to be older than the window.
        """
        self._marks.setdefault(parent_id, self.get(parent_id) or cursor or (None, None))
        if parent_id in self._in_window:
            return
        for item in items[-1:] if are_old else items:
            time = created_at(item)
            if time is not None and time >= self._window_start:
                self._in_window.add(parent_id)
                return
            self._marks[parent_id] = (time.isoformat() if time else None, item["id"])

    def restart(self, parent_id: str) -> None:
        """Start a parent again."""
        self._marks[parent_id] = (None, None)
        self._in_window.discard(parent_id)

    def commit(self, parent_id: str, cursor: Mark | None) -> None:
        """Store the parent's mark if its items reach into the window; drop it otherwise."""
        date = cursor[0] if cursor else None
        is_recent = date is not None and parse_time(date) >= self._window_start
        if cursor and parent_id in self._marks and (is_recent or parent_id in self._in_window):
            self._state.setdefault("reread", {})[parent_id] = list(self._marks[parent_id])
        elif "reread" in self._state:
            self._state["reread"].pop(parent_id, None)
