"""Known issues: what earlier loads could not read, tried again ever less often."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from datetime import datetime, timedelta
from typing import Any, TypedDict

from letta_source.times import parse_time

# After the first failure the next load tries again. An hourly load may start some minutes early.
_FIRST_WAIT = timedelta(minutes=50)
_LONGEST_WAIT = timedelta(hours=23)

Key = tuple[str, str, str]
"""Of an issue of one parent: its kind, and the ids that it lies between."""


class StoredIssue(TypedDict):
    """One known issue as dlt keeps it; times are ISO 8601 in UTC."""

    kind: str
    after_id: str
    before_id: str
    tries: int
    next_try: str


class KnownIssues:
    """Known issues by parent, in `state["issues"]`; changes are kept aside until `commit`.

    Args:
        state: of the dlt resource.
        now: when the load began.
        frozen: not moved, for a window of time.
        eager: all are tried again, for reading everything again.
    """

    def __init__(
        self, state: MutableMapping[str, Any], now: datetime, frozen: bool = False, eager: bool = False
    ) -> None:
        self._now = now
        self._frozen = frozen
        self._eager = eager
        self._changed: dict[str, dict[Key, StoredIssue]] = {}
        self.bind(state)

    def bind(self, state: MutableMapping[str, Any]) -> None:
        """Go on in the state of the next load package."""
        self._state = state

    def of(self, parent_id: str) -> Mapping[Key, StoredIssue]:
        """Return the known issues of a parent."""
        if parent_id in self._changed:
            return self._changed[parent_id]
        stored = self._state.get("issues", {}).get(parent_id, ())
        return {(one["kind"], one["after_id"], one["before_id"]): one for one in stored}

    def is_due(self, parent_id: str, key: Key) -> bool:
        """Tell whether to try again now; a version that kept no known issues left some that are due."""
        known = self.of(parent_id).get(key)
        return self._eager or known is None or parse_time(known["next_try"]) <= self._now

    def next_try(self, parent_id: str, key: Key) -> datetime:
        """Return when to try again, at the earliest."""
        return parse_time(self.of(parent_id)[key]["next_try"])

    def fail(self, parent_id: str, key: Key, instead_of: Key | None = None) -> bool:
        """Note one that cannot be read; return True if an earlier load could not read it either.

        Args:
            instead_of: what it is left of.
        """
        issues = dict(self.of(parent_id))
        instead_of = instead_of or (None if key in issues else self._like(issues, key))
        before = issues.pop(instead_of, None) if instead_of else issues.get(key)
        # What shrank may go on shrinking: it is tried again at once.
        tries = before["tries"] + 1 if before and key in self.of(parent_id) else 1
        wait = min(_FIRST_WAIT * 2 ** min(tries - 2, 10), _LONGEST_WAIT) if tries > 1 else timedelta()
        kind, after_id, before_id = key
        issues[key] = {
            "kind": kind,
            "after_id": after_id,
            "before_id": before_id,
            "tries": tries,
            "next_try": (self._now + wait).isoformat(),
        }
        self._changed[parent_id] = issues
        return before is not None or instead_of is not None

    def _like(self, issues: Mapping[Key, StoredIssue], key: Key) -> Key | None:
        """Return the one that this is now: a gap at the end of a list gets an id after it, one may shrink."""
        kind, after_id, before_id = key
        for one in issues:
            if one[0] == kind and (one[1] == after_id or (before_id and one[2] == before_id)):
                return one
        return None

    def resolve(self, parent_id: str, key: Key) -> None:
        """Note one that was read after all."""
        self._changed[parent_id] = {one: kept for one, kept in self.of(parent_id).items() if one != key}

    def keep_only(self, parents: Collection[str]) -> None:
        """Forget issues of parents that are none of these, but for those of whole lists."""
        for parent_id in {*self._state.get("issues", {}), *self._changed} - {"", *parents}:
            self._changed[parent_id] = {}

    def commit(self) -> None:
        """Move the state to what was noted."""
        if not self._frozen and self._changed:
            stored = self._state.setdefault("issues", {})
            for parent_id, issues in self._changed.items():
                stored[parent_id] = list(issues.values())
                if not issues:
                    del stored[parent_id]
        if not self._frozen:
            self._changed.clear()
