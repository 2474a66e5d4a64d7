"""The session of one load, which its resources share, with its load packages."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from letta_source.api.server import Server
from letta_source.settings import Settings
from letta_source.state.counts import Counts
from letta_source.state.host import Host

# dlt takes some 10 ms for each table of a yield.
ROWS_PER_YIELD = 20_000
LARGE_ROW = 1 << 14


@dataclass
class Packages:
    """The load package being extracted, and the extractions that the next one resumes.

    Attributes:
        max_rows: rows of a load package; None for all in one. A caller that sets it extracts again while
            `has_more`, and checks `fatal`: then the rows read before are still loaded.
        max_bytes: bytes of large rows in a load package, as destinations take 2,000 or more rows at once.
        rows_per_yield: root rows handed to dlt at once.
        load_id: id of the package being extracted; empty without a pipeline.
        rows, bytes: handed over for it so far; bytes of large rows only.
        has_more: the package is full, and there is more to read.
        paused: by resource, the extraction that the next package resumes, and its state.
        read: resources that were read to their end.
        fatal: why nothing more can be read, or empty.
    """

    max_rows: int | None = None
    max_bytes: int | None = None
    rows_per_yield: int = field(default_factory=lambda: ROWS_PER_YIELD)
    load_id: str = ""
    rows: int = 0
    bytes: int = 0
    has_more: bool = False
    paused: dict[str, tuple[Generator[Any, None, None], Any]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    fatal: str = ""
    _is_kept_together: bool = False

    @contextmanager
    def kept_together(self, is_so: bool = True) -> Iterator[None]:
        """Let the package not be full while the block runs, if `is_so`."""
        self._is_kept_together = is_so
        try:
            yield
        finally:
            self._is_kept_together = False

    def open(self, load_id: str) -> bool:
        """Start the package with this id, unless it is open; return True if it is the first of a load."""
        if load_id and load_id == self.load_id:
            return False
        starts_load = not self.has_more
        self.load_id, self.rows, self.bytes, self.has_more = load_id, 0, 0, False
        if starts_load:
            self.read, self.fatal = set(), ""
        return starts_load

    def count(self, rows: int, size: int) -> None:
        """Count rows that were handed over, and their bytes."""
        self.rows += rows
        if size > rows * LARGE_ROW:
            self.bytes += size

    @property
    def is_full(self) -> bool:
        """True once the load package has as many rows or bytes as it may have."""
        if self._is_kept_together:
            return False
        if self.max_rows is not None and self.rows >= self.max_rows:
            return True
        return self.max_bytes is not None and self.bytes >= self.max_bytes

    def close(self) -> None:
        """Close the paused extractions."""
        for extraction, _ in self.paused.values():
            extraction.close()
        self.paused.clear()
        self.has_more = False


@dataclass
class TablesBefore:
    """The tables as they were before this load; set by the loader, for the resources to read.

    Attributes:
        empty: resources whose tables are empty: their rows are appended while none repeats.
        erased: ids of agents and conversations to leave out.
        from_elsewhere: another working folder loaded before, perhaps killed with only some tables merged.
    """

    empty: set[str] = field(default_factory=set)
    from_elsewhere: bool = False
    erased: frozenset[str] = frozenset()


@dataclass
class Written:
    """The part of the load that is in the destination.

    Attributes:
        items: number of items in the load packages already loaded.
        is_writing: True while a load package is being loaded.
    """

    items: int = 0
    is_writing: bool = False


@dataclass
class Session:
    """State shared by the resources of one source; it starts afresh with each load.

    Attributes:
        settings: settings of the source.
        pipeline_name: the pipeline whose section of dlt's configuration applies if none is active.
        started_at: when the load started, in UTC, by the server's clock.
        server: rate limit, clock and memory of all requests.
        counts: counts by resource, for progress and the summary.
        host: this load's knowledge of the host.
        packages: the load package being extracted.
        before: the destination's tables before the load.
        written: the part of the load already in the destination.
    """

    settings: Settings = field(init=False)
    pipeline_name: str | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    server: Server = field(default_factory=Server)
    counts: dict[str, Counts] = field(default_factory=dict)
    host: Host = field(default_factory=Host)
    packages: Packages = field(default_factory=Packages)
    before: TablesBefore = field(default_factory=TablesBefore)
    written: Written = field(default_factory=Written)
    _queue: list[str] = field(default_factory=list)

    @contextmanager
    def queued(self, resource: str) -> Iterator[Callable[[], bool]]:
        """Let one resource at a time read, first come, first served.

        dlt alternates between resources. Read one after the other, they have at most `max_workers` requests
        in flight, and each knows what earlier ones listed.

        Yields:
            A function that returns True once the resource is first in the queue.
        """
        self._queue.append(resource)
        try:
            yield lambda: self._queue[0] == resource
        finally:
            self._queue.remove(resource)

    def enter(self, load_id: str) -> None:
        """Start a load package, and with the first one a load; each resource calls it before it reads."""
        if self.packages.open(load_id):
            self.counts = {}
            self.host = Host(self.settings.base_url, max_listed=self.host.max_listed)
            self.server.start_load(self.settings)
            self.started_at = self.server.clock.now()

    def begin(self, resource: str) -> Counts:
        """Start the counts of a resource as its reading begins."""
        counts = self.counts[resource] = Counts(begun=time.monotonic())
        # One resource is read at a time.
        self.server.traffic = counts.traffic
        return counts

    def close(self) -> None:
        """Close extractions paused between load packages."""
        self.packages.close()

    @property
    def problems(self) -> int:
        """The number of parents and messages that could not be read, including known ones."""
        return sum(counts.problems for counts in self.counts.values())

    @property
    def known_problems(self) -> int:
        """The number of problems that an earlier load had too."""
        return sum(counts.known for counts in self.counts.values())
