"""Move one resource's cursors and worklists as its jobs are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from letta_source.items import Item
from letta_source.paging.walk import Gap, Retried
from letta_source.plan.job import Job
from letta_source.state.resource_state import ResourceState


class Tracker:
    """Tracker of how far each parent and list was read; `ResourceState.commit` stores it."""

    def __init__(self, state: ResourceState) -> None:
        self._state = state
        self._incomplete: set[str] = set()
        # Ids of jobs with a new gap.
        self._is_new: set[str] = set()
        self._parents: dict[str, Mapping[str, Any]] = {}

    def begin(self, job: Job) -> None:
        """Note the job's place in the list that named it."""
        if job.moves in ("parent", "place") and job.in_order:
            self._state.worklist(job.key).add(job.parent)

    def see(self, job: Job, parent: Mapping[str, Any]) -> None:
        """Note the current state of the job's run, step or batch."""
        self._parents[job.id] = parent

    def page(self, job: Job, parent_id: str, items: Sequence[Item], in_order: bool) -> int:
        """Move over a page; return how many of its items the parent's cursor passes."""
        if job.moves == "cursor" and in_order:
            return self._state.cursors.observe(parent_id, items)
        if job.moves == "worklist":
            worklist = self._state.worklist(job.key)
            for item in items:
                if in_order:
                    worklist.add(item)
                worklist.close(item)
        return 0

    def restart(self, job: Job, parent_id: str) -> None:
        """Restart a parent, as the item under its cursor is gone."""
        if job.moves == "cursor":
            self._state.cursors.restart(parent_id)

    def gap(self, job: Job, parent_id: str, gap: Gap, is_known: bool) -> None:
        """Pass an unreadable part, and keep it for a retry by later loads."""
        self._incomplete.add(job.id)
        if not is_known:
            self._is_new.add(job.id)
        if job.moves == "cursor":
            self._state.cursors.meet_gap(parent_id, (gap.after_id, gap.before_id))

    def gap_retried(self, parent_id: str, gap: Retried) -> None:
        """Keep what is left of a gap."""
        left = (gap.left.after_id, gap.left.before_id) if gap.left else None
        self._state.cursors.replace_gap(parent_id, (gap.after_id, gap.before_id), left)

    def end(self, job: Job) -> bool:
        """End a job that was read; return True if its run, step or batch is finished for good."""
        complete = job.id not in self._incomplete
        return self._close(job, complete, waits=not complete and job.id not in self._is_new)

    def fail(self, job: Job) -> None:
        """End a job that was not read to its end; the next load tries again."""
        if job.moves == "cursor":
            self._state.cursors.stop(job.id)
        self._close(job, complete=False)

    def forget(self, job: Job) -> None:
        """End a job whose parent is gone from the server."""
        self._parents.pop(job.id, None)
        if job.moves == "parent" and job.in_order:
            # This load's list has it: where lists and objects come from two replicas, it may come back. The
            # next load asks for it by its id.
            self._state.worklist(job.key).close(job.parent, complete=False)
        elif job.moves == "parent":
            self._state.worklist(job.key).forget(job.id)
        elif job.moves == "cursor":
            self._state.cursors.forget(job.id)

    def _close(self, job: Job, complete: bool, waits: bool = False) -> bool:
        if job.moves == "place":
            self._state.worklist(job.key).skip(job.parent)
        if job.moves != "parent":
            return False
        worklist, parent = self._state.worklist(job.key), self._parents.pop(job.id, job.parent)
        worklist.close(parent, complete, waits)
        return complete and worklist.is_finished(parent)
