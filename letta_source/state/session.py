"""The session of one load, which its resources share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone

from letta_source.api.server import Server
from letta_source.settings import Settings
from letta_source.state.counts import Counts
from letta_source.state.host import Host
from letta_source.state.packages import Packages, TablesBefore, Written


@dataclass
class Session:
    """State shared by the resources of one source; it starts afresh with each load.

    Attributes:
        settings: settings of the source.
        pipeline_name: the pipeline whose section of dlt's configuration applies if none is active.
        started_at: when the load started, in UTC, by the server's clock.
        server: pace, clock and memory of all requests.
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
