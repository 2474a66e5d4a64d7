"""One resource's state: its shape, and how a load changes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypedDict, cast

from letta_source.shards import bucket_of
from letta_source.state.changes import Changes, StoredChanges
from letta_source.state.cursors import Cursors
from letta_source.state.known_issues import KnownIssues, StoredIssue
from letta_source.state.session import Session
from letta_source.state.worklist import Worklist
from letta_source.times import Overlap, parse_time

# The lists that tell which agents have news take about ten requests.
_MANY_AGENTS = 300


class StoredState(TypedDict, total=False):
    """The state that dlt keeps for one resource between loads.

    A list's key is the agent it is filtered by, empty for the whole list. A cursor is `[created_at, id]` of
    the newest item in a parent's messages or a list that the next load need not read again; the time is
    ISO 8601 text in UTC or null.
    """

    cursors: dict[str, list[str | None]]
    """The cursor of each parent or list key."""
    gaps: dict[str, list[list[str]]]
    """The gaps of each parent: `[after id, before id]` around what could not be read and is retried."""
    unsettled: dict[str, dict[str, str | None]]
    """The creation time of each run, step or batch to be read again, by list key and id."""
    listed: dict[str, list[list[str]]]
    """Marks in each list without dates, by list key: `[time of the load, last id]`, of the newest load before
    the overlap and of all since."""
    issues: dict[str, list[StoredIssue]]
    """The issues of each parent: what could not be read, and when it is retried."""
    digests: dict[str, str]
    """A digest of the row that was last added for each id, for append-only destinations."""
    added_until: str
    """Append-only: the last load of some agents or a window. Rows created before may have been added."""
    list_digest: str
    """A digest of the whole list that the last load wrote, or found unchanged."""
    reread: dict[str, list[str | None]]
    """The place where a sweep begins, by parent or list key; see `letta_source.state.cursors.RereadMarks`."""
    swept: dict[str, str]
    """The start of the last load that asked for everything, by the agents asked for."""
    changes: StoredChanges
    """The state that lets the next load ask only for changes."""
    seen: dict[str, dict[str, str]]
    """The last status of each unfinished run, step or batch, by list key and id."""
    run_of: dict[str, dict[str, str]]
    """The run of each unfinished step, by list key and id."""
    has_family: bool
    """True if the host had the resource's endpoints when it was last read."""
    ahead: dict[str, dict[str, list[str]]]
    """Cursors of other shards that are ahead of this one's, by list key and bucket."""


