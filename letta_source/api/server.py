"""Knowledge of the server, its clock and rate limit, and the memory: shared by all clients of one load."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from time import monotonic

from letta_source.api.memory_budget import MemoryBudget
from letta_source.settings import Settings
from letta_source.times import local_now

# A date further ahead is a broken proxy's: if it were trusted, no item would lie within the overlap.
_FARTHEST_AHEAD = timedelta(days=1)
_EARLIEST = datetime(1970, 1, 2, tzinfo=timezone.utc)
_SECONDS_APART = 10.0


class Clock:
    """The offset of the server's clock from ours, by the Date header of its responses.

    Ages of messages and dates of Retry-After are measured against it, not our clock.

    If several servers answer, the one furthest behind counts, so that nothing created since then by its
    clock is missed.
    """

    def __init__(self) -> None:
        self._ahead: timedelta | None = None
        self._next = 0.0

    def observe(self, headers: Mapping[str, str]) -> bool:
        """Note a response's date, every ten seconds; return True if it was the first one."""
        if monotonic() < self._next:
            return False
        self._next = monotonic() + _SECONDS_APART
        sent = parse_http_date(headers.get("date"))
        if sent is None:
            return False
        is_first = self._ahead is None
        ahead = max(sent, _EARLIEST) - local_now()
        # A cache sends the date at which its copy was made.
        if (age := headers.get("age", "")).isdigit():
            ahead += timedelta(seconds=min(int(age[:9]), 1e8))
        if ahead > _FARTHEST_AHEAD:
            ahead = timedelta(0)
        self._ahead = ahead if self._ahead is None else min(ahead, self._ahead)
        return is_first

    @property
    def is_known(self) -> bool:
        """True once a response's date was looked at, even if it had none."""
        return self._next > 0

    @property
    def skew(self) -> timedelta:
        """The time by which the server is ahead of us; negative if behind, 0 if unknown."""
        return self._ahead or timedelta(0)

    def described(self) -> str:
        """Describe how far the server's clock is from ours."""
        where = "ahead of" if self.skew > timedelta(0) else "behind"
        apart = timedelta(seconds=round(abs(self.skew).total_seconds()))
        return f"the server's clock is {apart} {where} this machine's: ages are measured by the server's"

    def now(self) -> datetime:
        """Return the server's time, in UTC; ours if unknown."""
        return local_now() + self.skew


def parse_http_date(text: str | None) -> datetime | None:
    """Return the time in UTC, or None if the text is not a date; a date without a zone is in UTC."""
    try:
        time = parsedate_to_datetime(text or "")
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class RateLimit:
    """Rate limiter of all requests of a load; used from one event loop at a time.

    Args:
        requests_per_second: the limit of the whole load; None for no limit.
    """

    def __init__(self, requests_per_second: float | None = None) -> None:
        self._apart = 1 / requests_per_second if requests_per_second else 0.0
        self._next = 0.0
        self._resume = 0.0

    def hold(self, seconds: float) -> None:
        """Hold all requests for this many seconds, as the server asked (Retry-After)."""
        self._resume = max(self._resume, monotonic() + seconds)

    async def wait(self) -> None:
        """Wait until a request may be sent."""
        while True:
            now = monotonic()
            start = max(now, self._next, self._resume)
            self._next = start + self._apart
            if start > now:
                await sleep(start - now)
            # Meanwhile the server may have told another reader to wait.
            if self._resume <= start:
                return


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
        ignores_order: a list came newest first although the oldest were asked for: cursors lead nowhere, so
            everything is read from the start.
        obeys_order: a list came oldest first, as asked for, which otherwise comes newest first.
        doubts_order: the check before a load could not tell either of them, as with a single agent.
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
    ignores_order: bool = False
    obeys_order: bool = False
    doubts_order: bool = False

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
