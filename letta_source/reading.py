"""One resource's reading of one load: its state and cursors, and what it shares with the others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from letta_source.cursors import Cursors, Units
from letta_source.session import Session
from letta_source.times import created_at, parse_time
from letta_source.walk import Endpoint


class Reading:
    """One resource's reading: its state, and the session it belongs to.

    Args:
        state: of the dlt resource; `cursors` and `unsettled` are documented in `letta_source.cursors`,
            `listed_at` holds by list when it was last read, for lists without dates of their own.
    """

    def __init__(self, session: Session, state: dict[str, Any]) -> None:
        self.session = session
        self.settings = session.settings
        self._state = state
        self._tracking = {
            "settled_before": session.started_at - self.settings.lag,
            "frozen": self.settings.window,
            "ignored": self.settings.refresh,
        }
        self.cursors = Cursors(state, **self._tracking)
        self._units: dict[str, Units] = {}
        self._listed_at: dict[str, str] = {}

    def units(self, key: str) -> Units:
        """Of the list that `key` names."""
        if key not in self._units:
            self._units[key] = Units(self._state, key, **self._tracking)
        return self._units[key]

    @property
    def rereads(self) -> bool:
        """Whether rows may have been loaded before, whatever the cursors say."""
        return self.settings.window or self.settings.refresh

    @property
    def keys(self) -> tuple[str, ...]:
        """The lists to read: one an agent if only some were asked for, so that each has its own cursor."""
        return self.settings.agent_ids or ("",)

    @property
    def filter_key(self) -> str:
        """Names the one list of those that cannot be filtered by agent."""
        return ",".join(sorted(self.settings.agent_ids))

    def wants(self, item: dict[str, Any]) -> bool:
        """Whether the item is one of the agents and of the window that were asked for."""
        only = self.settings.agent_ids
        if only and (item.get("agent_id") or only[0]) not in only:
            return False
        if only and isinstance(item.get("agent_ids"), list) and not set(only) & set(item["agent_ids"]):
            return False
        if not self.settings.window:
            return True
        time = created_at(item)
        start, end = self.settings.start_date, self.settings.end_date
        return time is None or not ((start and time < start) or (end and time >= end))

    def may_hold(self, run: dict[str, Any]) -> bool:
        """Whether anything of this run can lie in the window that was asked for."""
        begun, ended = created_at(run), created_at({"date": run.get("completed_at")})
        start, end = self.settings.start_date, self.settings.end_date
        return not ((start and ended and ended < start) or (end and begun and begun >= end))

    def endpoint(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        family: str | None = None,
        page_size: int | None = None,
    ) -> Endpoint:
        return Endpoint(path, params or {}, page_size or self.settings.page_size, family)

    def listed_since(self, key: str) -> datetime | None:
        """What to read a list without dates from: when it was last read, less the overlap."""
        at = None if self.rereads else self._state.get("listed_at", {}).get(key)
        return parse_time(at) - self.settings.lag if at else None

    def was_listed(self, key: str) -> None:
        self._listed_at[key] = self.session.started_at.isoformat()

    def commit(self) -> None:
        """Moves all cursors over what was handed over."""
        self.cursors.commit()
        for units in self._units.values():
            units.commit()

    def finish(self) -> None:
        """As `commit`, once everything was read."""
        self.commit()
        if self._listed_at and not self.settings.window:
            self._state.setdefault("listed_at", {}).update(self._listed_at)
