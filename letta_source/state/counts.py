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
        done: parents that were read.
        failed: parents that could not be read at all.
        failed_known: those of them that an earlier load could not read either.
        only_news: only parents with news, or that failed before, were asked.
        lists: lists that were read, the resource's own and those that name its parents.
        failed_lists: lists that could not be read at all.
        missing_lists: lists that the host does not have.
        gone: parents that were listed, by this load or an earlier one, but gone when they were read.
        vanished: all parents are gone, and no earlier load has reported it.
        items: items read, including those of the overlap.
        rows: rows handed over for loading, of all tables.
        traffic: HTTP requests, retries, waits and bytes.
        problems: parents and messages that could not be read, including known ones.
        known: problems that an earlier load had too; not all of them were retried.
        next_try: the earliest time at which one of these is retried.
        swept: everything was read, not only what seemed to have changed.
        missed: items that a sweep found and no signal named; None if unknown.
        skipped: why the resource was not read at all, or None.
        begun, ended: times of the monotonic clock, or None.
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
    def requests(self) -> int:
        """The number of HTTP requests, including retries."""
        return self.traffic.requests

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
        # Parents that failed before are always asked: in a quiet hour, no others are.
        failed, asked = self.failed - self.failed_known, self.parents - self.failed_known
        return failed > 1 and failed * 2 > asked

    def count_known(self, next_try: datetime | None) -> None:
        """Count a known issue, whether or not it was retried."""
        self.problems += 1
        self.known += 1
        if next_try:
            self.next_try = min(self.next_try or next_try, next_try)

    def fail(self, parent_id: str, is_known: bool) -> None:
        """Count a parent, or a list if the id is empty, that could not be read.

        Args:
            is_known: an earlier load could not read it either.
        """
        self.failed += bool(parent_id)
        self.failed_known += bool(parent_id) and is_known
        self.failed_lists += not parent_id