class ResourceState:
    """One resource's state during one load; changes only with `commit` and `finish`.

    Args:
        session: the session of the load.
        stored: the dict that dlt keeps, see `StoredState`.
        adds_only: the destination is append-only.

    Attributes:
        sweeps: this load asks for everything, whatever the signals say.
        rereads_window: the last `reread_window` is read again.
        lacks_family: the host has none of the resource's endpoints.
        waiting: runs and steps that are not read again before the retry of a known issue is due.
        missed: number of items that a sweep found and no signal named; None if unknown.
        known: number of parents that earlier loads read.
        lost: number of parents that earlier loads read, if the server names none of them any more. It may be
            another server, or one that lost its data, so their cursors are kept.
    """

    def __init__(self, session: Session, stored: dict[str, Any], adds_only: bool = False) -> None:
        self.session = session
        self.settings = session.settings
        self._stored = cast(StoredState, stored)
        self.overlap = Overlap(session.started_at, self.settings.lag, session.server.clock.now)
        self.adds_only = adds_only
        self.sweeps = self._is_sweep_due()
        # Append-only, a changed row would be added beside the old one, so none is read again.
        self.rereads_window = self.sweeps and not adds_only
        self.lacks_family = False
        self.missed: int | None = None
        self._parents: set[str] = set()
        self._all_named = False
        self._tracking: dict[str, Any] = {
            "window": self.settings.reread_window,
            "sweeps": self.rereads_window,
            "overlap": self.overlap,
            "frozen": self.settings.window or session.server.ignores_order,
            "ignored": self.settings.refresh,
        }
        self.cursors = Cursors(stored, **self._tracking)
        self.issues = KnownIssues(
            stored, session.started_at, frozen=self.settings.window, eager=self.settings.refresh
        )
        self.changes = Changes(stored, self.overlap)
        self.known, self.lost = len(self.cursors), 0
        self._meets_known = False
        self.waiting: set[str] = set()
        self._worklists: dict[str, Worklist] = {}
        self._last_listed: dict[str, str | None] = {}
        self._digests: dict[str, str] = {}
        self._list_digest: str | None = None
        self._ahead: dict[str, dict[str, list[str]]] = self._stored.get("ahead", {})

    def bind(self, stored: dict[str, Any]) -> None:
        """Continue with the state dict of the next load package."""
        self._stored = cast(StoredState, stored)
        self.cursors.bind(stored)
        self.issues.bind(stored)
        self.changes.bind(stored)
        for worklist in self._worklists.values():
            worklist.bind(stored)

    def _is_sweep_due(self) -> bool:
        swept = self._stored.get("swept", {}).get(self._scope)
        if self.settings.window or not swept:
            # A resource that was never loaded is read whole anyway.
            return False
        since = self.session.started_at - parse_time(swept)
        return not timedelta(0) <= since < self.settings.sweep_interval

    @property
    def since_sweep(self) -> timedelta:
        """The time since the last sweep."""
        swept = self._stored.get("swept", {}).get(self._scope)
        return self.session.started_at - parse_time(swept) if swept else timedelta(0)

    @property
    def _scope(self) -> str:
        return ",".join(sorted(self.settings.agent_ids))

    def note_parent(self, parent_id: str) -> None:
        """Note a parent that the server has."""
        self._meets_known = self._meets_known or parent_id in self.cursors
        if self.sweeps:
            self._parents.add(parent_id)

    def note_all_named(self) -> None:
        """Note that all of the server's parents were noted, as their list was read to its end."""
        self._all_named = not self._scope
        if self._all_named and not self._meets_known and not self.rereads:
            self.lost = self.known

    def note_agents(self, count: int, whole: bool) -> None:
        """Note how many agents the list named; `whole` if it was read completely."""
        self.session.host.agents = count
        if whole and not count and not self.rereads:
            self.lost = self.changes.agents

    @property
    def had_family(self) -> bool:
        """True if the host had the resource's endpoints when it was last read."""
        return self._stored.get("has_family", False)

    def worklist(self, key: str) -> Worklist:
        """Return the worklist of the runs, steps or batches in the list with this key."""
        if key not in self._worklists:
            self._worklists[key] = Worklist(cast(dict[str, Any], self._stored), key, **self._tracking)
        return self._worklists[key]

    @property
    def asks_for_changes(self) -> bool:
        """True if this load asks only for changes; a sweep or a first load asks for everything."""
        return self.tracks_changes and not self.sweeps and self.changes.since is not None

    @property
    def tracks_changes(self) -> bool:
        """True if this load, or the next one, asks only for changes."""
        changes = self.settings.changes
        if changes == "off" or self.rereads or self._scope:
            return False
        return changes == "on" or self.has_many_agents

    @property
    def has_many_agents(self) -> bool:
        """True if asking every agent costs more than finding those with news."""
        known = self.session.host.agents or self.changes.agents
        return max(known, len(self.cursors)) > _MANY_AGENTS

    @property
    def rereads(self) -> bool:
        """True if items before the cursors are read again."""
        return self.settings.window or self.settings.refresh or self.session.server.ignores_order

    @property
    def loaded_before(self) -> bool:
        """True if rows may have been loaded before, whatever the cursors say."""
        return self.rereads or self.session.before.from_elsewhere

    def read_to(self, key: str, parent_id: str) -> tuple[str, str] | None:
        """Return [created_at, id] up to which another shard has read the list, for the parent's bucket.

        None if that is not ahead of this shard's own cursor, see `letta_source.loading.shard_state`.
        """
        ahead = self._ahead.get(key, {}).get(str(bucket_of(parent_id)))
        if self.rereads or not ahead or parent_id in self.worklist(key).unfinished:
            return None
        return ahead[0], ahead[1]

    def has_changed(self, item_id: str, digest: str) -> bool:
        """Note the digest; return True if the item was never read or had another digest."""
        known = self._digests.get(item_id) or self._stored.get("digests", {}).get(item_id)
        self._digests[item_id] = digest
        return known != digest

    @property
    def added_until(self) -> datetime | None:
        """The time until which rows may have been added beyond the cursors; None if none were."""
        return parse_time(stored) if (stored := self._stored.get("added_until")) else None

    def note_added(self) -> None:
        """Note that rows were added; by a load of some agents or a window, beyond the cursors of others."""
        if self._scope or self.settings.window:
            self._stored["added_until"] = self.session.started_at.isoformat()

    def has_list(self, digest: str) -> bool:
        """Return True if the last load wrote, or found unchanged, a list with this digest."""
        return self._stored.get("list_digest") == digest

    def forget_list(self) -> None:
        """Drop the digest of the list, of which other rows may be written now."""
        self._stored.pop("list_digest", None)

    def note_list(self, digest: str) -> None:
        """Note the digest of the list that this load writes; `finish` stores it."""
        self._list_digest = digest

    def listed_to(self, key: str) -> str | None:
        """Return the id up to which a list without dates had been read before the overlap began."""
        settled = [stop for stop in self._stops(key) if parse_time(stop[0]) < self.overlap.start]
        return settled[-1][1] if settled and not self.rereads else None

    def note_last_listed(self, key: str, last_id: str | None) -> None:
        """Note the last id of a list without dates; `finish` stores it."""
        self._last_listed[key] = last_id or self.listed_to(key)

    def _stops(self, key: str) -> list[list[str]]:
        return self._stored.get("listed", {}).get(key, [])

    def commit(self) -> None:
        """Move all cursors past the rows that were handed over."""
        self.cursors.commit()
        if self.issues.changed:
            self.issues.commit()
        for worklist in self._worklists.values():
            worklist.commit()
        if self._digests and not self.settings.window:
            self._stored.setdefault("digests", {}).update(self._digests)
        self._digests.clear()

    def finish(self) -> None:
        """Commit at the end, once everything was read."""
        if self.sweeps and self._all_named and self._meets_known:
            self.cursors.keep_only(self._parents)
            self.issues.keep_only(self._parents)
        self.commit()
        self._forget_passed()
        if not self.settings.window:
            if self._list_digest:
                self._stored["list_digest"] = self._list_digest
            self._keep_last_listed()
            self._keep_swept()
            self._stored["has_family"] = not self.lacks_family
            if not self._scope:
                if self.session.host.agents:
                    self.changes.note(agents=self.session.host.agents)
                self.changes.finish(self.session.started_at, self.cursors.open, self.tracks_changes)

    def _keep_swept(self) -> None:
        swept = self._stored.setdefault("swept", {})
        if self.sweeps and not self._scope:
            # A sweep of all agents includes those of some agents.
            swept.clear()
        if self.sweeps or self.settings.refresh or self._scope not in swept:
            swept[self._scope] = self.session.started_at.isoformat()

    def _forget_passed(self) -> None:
        """Drop the other shards' cursors that this shard's own has reached."""
        for key, positions in self._stored.get("ahead", {}).items():
            reached = (self.worklist(key).cursor or ("", ""))[0] or ""
            for bucket in [bucket for bucket, cursor in positions.items() if cursor[0] <= reached]:
                del positions[bucket]

    def _keep_last_listed(self) -> None:
        for key, last_id in self._last_listed.items():
            if last_id:
                stops = self._stops(key)
                settled = [stop for stop in stops if parse_time(stop[0]) < self.overlap.start]
                kept = settled[-1:] + stops[len(settled) :]
                kept.append([self.session.started_at.isoformat(), last_id])
                self._stored.setdefault("listed", {})[key] = kept
