"""What the resources of one load share: the settings, what was listed, what is missing, and the counts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from letta_source.api.rate_limit import Pace
from letta_source.settings import Settings

logger = logging.getLogger(__name__)

ListKey = tuple[str, tuple[tuple[str, str | int], ...], tuple[str | None, str | None] | None]
"""Of a list: its path, its parameters and the cursor it was read from."""


@dataclass
class Counts:
    """What one resource did so far.

    Attributes:
        parents: agents, groups, … found so far; 0 for a plain list.
        done: how many of them were read.
        items: items read, those of the overlap too.
        requests: HTTP requests, tries too.
        failed: how many could not be read, or not to their end.
        problems: parents and messages that could not be read.
        skipped: why it was not read at all, or None.
    """

    parents: int = 0
    done: int = 0
    failed: int = 0
    items: int = 0
    requests: int = 0
    problems: int = 0
    skipped: str | None = None
    begun: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float:
        if self.begun is None:
            return 0.0
        return (self.ended or time.monotonic()) - self.begun

    def count_request(self) -> None:
        self.requests += 1


@dataclass
class Session:
    """Belongs to one source; starts anew with each load.

    Attributes:
        load_id: of the load package that is being extracted.
        checkpoint_rows: rows of a load package; None for all in one. Who sets it extracts again as long as
            `has_more` says so, and looks at `fatal`: what was read before is loaded then, not lost.
        paused: by resource, the extraction that the next load package goes on with, and its reading.
        fatal: why nothing more can be read.
        appends: resources whose tables are empty: what they read is appended while each row comes once.
        relisted: a list was read again from its start, and named again what was read before.
        takes_over: somebody else loaded before, and may have been killed with some tables merged.
        kept: items in the load packages that were loaded; writes: one is being loaded now.
    """

    settings: Settings = field(init=False)
    load_id: str = ""
    checkpoint_rows: int | None = None
    rows: int = 0
    has_more: bool = False
    paused: dict[str, tuple[Generator[Any, None, None], Any]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    fatal: str = ""
    appends: set[str] = field(default_factory=set)
    takes_over: bool = False
    kept: int = 0
    writes: bool = False
    pace: Pace = field(default_factory=Pace)
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    counts: dict[str, Counts] = field(default_factory=dict)
    lists: dict[ListKey, list[dict[str, Any]]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    relisted: bool = False
    lists_steps: bool | None = None
    no_steps: Exception | None = None
    _line: list[str] = field(default_factory=list)

    @contextmanager
    def turn(self, resource: str) -> Iterator[Callable[[], bool]]:
        """Lets one resource at a time read, in the order they came.

        dlt takes turns between resources. One after the other, no more than `max_workers` requests are in
        flight, and what one listed the next one knows.

        Yields:
            Tells whether the resource's turn has come.
        """
        self._line.append(resource)
        try:
            yield lambda: self._line[0] == resource
        finally:
            self._line.remove(resource)

    def enter(self, load_id: str) -> None:
        """To be called by each resource in its turn, with the id of the load package."""
        if load_id and load_id == self.load_id:
            return
        self.load_id = load_id
        self.rows = 0
        if not self.has_more:
            self._begin()
        self.has_more = False

    def _begin(self) -> None:
        self.started_at = datetime.now(timezone.utc)
        self.counts = {}
        self.lists = {}
        self.missing = set()
        self.relisted = False
        self.lists_steps = self.no_steps = None
        self.done = set()
        self.fatal = ""
        self.pace = Pace(self.settings.requests_per_second)

    def begin(self, resource: str) -> Counts:
        """To be called by each resource when its reading begins."""
        counts = self.counts[resource] = Counts(begun=time.monotonic())
        return counts

    @property
    def is_full(self) -> bool:
        """Whether the load package has all the rows it may have."""
        return self.checkpoint_rows is not None and self.rows >= self.checkpoint_rows

    def close(self) -> None:
        """Ends what is paused."""
        for extraction, _ in self.paused.values():
            extraction.close()
        self.paused.clear()
        self.has_more = False

    def miss(self, family: str, why: str) -> None:
        """Says, once, that the host does not have a family of endpoints."""
        if family not in self.missing:
            self.missing.add(family)
            logger.warning("%s: skipped, %s does not have them (%s)", family, self.settings.base_url, why)

    def miss_step_list(self, no_steps: Exception | None) -> None:
        """Says that steps are reached through runs.

        Args:
            no_steps: what the host answered if it has nothing under `/v1/steps`: no steps' messages either.
        """
        self.lists_steps, self.no_steps = False, no_steps
        logger.info("steps: %s has no list of them, they are read through runs", self.settings.base_url)

    @property
    def problems(self) -> int:
        return sum(counts.problems for counts in self.counts.values())
