"""The counts of one resource in a load."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime

from letta_source.api.server import Traffic


@dataclass
class Counts:
    """Counts of one resource, shown while it is read and in the summary.

    Attributes:
        parents: agents, groups, … found so far; 0 for a plain list.
        done: how many of them were read.
        failed: how many could not be read at all.
        failed_known: how many of them an earlier load could not read either.
        only_news: only those were asked that have news, or failed before.
        lists: lists that were read, the resource's own and those that name its parents.
        failed_lists: how many of them could not be read at all.
        missing_lists: how many of them the host does not have.
        gone: parents that were listed, by this load or an earlier one, and were gone when they were read.
        vanished: all of them are gone, and no earlier load has said so.
        items: items read, those of the overlap too.
        rows: rows handed over to be loaded, of all its tables.
        requests: HTTP requests, retries too.
        traffic: retries, waits and bytes.
        problems: parents and messages that could not be read, known ones too.
        known: those that an earlier load could not read either; not all of them were tried again.
        next_try: when the first of those that wait is tried again.
        swept: read whole, not only what seemed to have changed.
        missed: items that a sweep found and that no signal names; None where that cannot be told.
        skipped: why it was not read at all, or None.
        begun, ended: readings of the monotonic clock, or None.
    """

    parents: int = 0
    done: int = 0
    failed: int = 0
    failed_known: int = 0
    only_news: bool = False
    lists: int = 0
    failed_lists: int = 0
    missing_lists: int = 0
    gone: int = 0
    vanished: bool = False
    items: int = 0
    rows: int = 0
    requests: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    problems: int = 0
    known: int = 0
    next_try: datetime | None = None
    swept: bool = False
    missed: int | None = None
    skipped: str | None = None
    begun: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds since reading began, until it ended."""
        if self.begun is None:
            return 0.0
        return (self.ended or time.monotonic()) - self.begun

    @property
    def mostly_failed(self) -> bool:
        """True if more than half of the parents could not be read."""
        if not self.only_news:
            return self.failed * 2 > self.parents
        # What failed before is asked each time: in a quiet hour it is all that is asked.
        failed, asked = self.failed - self.failed_known, self.parents - self.failed_known
        return failed > 1 and failed * 2 > asked

    def count_known(self, next_try: datetime | None) -> None:
        """Count a known issue, tried again or not."""
        self.problems += 1
        self.known += 1
        if next_try:
            self.next_try = min(self.next_try or next_try, next_try)

    def count_request(self) -> None:
        """Count one request."""
        self.requests += 1
