"""One resource's reading of one load: its state and cursors, and what it shares with the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from letta_source.paging.pages import Endpoint
from letta_source.shards import bucket_of
from letta_source.state.cursors import Cursors
from letta_source.state.session import Session
from letta_source.state.units import Units
from letta_source.times import created_at, parse_time


class Reading:
    """One resource's reading: its state, and the session it belongs to.

    Args:
        state: of the dlt resource; `cursors` and `unsettled` are documented in `letta_source.state.cursors`,
            `listed` holds, for lists whose items have no date, when they were read and up to which id,
            `digests`, for destinations that can only add rows, by id what was added last, `ahead`, by list
            and bucket, cursors of other shards beyond this one's.
    """

    def __init__(self, session: Session, state: dict[str, Any]) -> None:
        self.session = session
        self.settings = session.settings
        self._state = state
        self.settled_before = session.started_at - self.settings.lag
        self._tracking: dict[str, Any] = {
            "settled_before": self.settled_before,
            "frozen": self.settings.window,
            "ignored": self.settings.refresh,
        }
        self.cursors = Cursors(state, **self._tracking)
        self._units: dict[str, Units] = {}
        self._listed: dict[str, str | None] = {}
        self._digests: dict[str, str] = {}
        self._ahead: dict[str, dict[str, list[str]]] = state.get("ahead", {})

    def bind(self, state: dict[str, Any]) -> None:
        """Goes on in the state of the next load package."""
        self._state = state
        self.cursors.bind(state)
        for units in self._units.values():
            units.bind(state)

    def units(self, key: str) -> Units:
        """Of the list that `key` names."""
        if key not in self._units:
            self._units[key] = Units(self._state, key, **self._tracking)
        return self._units[key]

    @property
    def rereads(self) -> bool:
        """Whether what the cursors are beyond is read."""
        return self.settings.window or self.settings.refresh

    @property
    def loaded_before(self) -> bool:
        """Whether rows may have been loaded before, whatever the cursors say."""
        return self.rereads or self.session.takes_over

    @property
    def keys(self) -> tuple[str, ...]:
        """The lists to read: one an agent if only some were asked for, so that each has its own cursor."""
        return self.settings.agent_ids or ("",)

    @property
    def filter_key(self) -> str:
        """Names the one list of those that cannot be filtered by agent."""
        return ",".join(sorted(self.settings.agent_ids))

    def wants(self, item: dict[str, Any], timeless: bool = False) -> bool:
        """Whether the item is one of the agents and, unless timeless, of the window that were asked for."""
        only = self.settings.agent_ids
        if only and (item.get("agent_id") or only[0]) not in only:
            return False
        # A group's manager is none of its agent_ids.
        members = item.get("agent_ids")
        if only and isinstance(members, list):
            members = [*members, item.get("manager_agent_id")]
            if not any(member in only for member in members):
                return False
        if timeless or not self.settings.window:
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
        plain: bool = False,
    ) -> Endpoint:
        return Endpoint(path, params or {}, page_size or self.settings.page_size, family, plain)

    def owns(self, parent_id: str) -> bool:
        """Whether the parent falls to this shard."""
        return self.settings.shard.owns(parent_id)

    def read_to(self, key: str, unit_id: str) -> tuple[str, str] | None:
        """[created_at, id] to which another shard read the list already, for the unit's bucket.

        None if that is no farther than this shard's own cursor: see `letta_source.loading.shard_state`.
        """
        ahead = self._ahead.get(key, {}).get(str(bucket_of(unit_id)))
        if self.rereads or not ahead or unit_id in self.units(key).unsettled:
            return None
        return ahead[0], ahead[1]

    def has_changed(self, item_id: str, digest: str) -> bool:
        """Whether it was never read, or was another then."""
        known = self._digests.get(item_id) or self._state.get("digests", {}).get(item_id)
        self._digests[item_id] = digest
        return bool(known != digest)

    def listed_to(self, key: str) -> str | None:
        """Id up to which a list without dates had been read before the overlap began."""
        settled = (
            []
            if self.rereads
            else [stop for stop in self._stops(key) if parse_time(stop[0]) < self.settled_before]
        )
        return settled[-1][1] if settled else None

    def now_listed_to(self, key: str, last_id: str | None) -> None:
        """Takes note of the last id of such a list; `finish` keeps it."""
        self._listed[key] = last_id or self.listed_to(key)

    def _stops(self, key: str) -> list[list[str]]:
        stops: list[list[str]] = self._state.get("listed", {}).get(key, [])
        return stops

    def commit(self) -> None:
        """Moves all cursors over what was handed over."""
        self.cursors.commit()
        for units in self._units.values():
            units.commit()
        if self._digests and not self.settings.window:
            self._state.setdefault("digests", {}).update(self._digests)
        self._digests.clear()

    def finish(self) -> None:
        """As `commit`, once everything was read."""
        self.commit()
        for key, positions in self._state.get("ahead", {}).items():
            reached = (self.units(key).cursor or ("", ""))[0] or ""
            for bucket in [bucket for bucket, cursor in positions.items() if cursor[0] <= reached]:
                del positions[bucket]
        for key, last_id in self._listed.items():
            if last_id and not self.settings.window:
                stops = self._stops(key)
                settled = [stop for stop in stops if parse_time(stop[0]) < self.settled_before]
                kept = settled[-1:] + stops[len(settled) :]
                kept.append([self.session.started_at.isoformat(), last_id])
                self._state.setdefault("listed", {})[key] = kept
