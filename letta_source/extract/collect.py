"""Read one resource into pyarrow tables, independently of dlt.

Cursors move only after the rows they stand for have been taken.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from letta_source.destinations.existing_rows import LoadedIds
from letta_source.errors import FamilyMissing, FatalError, ParentGone
from letta_source.extract.append_only import AppendOnly
from letta_source.extract.gathered_rows import GatheredRows, ParentPages
from letta_source.extract.issues import Issues
from letta_source.extract.tracker import Tracker
from letta_source.extract.workers import FINDING, Begun, Done, Failed, JobEvent, Shortage, stream
from letta_source.items import split_page
from letta_source.paging.walk import UNREADABLE, Gap, Page, Restarted, Retried
from letta_source.plan.catalog import find_jobs
from letta_source.plan.filters import reads_whole
from letta_source.plan.job import Job, ParentSeen
from letta_source.rows.children import search_result
from letta_source.rows.mask import Mask
from letta_source.schema.card import Resource
from letta_source.state.counts import Counts
from letta_source.state.resource_state import ResourceState

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

Tables = list[tuple[str, "pa.Table"]]
Extraction = Generator[Tables, None, None]


def extract(
    resource: Resource,
    state: ResourceState,
    counts: Counts,
    tombstones: bool,
    loaded: LoadedIds | None = None,
) -> Extraction:
    """Read one resource.

    The caller calls `state.commit` once it has handed the tables over.

    Args:
        tombstones: see `letta_source.rows.flatten.Rows`.
        loaded: for append-only destinations, see `letta_source.extract.append_only`.

    Yields:
        Tables of about `rows_per_yield` root rows, and load_issues; finally those that are left.

    Raises:
        FatalError: at the end: the server cannot be read any more.
    """
    collector = _Collector(resource, state, counts, tombstones, loaded)
    counts.swept = state.sweeps
    counts.only_news = state.asks_for_changes
    fatal: FatalError | None = None

    def jobs(client: Any) -> Any:
        return find_jobs(client, state, resource)

    try:
        with stream(state.settings, jobs, state.session.server) as job_events:
            for job_event in job_events:
                collector.take(job_event)
                while collector.is_full:
                    # No package ends within a run, step or batch: the next load would take it for loaded.
                    with state.session.packages.kept_together(bool(collector.held)):
                        yield collector.tables()
                    collector.release()
    except FatalError as error:
        fatal = error
        collector.rows.give_up_list()
    else:
        collector.finish()
    finally:
        if collector.append_only:
            collector.append_only.close()
    yield collector.tables()
    collector.release()
    counts.missed, counts.ended = state.missed, time.monotonic()
    if fatal:
        raise fatal
    state.finish()


class _Collector:
    """Handler of all events of one resource: it moves cursors, gathers rows, and reports issues."""

    def __init__(
        self,
        resource: Resource,
        state: ResourceState,
        counts: Counts,
        tombstones: bool,
        loaded: LoadedIds | None,
    ) -> None:
        session, settings = state.session, state.settings
        self._resource = resource
        self._name = resource.name
        self._state = state
        self._session = session
        self._counts = counts
        self._mask = Mask(resource, settings)
        self._tracker = Tracker(state)
        self.rows = GatheredRows(resource, state, counts, self._mask, tombstones)
        self._issues = Issues(resource, session.started_at, counts, self._mask, state.issues)
        self.append_only = AppendOnly(resource, state, loaded, self._mask) if loaded else None
        self._handlers: dict[type, Callable[[Job, str, Any], None]] = {
            Begun: self._begin,
            ParentSeen: lambda job, _, seen: self._tracker.see(job, seen.parent),
            Page: self._page,
            Restarted: self._restart,
            Gap: self._gap,
            Retried: self._gap_retried,
            Done: self._end,
            Failed: self._fail,
            Shortage: self._note_shortage,
        }
        self._is_short = False
        self.held: tuple[ParentPages, Job] | None = None
        # Pages whose items the rows still refer to.
        self._pages: list[Page] = []
        self._lease = session.server.memory.lease()
        self._lease.hold()

    @property
    def is_full(self) -> bool:
        """True if there are enough rows to hand on, by number or bytes, or any while memory is short."""
        if self._is_short and self.rows.count:
            return True
        enough = self._session.server.memory.enough_rows
        return self.rows.count >= self._session.packages.rows_per_yield or self.rows.size >= enough

    def release(self) -> None:
        """Give back the memory of rows that were handed on; gather more of the held pages."""
        self._lease.release()
        self._is_short = False
        self._gather_held()

    def _gather_held(self) -> None:
        pages, job = self.held or ((), FINDING)
        for page in pages:
            self.rows.add([page], job)
            self._note_arrays()
            if self.is_full:
                return
        self.held = None

    def _release_pages(self) -> None:
        for page in self._pages:
            page.release()
        self._pages.clear()

    def _note_shortage(self, *_: Any) -> None:
        self._is_short = True

    def take(self, job_event: JobEvent) -> None:
        job, parent_id, event = job_event
        if isinstance(event, Gap | Restarted | Failed):
            self.rows.give_up_list()
        self._handlers[type(event)](job, parent_id, event)
        self._gather_held()

    def tables(self) -> Tables:
        """Return the rows gathered so far, with those of load_issues, and start afresh."""
        load_id = self._session.packages.load_id
        made = self.rows.tables(load_id)
        if self._issues.rows:
            made.append(self._issues.table(load_id))
        self._release_pages()
        return [(name, self._mask.table(name, rows)) for name, rows in made]

    def _begin(self, job: Job, parent_id: str, event: Begun) -> None:
        if job.id and job.moves != "place":
            self._counts.parents += 1
        self._counts.lists += not job.id
        self._tracker.begin(job)

    def _page(self, job: Job, parent_id: str, page: Page) -> None:
        if self._state.settings.validate_items:
            self._issues.misfits(parent_id, page.items)
        sent = page.items
        if self._resource.wrapped_in:
            sent = [search_result(item) for item in sent]
        items, others = split_page(sent)
        if others:
            self._issues.without_id(parent_id, others, page.after_id)
        passed = self._tracker.page(job, parent_id, items, page.in_order)
        if self.append_only:
            items = self.append_only.page(job, parent_id, items, passed, page.in_order, page.size)
        self._pages.append(page)
        self.rows.add([(parent_id, items, page.size)], job)
        self._note_arrays()

    def _note_arrays(self) -> None:
        if not self.rows.is_waiting:
            self._lease.add(self.rows.size - self._lease.size)
            self._release_pages()

    def _restart(self, job: Job, parent_id: str, event: Restarted) -> None:
        self._tracker.restart(job, parent_id)
        if self.append_only:
            self.append_only.restart(job, parent_id)

    def _gap(self, job: Job, parent_id: str, gap: Gap) -> None:
        is_known = self._issues.gap(parent_id, gap, job.id)
        self._tracker.gap(job, parent_id, gap, is_known)
        if not gap.answered:
            self._counts.fail(job.id, is_known)

    def _gap_retried(self, job: Job, parent_id: str, gap: Retried) -> None:
        self._tracker.gap_retried(parent_id, gap)
        if self.append_only:
            self.held = self.append_only.gap_retried(job), job
        if gap.left:
            self._issues.gap(parent_id, gap.left, job.id, instead_of=gap)

    def _end(self, job: Job, parent_id: str, event: Done) -> None:
        self._finish_rows(job, self._tracker.end(job))
        self._settle(job)
        if job.id and job.moves != "place":
            self._counts.done += 1

    def _fail(self, job: Job, parent_id: str, failed: Failed) -> None:
        error = failed.error
        # The search for parents has no Begun event that would count its list.
        self._counts.lists += job is FINDING
        if isinstance(error, FamilyMissing):
            self._miss(error)
        elif isinstance(error, ParentGone):
            self._forget(job, error)
        else:
            is_known = self._issues.report(error.kind, job.id, str(error), tracked=True)
            self._counts.fail(job.id, is_known)
            self._counts.done += bool(job.id)
            self._tracker.fail(job)
            self._finish_rows(job, finished=False)

    def _miss(self, error: FamilyMissing) -> None:
        family, why = str(error), str(error.__cause__ or "found missing before")
        self._counts.skipped = f"{family} missing"
        self._counts.missing_lists += 1
        # A family that the host had before is reported as an issue, below.
        is_told = bool(self._state.changes.missing) or self._state.had_family
        self._session.host.miss(family, why, is_told)
        self._state.changes.note(missing=why)
        self._state.lacks_family = True
        if self._state.had_family:
            self._issues.report("missing", "", f"the server had {family} at the last load: {why}")

    def _forget(self, job: Job, error: ParentGone) -> None:
        if job.asked_for:
            self._issues.report(error.kind, job.id, str(error), tracked=True)
        self._settle(job)
        logger.info("%s: %s is gone from the server; its loaded rows remain", self._name, job.id)
        self._counts.done += 1
        # Runs that no list of this load named do not count: all of them may well be gone.
        self._counts.gone += job.in_order
        # Nothing more of it will come.
        self._finish_rows(job, finished=True)
        self._tracker.forget(job)

    def finish(self) -> None:
        """End the resource: all of it was read."""
        self.rows.end_list()
        self._tell_vanished()
        if not self._state.settings.window:
            self._issues.settle("", whole=reads_whole(self._resource, self._state))
        self._issues.summarize(self._state.waiting)

    def _tell_vanished(self) -> None:
        state, counts = self._state, self._counts
        if state.lost:
            detail = f"the server has none of the {state.lost:,} parents read before: is it the same server?"
            counts.vanished = not self._issues.report("not_found", "", detail, tracked=True)
        elif counts.gone and counts.gone == counts.parents:
            # If only parents with news are asked for, these may be just a few.
            counts.vanished = not state.asks_for_changes or counts.gone >= state.known

    def _settle(self, job: Job) -> None:
        # A window reads only part of a parent.
        if job.id and not self._state.settings.window:
            known = self._state.issues
            for parent_id in known.parents(job.id):
                gaps = [(UNREADABLE, *gap) for gap in self._state.cursors.gaps(parent_id)]
                waiting = [key for key in gaps if not known.is_due(parent_id, key)]
                self._issues.settle(parent_id, waiting, reads_whole(self._resource, self._state))

    def _finish_rows(self, job: Job, finished: bool) -> None:
        self.rows.end(job)
        if self.append_only:
            self.held = self.append_only.end(job, finished), job
