"""One resource's happenings to pyarrow tables. Knows nothing of dlt.

Cursors move only after the rows they stand for were taken.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from letta_source.destinations.existing_rows import LoadedIds
from letta_source.errors import FamilyMissing, FatalError, ParentError, ParentGone
from letta_source.extract.append_only import Pages, Settled
from letta_source.extract.repeats import Once
from letta_source.extract.workers import Begun, Done, Failed, Happening, stream
from letta_source.items import ids_of
from letta_source.paging.events import Gap, Page, Restarted, Retried
from letta_source.plan.catalog import JOBS
from letta_source.plan.job import Job
from letta_source.rows.arrow import to_arrow, with_load_id
from letta_source.rows.children import search_result
from letta_source.rows.columnar import Columnar
from letta_source.rows.flatten import Rows, split_page
from letta_source.rows.mask import Mask
from letta_source.schema.tables import LOAD_ISSUES, Resource
from letta_source.state.resource_state import Reading
from letta_source.state.session import Counts

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

Item = dict[str, Any]
Tables = list[tuple[str, "pa.Table"]]
Extraction = Generator[Tables, None, None]

# dlt takes some 10 ms for each table of a yield.
ROWS_A_YIELD = 20_000
# Agents and conversations are loaded as they are now, whatever the window.
_TIMELESS = {"agents", "groups", "conversations"}


def extract(
    resource: Resource,
    reading: Reading,
    counts: Counts,
    tombstones: bool,
    loaded: LoadedIds | None = None,
) -> Extraction:
    """Reads one resource.

    Whoever takes tables calls `reading.commit` once they are handed over.

    Args:
        tombstones: see `letta_source.rows.flatten.Rows`.
        loaded: for destinations that can only add rows, see `letta_source.extract.append_only`.

    Yields:
        Tables with some 20,000 root rows, and load_issues; the last time with what is left.

    Raises:
        FatalError: at the end: the server cannot be read any more.
    """
    gathered = _Gathered(resource, reading, counts, tombstones, loaded)
    fatal: FatalError | None = None

    def jobs(client: Any) -> Any:
        return JOBS[resource.name](client, reading)

    try:
        with stream(reading.settings, jobs, counts.count_request, reading.session.pace) as happenings:
            for happening in happenings:
                gathered.take(happening)
                if gathered.rows.count >= ROWS_A_YIELD:
                    yield gathered.tables()
    except FatalError as error:
        fatal = error
    yield gathered.tables()
    counts.ended = time.monotonic()
    if fatal:
        raise fatal
    reading.finish()


class _Gathered:
    """Takes the happenings of one resource: gathers rows, moves cursors, names what went wrong."""

    def __init__(
        self,
        resource: Resource,
        reading: Reading,
        counts: Counts,
        tombstones: bool,
        loaded: LoadedIds | None,
    ) -> None:
        # Nothing can be taken out of empty tables.
        tombs = tombstones and resource.name not in reading.session.appends
        # Later loads number on: no load reads a row a microsecond.
        self.rows = Rows(resource, tombs, sequence=time.time_ns() // 1000)
        self._tombstones = tombstones
        self._name = resource.name
        self._reading = reading
        self._counts = counts
        self._incomplete: set[str] = set()
        self._once = Once() if self._name in reading.session.appends else None
        self._read_twice = False
        self._mask = Mask(resource, reading.settings)
        self._settled = Settled(resource.name, reading, loaded, self._mask) if loaded else None
        self._issues: list[Item] = []
        self._wrong = _validator(resource.name) if reading.settings.validate_items else None

    def take(self, happening: Happening) -> None:
        job, parent_id, event = happening
        if isinstance(event, Begun):
            self._begin(job)
        elif isinstance(event, Page):
            self._take_page(job, parent_id, event)
        elif isinstance(event, Restarted):
            if job.pages == "cursor":
                self._reading.cursors.restart(parent_id)
            if self._settled:
                self._settled.restarted(job, parent_id)
        elif isinstance(event, Gap):
            self._incomplete.add(job.id)
            if job.pages == "cursor":
                self._reading.cursors.meet_gap(parent_id, (event.after_id, event.before_id))
            self._report_gap(parent_id, event)
        elif isinstance(event, Retried):
            left = (event.left.after_id, event.left.before_id) if event.left else None
            self._reading.cursors.replace_gap(parent_id, (event.after_id, event.before_id), left)
            if self._settled:
                self._add(self._settled.retried(job), job)
            if event.left:
                self._report_gap(parent_id, event.left)
        elif isinstance(event, Done):
            self._end(job, complete=job.id not in self._incomplete)
        elif isinstance(event, Failed):
            self._fail(job, event.error)

    def _begin(self, job: Job) -> None:
        if job.id and not job.passes:
            self._counts.parents += 1
        if job.unit and job.in_order:
            self._reading.units(job.key).listed(job.unit)

    def _take_page(self, job: Job, parent_id: str, page: Page) -> None:
        self._validate(parent_id, page.items)
        sent = map(search_result, page.items) if self._name == "message_search" else page.items
        items, others = split_page(sent)
        for elements, after_id, before_id in others:
            kinds = ", ".join(sorted({type(element).__name__ for element in elements}))
            detail = f"{len(elements)} without an id: {kinds}"
            self._report("no_id", parent_id, detail, after_id, before_id)
        passed = self._move(job, parent_id, items, page.in_order)
        if self._settled:
            items = self._settled.of_page(job, parent_id, items, passed, page.in_order)
        self._add([(parent_id, items)], job)

    def _add(self, pages: Pages, job: Job) -> None:
        for parent_id, items in pages:
            if not isinstance(items, Columnar) or self._reading.settings.window:
                items = [item for item in items if self._reading.wants(item, self._name in _TIMELESS)]
            if not items:
                continue
            self._watch_repeats(parent_id, items)
            self.rows.add(items, parent_id, job.read_again or self._read_twice)
            self._counts.items += len(items)

    def _watch_repeats(self, parent_id: str, items: Sequence[Item]) -> None:
        if self._once and not self._once.take(parent_id, ids_of(items)):
            self._once, self._read_twice = None, True
            self._reading.session.appends.discard(self._name)
            self.rows.tombstones = self._tombstones

    def _validate(self, parent_id: str, sent: Sequence[Any]) -> None:
        for item in sent if self._wrong else ():
            if self._wrong and (wrong := self._wrong(item)):
                item_id = str(item.get("id", "")) if isinstance(item, dict) else ""
                self._report("invalid", parent_id, wrong, item_id, item_id)

    def _move(self, job: Job, parent_id: str, items: Sequence[Item], in_order: bool) -> int:
        """Returns how many of the items the parent's cursor passes."""
        if job.pages == "cursor" and in_order:
            seen = items.since(self._reading.settled_before) if isinstance(items, Columnar) else items
            passed = self._reading.cursors.observe(parent_id, seen)
            return len(items) if passed == len(seen) else passed
        if job.pages == "units":
            units = self._reading.units(job.key)
            for item in items:
                if in_order:
                    units.listed(item)
                units.done(item)
        return 0

    def _stop(self, job: Job, parent_id: str) -> None:
        if job.pages == "cursor":
            self._reading.cursors.stop(parent_id)

    def _end(self, job: Job, complete: bool) -> None:
        if self._once:
            self._once.end(job.id)
        if job.passes:
            self._reading.units(job.key).passed(job.unit or {})
            return
        if job.id:
            self._counts.done += 1
        if job.unit:
            units = self._reading.units(job.key)
            units.done(job.unit, complete)
            complete = complete and units.is_settled(job.unit)
        if self._settled:
            self._add(self._settled.ended(job, complete), job)

    def _fail(self, job: Job, error: ParentError | FamilyMissing) -> None:
        if isinstance(error, FamilyMissing):
            self._counts.skipped = f"{error} missing"
            self._reading.session.miss(str(error), str(error.__cause__ or "already missed"))
            return
        if not isinstance(error, ParentGone):
            self._report(error.kind, job.id, str(error))
            self._counts.failed += bool(job.id)
            self._stop(job, job.id)
            self._end(job, complete=False)
            return
        if job.asked_for:
            self._report(error.kind, job.id, str(error))
        logger.info("%s: %s is gone from the server; what was loaded of it stays", self._name, job.id)
        self._counts.done += 1
        if self._settled:
            # More of it never comes.
            self._add(self._settled.ended(job, settled=True), job)
        if job.unit:
            self._reading.units(job.key).gone(job.id)
        elif job.pages == "cursor":
            self._reading.cursors.forget(job.id)

    def _report_gap(self, parent_id: str, gap: Gap) -> None:
        self._report("unreadable", parent_id, gap.detail, gap.after_id, gap.before_id)

    def _report(
        self, kind: str, parent_id: str, detail: str, after_id: str = "", before_id: str = ""
    ) -> None:
        self._counts.problems += 1
        shown = self._mask.detail(detail)
        between = f" after {after_id}" * bool(after_id) + f" before {before_id}" * bool(before_id)
        logger.warning("%s: %s %s%s: %s", self._name, parent_id or "the list", kind, between, shown)
        self._issues.append(
            {
                "load_started_at": self._reading.session.started_at,
                "resource": self._name,
                "parent_id": parent_id,
                "kind": kind,
                "detail": shown,
                "after_id": after_id,
                "before_id": before_id,
            }
        )

    def tables(self) -> Tables:
        """The rows so far, those of load_issues too; then starts anew."""
        load_id = self._reading.session.load_id
        made = self.rows.tables(load_id)
        if self._issues:
            columns = {name: [issue[name] for issue in self._issues] for name in self._issues[0]}
            made.append((LOAD_ISSUES.name, with_load_id([to_arrow(LOAD_ISSUES, columns)], load_id)))
            self._issues = []
        return [(name, self._mask.table(name, rows)) for name, rows in made]


def _validator(resource: str) -> Callable[[Any], str | None]:
    """What is wrong with an item of this resource; never its content."""
    from pydantic import ValidationError

    from letta_source.models import WIRE

    def wrong(item: Any) -> str | None:
        try:
            WIRE[resource].validate_python(item)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            return f"{'.'.join(map(str, first['loc']))}: {first['msg']} ({error.error_count()} in all)"
        return None

    return wrong
