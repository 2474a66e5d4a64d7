"""Runs, steps and batches: read again until they are finished."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime
from typing import Any, NamedTuple

from letta_source.state.cursors import Cursor, Cursors
from letta_source.times import created_at


class _Unsettled(NamedTuple):
    created_at: str | None


class Units:
    """How far a list of runs, steps or batches was worked off, and which of them are to be read again.

    A unit is settled once it has ended and is older than the overlap. One that is not is kept in
    `state["unsettled"]` and read by its id until it is: lists are read from their cursor on, and the
    server's list of batches forgets those that have ended.

    Args:
        state: of the dlt resource.
        key: which list; lists with other filters are worked off apart.
        settled_before, frozen, ignored: as for `Cursors`.
    """

    def __init__(
        self,
        state: MutableMapping[str, Any],
        key: str,
        settled_before: datetime,
        frozen: bool = False,
        ignored: bool = False,
    ) -> None:
        self._cursors = Cursors(state, settled_before, frozen, ignored)
        self._key = key
        self._frozen = frozen
        self._settled_before = settled_before
        self._listed: dict[str, dict[str, Any]] = {}
        self._done: set[str] = set()
        self._undated: set[str] = set()
        self._changes: dict[str, _Unsettled | None] = {}
        self.bind(state)

    def bind(self, state: MutableMapping[str, Any]) -> None:
        """Goes on in the state of the next load package."""
        self._cursors.bind(state)
        self._stored: MutableMapping[str, Any] = (
            {} if self._frozen else state.setdefault("unsettled", {}).setdefault(self._key, {})
        )

    @property
    def cursor(self) -> Cursor | None:
        """Where to read the list on from; None if it was never read."""
        return self._cursors.get(self._key)

    def beyond_list(self) -> tuple[str, ...]:
        """Unsettled units that the list, read from its cursor on, does not give."""
        if self.cursor is None:
            return ()
        listed_from = self.cursor[0]
        return tuple(
            unit_id
            # Copied at once: another thread commits meanwhile.
            for unit_id, created in list(self._stored.items())
            if created is None or listed_from is None or created <= listed_from
        )

    @property
    def unsettled(self) -> tuple[str, ...]:
        return tuple(self._stored)

    def known_since(self, unit_id: str) -> str | None:
        """When an unsettled unit was created, as far as is known."""
        known: str | None = self._stored.get(unit_id)
        return known

    def listed(self, unit: dict[str, Any]) -> None:
        """A unit that the list gave; to be called in the list's order."""
        self._listed[unit["id"]] = unit

    def done(self, unit: dict[str, Any], complete: bool = True) -> None:
        """A unit whose rows were read, all of them or not."""
        settled = complete and self.is_settled(unit)
        time = created_at(unit)
        self._done.add(unit["id"])
        self._changes[unit["id"]] = None if settled else _Unsettled(time.isoformat() if time else None)

    def is_settled(self, unit: dict[str, Any]) -> bool:
        """Whether it has ended, and is older than the overlap."""
        return has_ended(unit) and not self._is_young(unit)

    def passed(self, unit: dict[str, Any]) -> None:
        """A unit that is not to be read. The cursor passes it; if it has no date, only with a later one."""
        self._done.add(unit["id"])
        if created_at(unit) is None:
            self._undated.add(unit["id"])

    def gone(self, unit_id: str) -> None:
        """A unit that the server no longer knows."""
        self._done.add(unit_id)
        self._changes[unit_id] = None

    def _is_young(self, unit: dict[str, Any]) -> bool:
        time = created_at({"date": unit.get("completed_at")}) or created_at(unit)
        return time is not None and time >= self._settled_before

    def commit(self) -> None:
        """Moves the cursor over what was worked off; call it once the rows were handed over."""
        for unit_id, unsettled in self._changes.items():
            if unsettled is None:
                self._stored.pop(unit_id, None)
            else:
                self._stored[unit_id] = unsettled.created_at
        self._changes.clear()
        self._cursors.observe(self._key, ())
        while self._listed and (unit_id := next(iter(self._listed))) in self._done:
            unit = self._listed.pop(unit_id)
            if unit_id not in self._undated:
                self._cursors.observe(self._key, [unit])
            self._undated.discard(unit_id)
        self._done &= self._listed.keys()
        self._cursors.commit()


# Of runs, steps and batches.
_STATUSES_BEFORE_THE_END = ("created", "running", "pending")


def has_ended(unit: dict[str, Any]) -> bool:
    return unit.get("status") not in _STATUSES_BEFORE_THE_END
