"""The overlap of a load with the last one, by the server's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from letta_source.times import earlier, later


def local_now() -> datetime:
    """Return the time by this machine's clock, in UTC."""
    return datetime.now(timezone.utc)


class Overlap:
    """Tells dates within the overlap from older ones, and from those that cannot be true.

    Args:
        started_at: when the load started, by the server's clock.
        lag: how far it overlaps the last one.
        now: returns the time by the server's clock.
    """

    def __init__(
        self,
        started_at: datetime,
        lag: timedelta,
        now: Callable[[], datetime] = local_now,
    ) -> None:
        self._started_at = started_at
        self._lag = lag
        self._now = now

    @property
    def start(self) -> datetime:
        """Items created before this are settled: nothing takes a place among them any more."""
        return self.before_start(self._lag)

    @property
    def end(self) -> datetime:
        """Dates after this are ahead of the server's clock."""
        return later(self._now(), self._lag)

    def before_start(self, by: timedelta) -> datetime:
        """The time so long before the load started.

        Where nothing was asked of the server before, its clock may turn out to be behind.
        """
        return earlier(min(self._started_at, self._now()), by)

    def before(self, time: datetime) -> datetime:
        """The time an overlap earlier."""
        return earlier(time, self._lag)

    def is_young(self, time: datetime | None) -> bool:
        """True if the date lies within the overlap; one ahead of the server's clock counts as undated."""
        return time is not None and self.start <= time <= self.end

    def is_ahead(self, time: datetime | None) -> bool:
        """True if the date cannot be true: the server's clock, or who imported the item, was wrong once."""
        return time is not None and time > self.end
