"""Report what could not be read: in the log, in the counts, and as rows of load_issues."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from letta_source.items import Nameless
from letta_source.paging.walk import UNREADABLE, Gap, Retried
from letta_source.rows.arrow import table_of, to_arrays
from letta_source.rows.mask import Mask
from letta_source.schema.card import Resource
from letta_source.schema.tables import LOAD_ISSUES
from letta_source.state.counts import Counts
from letta_source.state.known_issues import NO_ID, Key, KnownIssues

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

# More places without an id are not kept for a parent: a server might omit every other id.
_MOST_WITHOUT_ID = 100


class Issues:
    """Issues of one resource in one load.

    Args:
        mask: applied to details as to rows.
        known: issues of earlier loads; updated by this one.

    Attributes:
        rows: rows of load_issues that were not handed over yet.
    """

    def __init__(
        self,
        resource: Resource,
        started_at: datetime,
        counts: Counts,
        mask: Mask,
        known: KnownIssues,
    ) -> None:
        self._card = resource
        self._resource = resource.name
        self._started_at = started_at
        self._counts = counts
        self._mask = mask
        self._known = known
        self._reported: set[tuple[str, Key]] = set()
        self.rows: list[dict[str, Any]] = []

    def gap(self, parent_id: str, gap: Gap, job_id: str, instead_of: Retried | None = None) -> bool:
        """Report unreadable messages between two others; return True if they are known.

        Args:
            job_id: of the job that met it: the parent, or the run of a step.
            instead_of: the gap that this one is a rest of.
        """
        before = (UNREADABLE, instead_of.after_id, instead_of.before_id) if instead_of else None
        return self.report(
            UNREADABLE, parent_id, gap.detail, gap.after_id, gap.before_id, True, before, job_id
        )

    def without_id(self, parent_id: str, others: Sequence[Nameless], page_after: str) -> None:
        """Report elements of a page that cannot be rows; the first places of a parent are known later on.

        Args:
            page_after: id of the item before the page.
        """
        # The end of a page and later items change between loads; the item before the elements stays.
        for elements, after_id in others:
            kinds = ", ".join(sorted({type(element).__name__ for element in elements}))
            detail = f"{len(elements)} without an id: {kinds}"
            before, known = after_id or page_after, self._known.of(parent_id)
            is_kept = (NO_ID, before, "") in known or len(known) < _MOST_WITHOUT_ID
            self.report(NO_ID, parent_id, detail, before, tracked=is_kept)

    def misfits(self, parent_id: str, items: Sequence[Any]) -> None:
        """Report items that do not fit the models; without their content."""
        from pydantic import ValidationError

        for item in items:
            try:
                self._card.adapter.validate_python(item)
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']} ({error.error_count()} in all)"
                item_id = str(item.get("id", "")) if isinstance(item, dict) else ""
                self.report("invalid", parent_id, wrong, item_id, item_id)

    def report(
        self,
        kind: str,
        parent_id: str,
        detail: str,
        after_id: str = "",
        before_id: str = "",
        tracked: bool = False,
        instead_of: Key | None = None,
        job_id: str = "",
    ) -> bool:
        """Report one issue; return True if it is known.

        Args:
            parent_id: empty for the whole resource.
            after_id, before_id: ids it lies between; empty at the ends of the list.
            tracked: later loads retry it until it can be read; it is known from its second report on.
            instead_of: the issue that this one is a rest of.
            job_id: see `gap`.
        """
        shown = self._mask.detail(detail)
        row = self._row(kind, parent_id, shown, after_id, before_id)
        if tracked:
            key = (kind, after_id, before_id)
            row["known"] = self._known.fail(parent_id, key, instead_of, job_id)
            if kind == UNREADABLE:
                row["next_try_at"] = self._known.next_try(parent_id, key)
            if (parent_id, key) in self._reported:
                # A sweep meets the rest of a gap again that was retried before.
                return bool(row["known"])
            self._reported.add((parent_id, key))
        self.rows.append(row)
        if row["known"]:
            self._counts.count_known(row["next_try_at"])
            return True
        self._counts.problems += 1
        ends = (("after", after_id), ("before", before_id))
        between = "".join(f" {side} {one}" for side, one in ends if one)
        # A mask may drop the detail.
        told = "its detail is masked" if shown is None else shown
        logger.warning("%s: %s %s%s: %s", self._resource, parent_id or "the list", kind, between, told)
        return False

    def settle(self, parent_id: str, waiting: Collection[Key] = (), whole: bool = True) -> None:
        """End a parent that was read: known issues that were not reported again are resolved.

        Args:
            waiting: known issues that were not retried this time.
            whole: its list was read from start to end. If not, an issue may lie in the rest of it.
        """
        for key in list(self._known.of(parent_id)):
            if (parent_id, key) in self._reported:
                continue
            if key in waiting or not (whole or self._is_met(key)):
                self._counts.count_known(self._known.next_try(parent_id, key))
            else:
                self._known.resolve(parent_id, key)
                kind, after_id, before_id = key
                row = self._row(kind, parent_id, None, after_id, before_id)
                self.rows.append({**row, "known": True, "resolved": True})
                logger.info("%s: %s is no longer %s", self._resource, parent_id or "the list", kind)

    def _is_met(self, key: Key) -> bool:
        """Return True if each load meets the issue, also one that does not read the list from its start."""
        kind, *ends = key
        # A cursor passes elements without an id; without a cursor, only changes or some agents are read.
        return kind != NO_ID and not (self._card.walk == "list" and any(ends))

    def summarize(self, waiting: Collection[str] = ()) -> None:
        """Log the number of known issues still open, in one line.

        Args:
            waiting: jobs that were left out, because no retry of their known issues is due.
        """
        for parent_id in [parent_id for job_id in waiting for parent_id in self._known.parents(job_id)]:
            for key in self._known.of(parent_id):
                if (parent_id, key) not in self._reported:
                    self._counts.count_known(self._known.next_try(parent_id, key))
        if known := self._counts.known:
            again = self._counts.next_try
            waits = again is not None and again > self._started_at
            when = f"at {again:%Y-%m-%d %H:%M} UTC" if waits else "by the next load"
            logger.info("%s: known issues still open: %s; next retry %s", self._resource, known, when)

    def _row(
        self, kind: str, parent_id: str, detail: str | None, after_id: str, before_id: str
    ) -> dict[str, Any]:
        return {
            "load_started_at": self._started_at,
            "resource": self._resource,
            "parent_id": parent_id,
            "kind": kind,
            "detail": detail,
            "after_id": after_id,
            "before_id": before_id,
            "known": None,
            "next_try_at": None,
            "resolved": None,
        }

    def table(self, load_id: str) -> tuple[str, pa.Table]:
        """Return the name of load_issues and the rows since the last call, at least one."""
        columns = {name: [issue[name] for issue in self.rows] for name in self.rows[0]}
        part = len(self.rows), to_arrays(LOAD_ISSUES, columns)
        self.rows = []
        return LOAD_ISSUES.name, table_of(LOAD_ISSUES, [part], load_id)
