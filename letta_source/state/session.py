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
    """Belongs to one source; starts anew with each load.

    Attributes:
        settings: of the source.
        pipeline_name: whose own section of dlt's configuration counts, if no pipeline is active.
        started_at: when the load started, in UTC, by the server's clock.
        server: pace, clock and memory of all its requests.
        counts: by resource, for those who watch.
        host: what this load learned of the host.
        packages: what is extracted now, and what comes next.
        before: what the destination held before.
        written: what is in the destination by now.
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
        """Lets one resource at a time read, in the order they came.

        dlt takes turns between resources. One after the other, no more than `max_workers` requests are in
        flight, and what one listed the next one knows.

        Yields:
            A function that returns True once the resource is first in the queue.
        """
        self._queue.append(resource)
        try:
            yield lambda: self._queue[0] == resource
        finally:
            self._queue.remove(resource)

    def enter(self, load_id: str) -> None:
        """Starts a load package, and with the first one a load; each resource calls it before it reads."""
        if self.packages.open(load_id):
            self.counts = {}
            self.host = Host(self.settings.base_url, max_listed=self.host.max_listed)
            self.server.start_load(self.settings)
            self.started_at = self.server.clock.now()

    def begin(self, resource: str) -> Counts:
        """Starts the counts of a resource, when its reading begins."""
        counts = self.counts[resource] = Counts(begun=time.monotonic())
        # One resource is read at a time.
        self.server.traffic = counts.traffic
        return counts

    def close(self) -> None:
        """Ends what is paused between two load packages."""
        self.packages.close()

    @property
    def problems(self) -> int:
        """Parents and messages that could not be read, known ones too."""
        return sum(counts.problems for counts in self.counts.values())

    @property
    def known_problems(self) -> int:
        """The number of problems that an earlier load had too."""
        return sum(counts.known for counts in self.counts.values())
