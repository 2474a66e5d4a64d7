"""Worklists of runs, steps and batches, which are read again until they are finished."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

from letta_source.state.cursors import Cursor, Cursors
from letta_source.times import Overlap, created_at

Parent = Mapping[str, Any]
"""A run, step or batch: its id, status and dates, as far as known."""


# Stored in place of a status.
_WAITS = "waits for a known issue"


class _Unfinished(NamedTuple):
    created_at: str | None
    status: str
    run_id: str | None


class Worklist:
    """The position in a list of runs, steps or batches, and those of them that must be read again.

    A parent that is unfinished, or finished within the overlap, is kept in `state["unsettled"]` and read by
    its id until it is finished: lists are read from their cursor on, and the server's list of batches drops
    finished ones.

    Args:
        state: the state of the dlt resource.
        key: key of the list; each filter has a worklist of its own.
        overlap, frozen, tracking: as for `Cursors`.
    """

    def __init__(
        self,
        state: MutableMapping[str, Any],
        key: str,
        overlap: Overlap,
        frozen: bool = False,
        **tracking: Any,
    ) -> None:
        self._cursors = Cursors(state, overlap, frozen, **tracking)
        self._key = key
        self._frozen = frozen
        self._overlap = overlap
        self._open: dict[str, Parent] = {}
        self._closed: set[str] = set()
        self._undated: set[str] = set()
        self._changes: dict[str, _Unfinished | None] = {}
        self.bind(state)

    def bind(self, state: MutableMapping[str, Any]) -> None:
        """Continue with the state dict of the next load package."""
        self._cursors.bind(state)
        self._state = {} if self._frozen else state
        self._stored: MutableMapping[str, Any] = (
            {} if self._frozen else state.setdefault("unsettled", {}).setdefault(self._key, {})
        )

    @property
    def cursor(self) -> Cursor | None:
        """The position from which to read the list on; None if it was never read."""
        return self._cursors.get(self._key)

    def beyond_list(self) -> tuple[str, ...]:
        """Return the unfinished parents that the list does not have from its cursor on."""
        cursor = self.cursor
        if cursor in (None, (None, None)):
            # The whole list is read.
            return ()
        assert cursor is not None
        listed_from = cursor[0]
        return tuple(
            parent_id
            # A copy, as another thread may commit meanwhile.
            for parent_id, created in list(self._stored.items())
            if created is None or listed_from is None or created <= listed_from
        )

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Ids of the parents to be read again."""
        return tuple(self._stored)

    def known_since(self, parent_id: str) -> str | None:
        """Return when an unfinished parent was created; None if unknown."""
        known: str | None = self._stored.get(parent_id)
        return known

    def has_moved(self, parent: Parent) -> bool:
        """Return True if an unfinished parent has another status than when it was last read."""
        return self._notes("seen").get(parent["id"]) != str(parent.get("status"))

    def waits(self, parent_id: str) -> bool:
        """Return True if a parent is finished, and was read except for known issues."""
        return self._notes("seen").get(parent_id) == _WAITS

    def run_of(self, step_id: str) -> str | None:
        """Return the run of an unfinished step; None if unknown."""
        known: str | None = self._notes("run_of").get(step_id)
        return known

    def _notes(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._state.get(name, {}).get(self._key, {})
        return found

    def _note(self, name: str, parent_id: str, value: str | None) -> None:
        if value is not None:
            self._state.setdefault(name, {}).setdefault(self._key, {})[parent_id] = value
        elif parent_id in self._notes(name):
            del self._state[name][self._key][parent_id]

    def add(self, parent: Parent) -> None:
        """Add a parent that the list named, in the list's order."""
        self._open[parent["id"]] = parent

    def close(self, parent: Parent, complete: bool = True, waits: bool = False) -> None:
        """Close a parent whose rows were read, `complete` if all were; unless finished, it is read again.

        Args:
            waits: only known issues are missing.
        """
        finished = complete and self.is_finished(parent)
        time = created_at(parent)
        # A parent that could not be read has no date now, but may have had one before.
        created = time.isoformat() if time else self.known_since(parent["id"])
        self._closed.add(parent["id"])
        if parent["id"] in self._open:
            self._open[parent["id"]] = parent
        if self._overlap.is_ahead(time):
            # A cursor at this date would pass items created until then.
            self._undated.add(parent["id"])
        run_id = parent.get("run_id")
        # A parent that was not read whole counts as moved, whatever its status.
        status = str(parent.get("status")) if complete else ""
        if waits and self.is_finished(parent):
            status = _WAITS
        unfinished = _Unfinished(created, status, run_id if isinstance(run_id, str) else None)
        self._changes[parent["id"]] = None if finished else unfinished

    def is_finished(self, parent: Parent) -> bool:
        """Return True if the parent is finished, and has been for longer than the overlap."""
        return is_finished(parent) and not self._is_young(parent)

    def skip(self, parent: Parent) -> None:
        """Let the cursor pass a parent that is not to be read; one without a date, only with a later one."""
        self._closed.add(parent["id"])
        if created_at(parent) is None:
            self._undated.add(parent["id"])

    def forget(self, parent_id: str) -> None:
        """Close a parent that the server no longer has."""
        self._closed.add(parent_id)
        self._changes[parent_id] = None

    def _is_young(self, parent: Parent) -> bool:
        completed, created = created_at({"date": parent.get("completed_at")}), created_at(parent)
        dates = (time for time in (completed, created) if not self._overlap.is_ahead(time))
        return self._overlap.is_young(next((time for time in dates if time), None))

    def commit(self) -> None:
        """Move the cursor over the closed parents; call it once the rows were handed over."""
        for parent_id, unfinished in self._changes.items():
            if unfinished is None:
                self._stored.pop(parent_id, None)
            else:
                self._stored[parent_id] = unfinished.created_at
            self._note("seen", parent_id, unfinished.status if unfinished else None)
            self._note("run_of", parent_id, unfinished.run_id if unfinished else None)
        self._changes.clear()
        self._cursors.observe(self._key, ())
        while self._open and (parent_id := next(iter(self._open))) in self._closed:
            parent = self._open.pop(parent_id)
            if parent_id not in self._undated:
                self._cursors.observe(self._key, [parent])
            self._undated.discard(parent_id)
        self._closed &= self._open.keys()
        self._cursors.commit()


# Terminal statuses of runs, batches and steps. Releases may add others, which do not count as terminal.
_TERMINAL = {"completed", "failed", "cancelled", "expired", "success"}


def is_finished(parent: Parent) -> bool:
    """Return True if a run, step or batch is finished (terminal status)."""
    if parent.get("status") is None and parent.get("stop_reason"):
        # Steps of older servers have no status.
        return True
    status = parent.get("status")
    # Any other value that a server may send does not count as terminal.
    is_terminal = isinstance(status, str) and status in _TERMINAL
    return is_terminal or parent.get("completed_at") is not None
