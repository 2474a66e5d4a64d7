"""The server as all clients of one load know it, and the memory that they share."""

from __future__ import annotations

from dataclasses import dataclass, field

from letta_source.api.clock import Clock
from letta_source.api.memory import Memory
from letta_source.api.rate_limit import Pace
from letta_source.settings import Settings


@dataclass
class Traffic:
    """The cost of one resource on the wire.

    Attributes:
        retries: requests that were sent again.
        waited: seconds before retries, of all workers together, and those that the server asked for.
        bytes: of bodies, decoded.
    """

    retries: int = 0
    waited: float = 0.0
    bytes: int = 0

    def count_retry(self, seconds: float) -> None:
        """Count a retry, and the wait before it."""
        self.retries += 1
        self.waited += seconds


@dataclass
class Server:
    """The server, as far as the load has met it; used from one event loop at a time.

    Attributes:
        pace: when the next request may go.
        clock: its time.
        memory: bytes that bodies and rows may take.
        lets_read: a request has succeeded: a later 401 or 403 concerns what was asked for, not the key.
        traffic: of the resource that is being read.
        page_limits: by kind of path, the largest limit that it takes, where that is less than was asked for.
        given_without: relations that some items cannot be given with.
        given_up: kinds of paths of which the last request failed to the end, while others were answered.
    """

    pace: Pace = field(default_factory=Pace)
    clock: Clock = field(default_factory=Clock)
    memory: Memory = field(default_factory=Memory)
    lets_read: bool = False
    traffic: Traffic = field(default_factory=Traffic)
    page_limits: dict[str, int] = field(default_factory=dict)
    given_without: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings) -> Server:
        """Make one for a load with these settings."""
        return cls(Pace(settings.requests_per_second), memory=Memory(settings.memory_limit))

    def start_load(self, settings: Settings) -> None:
        """Start anew, but for what was learned of the server."""
        self.pace = Pace(settings.requests_per_second)
        self.memory = Memory(settings.memory_limit)
        self.given_without.clear()
        self.given_up.clear()


def kind_of(path: str) -> str:
    """Return a path without its ids, which have a hyphen: the same for all paths of a kind."""
    return "/".join(part for part in path.split("/") if "-" not in part)
