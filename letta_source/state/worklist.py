"""Runs, steps and batches: read again until they are finished."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

from letta_source.state.cursors import Cursor, Cursors
from letta_source.state.overlap import Overlap
from letta_source.times import created_at

Parent = Mapping[str, Any]
"""A run, step or batch: its id, its status and its dates, as far as they are known."""


class _Unfinished(NamedTuple):
    created_at: str | None
    status: str
    run_id: str | None


class Worklist:
    """The position in a list of runs, steps or batches, and those of them that must be read again.

    One that is not finished, or finished within the overlap, is kept in `state["unsettled"]` and read by its
    id until it is: lists are read from their cursor on, and the server's list of batches forgets those that
    are finished.

    Args:
        state: of the dlt resource.
        key: which list; lists with other filters are worked off apart.
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
        """Goes on in the state of the next load package."""
        self._cursors.bind(state)
        self._state = {} if self._frozen else state
        self._stored: MutableMapping[str, Any] = (
            {} if self._frozen else state.setdefault("unsettled", {}).setdefault(self._key, {})
        )

    @property
    def cursor(self) -> Cursor | None:
        """The position to read the list on from; None if it was never read."""
        return self._cursors.get(self._key)

    def beyond_list(self) -> tuple[str, ...]:
        """Unfinished ones that the list, read from its cursor on, does not give."""
        if self.cursor is None:
            return ()
        listed_from = self.cursor[0]
        return tuple(
            parent_id
            # Copied at once: another thread commits meanwhile.
            for parent_id, created in list(self._stored.items())
            if created is None or listed_from is None or created <= listed_from
        )

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Ids of those that are kept to be read again."""
        return tuple(self._stored)

    def known_since(self, parent_id: str) -> str | None:
        """Return when an unfinished one was created, as far as is known."""
        known: str | None = self._stored.get(parent_id)
        return known

    def has_moved(self, parent: Parent) -> bool:
        """Return whether an unfinished one has another status than when it was read last."""
        return self._notes("seen").get(parent["id"]) != str(parent.get("status"))

    def run_of(self, step_id: str) -> str | None:
        """Return the run of an unfinished step, as far as is known."""
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
        """Adds one that the list gave, in the list's order."""
        self._open[parent["id"]] = parent

    def close(self, parent: Parent, complete: bool = True) -> None:
        """Closes one whose rows were read, all of them or not; unless finished, it is read again."""
        finished = complete and self.is_finished(parent)
        time = created_at(parent)
        # One that could not be read tells no date, but may have told it before.
        created = time.isoformat() if time else self.known_since(parent["id"])
        self._closed.add(parent["id"])
        if parent["id"] in self._open:
            self._open[parent["id"]] = parent
        if self._overlap.is_ahead(time):
            # A cursor on it would have what is created until then behind it.
            self._undated.add(parent["id"])
        run_id = parent.get("run_id")
        # One that was not read whole has moved, whatever its status.
        status = str(parent.get("status")) if complete else ""
        unfinished = _Unfinished(created, status, run_id if isinstance(run_id, str) else None)
        self._changes[parent["id"]] = None if finished else unfinished

    def is_finished(self, parent: Parent) -> bool:
        """True once it is in its last state, since longer than the overlap."""
        return is_finished(parent) and not self._is_young(parent)

    def skip(self, parent: Parent) -> None:
        """Lets the cursor pass one that is not to be read; without a date, only with a later one."""
        self._closed.add(parent["id"])
        if created_at(parent) is None:
            self._undated.add(parent["id"])

    def forget(self, parent_id: str) -> None:
        """Closes one that the server no longer knows."""
        self._closed.add(parent_id)
        self._changes[parent_id] = None

    def _is_young(self, parent: Parent) -> bool:
        completed, created = created_at({"date": parent.get("completed_at")}), created_at(parent)
        dates = (time for time in (completed, created) if not self._overlap.is_ahead(time))
        return self._overlap.is_young(next((time for time in dates if time), None))

    def commit(self) -> None:
        """Moves the cursor over what was closed; call it once the rows were handed over."""
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


# Of runs and batches, and of steps. Others come between releases, and are no end.
_TERMINAL = {"completed", "failed", "cancelled", "expired", "success"}


def is_finished(parent: Parent) -> bool:
    """True if a run, step or batch is in its last state."""
    if parent.get("status") is None and parent.get("stop_reason"):
        # Steps of older servers have no status.
        return True
    status = parent.get("status")
    # Whatever else a server may put there is no end.
    is_terminal = isinstance(status, str) and status in _TERMINAL
    return is_terminal or parent.get("completed_at") is not None
