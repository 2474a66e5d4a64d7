"""Known issues: what earlier loads could not read, retried at growing intervals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from letta_source.times import parse_time

if TYPE_CHECKING:
    from typing_extensions import NotRequired

# The wait after the second failure; after the first, the next load retries. Hourly loads may start early.
_FIRST_WAIT = timedelta(minutes=50)
_LONGEST_WAIT = timedelta(hours=23)

NO_ID = "no_id"
"""The issue kind of elements without an id."""

Key = tuple[str, str, str]
"""Key of a parent's issue: its kind, and the ids that it lies between."""


class StoredIssue(TypedDict):
    """One known issue as stored by dlt; times are ISO 8601 in UTC.

    `job` is the run that was read, if the parent is a step of it.
    """

    kind: str
    after_id: str
    before_id: str
    tries: int
    next_try: str
    job: NotRequired[str]


class KnownIssues:
    """Known issues by parent, in `state["issues"]`; changes take effect with `commit`.

    Args:
        state: the state of the dlt resource.
        now: when the load began.
        frozen: issues are not changed, for a window of time.
        eager: all issues are retried, for reading everything again.

    Attributes:
        changed: the issues of the parents whose issues changed, not yet stored.
    """

    def __init__(
        self, state: MutableMapping[str, Any], now: datetime, frozen: bool = False, eager: bool = False
    ) -> None:
        self._now = now
        self._frozen = frozen
        self._eager = eager
        self.changed: dict[str, dict[Key, StoredIssue]] = {}
        self.bind(state)

    def bind(self, state: MutableMapping[str, Any]) -> None:
        """Continue with the state dict of the next load package."""
        self._state = state
        self._steps: dict[str, list[str]] = {}
        for parent_id, issues in {**state.get("issues", {}), **self.changed}.items():
            stored = issues.values() if isinstance(issues, dict) else issues
            for job_id in {one["job"] for one in stored if "job" in one}:
                self._steps.setdefault(job_id, []).append(parent_id)

    def of(self, parent_id: str) -> Mapping[Key, StoredIssue]:
        """Return the known issues of a parent."""
        if parent_id in self.changed:
            return self.changed[parent_id]
        stored = self._state.get("issues", {}).get(parent_id, ())
        return {(one["kind"], one["after_id"], one["before_id"]): one for one in stored}

    def is_due(self, parent_id: str, key: Key) -> bool:
        """Return True if a retry is due, as it always is for gaps without a record from older versions."""
        known = self.of(parent_id).get(key)
        return self._eager or known is None or parse_time(known["next_try"]) <= self._now

    def gaps(self, parent_id: str, kind: str) -> dict[tuple[str, str], bool]:
        """Map the ids around each issue of a kind, roughly in the list's order, to True if a retry is due."""
        return {key[1:]: self.is_due(parent_id, key) for key in self.of(parent_id) if key[0] == kind}

    def parents(self, job_id: str) -> list[str]:
        """Return a job's own parent, and the steps of its run that have issues."""
        return [job_id, *self._steps.get(job_id, ())]

    def waits(self, job_id: str) -> bool:
        """Return True if the job has known issues that are retried, and no retry is due."""
        parents = self.parents(job_id)
        keys = [(one, key) for one in parents for key in self.of(one) if key[0] != NO_ID]
        return bool(keys) and not any(self.is_due(*one) for one in keys)

    def next_try(self, parent_id: str, key: Key) -> datetime | None:
        """Return the earliest time of the next retry; None if every load that meets it is one."""
        return None if key[0] == NO_ID else parse_time(self.of(parent_id)[key]["next_try"])

    def fail(self, parent_id: str, key: Key, instead_of: Key | None = None, job_id: str = "") -> bool:
        """Note an issue; return True if an earlier load had it too.

        Args:
            instead_of: the issue of which this one is the rest.
            job_id: the run that was read, if the parent is a step of it.
        """
        issues = dict(self.of(parent_id))
        instead_of = instead_of or (None if key in issues else self._like(issues, key))
        # A walk meets issues in the list's order, and puts them in it; a retry alone keeps the place.
        before = issues.get(key) if instead_of == key else issues.pop(instead_of or key, None)
        # A gap that shrank may shrink further: the next load retries it.
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
        if job_id not in ("", parent_id):
            issues[key]["job"] = job_id
            if parent_id not in self._steps.setdefault(job_id, []):
                self._steps[job_id].append(parent_id)
        self.changed[parent_id] = issues
        return before is not None or instead_of is not None

    def _like(self, issues: Mapping[Key, StoredIssue], key: Key) -> Key | None:
        """Return the earlier form of an issue: a gap may shrink, or get an id after it at a list's end."""
        kind, after_id, before_id = key
        for one in issues:
            if one[0] == kind and (one[1] == after_id or (before_id and one[2] == before_id)):
                return one
        return None

    def resolve(self, parent_id: str, key: Key) -> None:
        """Note that an issue is resolved, as it was read after all."""
        self.changed[parent_id] = {one: kept for one, kept in self.of(parent_id).items() if one != key}

    def keep_only(self, parents: Collection[str]) -> None:
        """Forget the issues of all other parents, except those of whole lists."""
        for parent_id in {*self._state.get("issues", {}), *self.changed} - {"", *parents}:
            self.changed[parent_id] = {}

    def commit(self) -> None:
        """Store the changes."""
        if self._frozen:
            return
        stored = self._state.setdefault("issues", {})
        for parent_id, issues in self.changed.items():
            stored[parent_id] = list(issues.values())
            if not issues:
                del stored[parent_id]
        self.changed.clear()
