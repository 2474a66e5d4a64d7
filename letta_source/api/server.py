"""Knowledge of the server, and the memory, shared by all clients of one load."""

from __future__ import annotations

from dataclasses import dataclass, field

from letta_source.api.clock import Clock
from letta_source.api.memory_budget import MemoryBudget
from letta_source.api.rate_limit import RateLimit
from letta_source.settings import Settings


@dataclass
class Traffic:
    """The network traffic of one resource.

    Attributes:
        requests: number of requests, including retries and redirects.
        retries: number of retries.
        waited: seconds before retries, of all workers together, and those that the server asked for.
        bytes: bytes of all bodies, decoded.
    """

    requests: int = 0
    retries: int = 0
    waited: float = 0.0
    bytes: int = 0

    def count_request(self) -> None:
        """Count a request as it is sent."""
        self.requests += 1

    def count_retry(self, seconds: float) -> None:
        """Count a retry, and the wait before it."""
        self.retries += 1
        self.waited += seconds


@dataclass
class Server:
    """A load's knowledge of the server; used from one event loop at a time.

    Attributes:
        rate_limit: the rate limit.
        clock: the server's time.
        memory: the memory that bodies and rows may take.
        lets_read: a request has succeeded: a later 401 or 403 concerns the request, not the key.
        traffic: traffic of the resource being read.
        page_limits: by kind of path, the largest limit that it accepts, if less than requested.
        given_without: relations that it cannot return for some items.
        given_up: kinds of paths whose last request failed at all tries, while others were answered.
    """

    rate_limit: RateLimit = field(default_factory=RateLimit)
    clock: Clock = field(default_factory=Clock)
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    lets_read: bool = False
    traffic: Traffic = field(default_factory=Traffic)
    page_limits: dict[str, int] = field(default_factory=dict)
    given_without: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, settings: Settings) -> Server:
        """Return a new one for a load with these settings."""
        return cls(RateLimit(settings.requests_per_second), memory=MemoryBudget(settings.memory_limit))

    def start_load(self, settings: Settings) -> None:
        """Reset the rate limit, the memory and the failures for a new load; keep all else."""
        self.rate_limit = RateLimit(settings.requests_per_second)
        self.memory = MemoryBudget(settings.memory_limit)
        self.given_without.clear()
        self.given_up.clear()


def kind_of(path: str) -> str:
    """Return a path without its ids, the parts with a hyphen: the same for all paths of a kind."""
    return "/".join(part for part in path.split("/") if "-" not in part)
