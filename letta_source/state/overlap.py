"""The overlap of a load with the last one, by the server's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from letta_source.times import earlier, later


def local_now() -> datetime:
    """Return the time by this machine's clock, in UTC."""
    return datetime.now(timezone.utc)


class Overlap:
    """The time range that a load reads again, as items may still appear in it.

    Args:
        started_at: when the load started, by the server's clock.
        lag: the length of the overlap with the last load.
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
        """The start of the overlap: no more items appear among those created before it."""
        return self.before_start(self._lag)

    @property
    def end(self) -> datetime:
        """Dates after this are ahead of the server's clock."""
        return later(self._now(), self._lag)

    def before_start(self, by: timedelta) -> datetime:
        """Return the time `by` before the load started.

        If the server was not asked before the load, its clock may turn out to be behind.
        """
        return earlier(min(self._started_at, self._now()), by)

    def before(self, time: datetime) -> datetime:
        """Return the time earlier by the overlap."""
        return earlier(time, self._lag)

    def is_young(self, time: datetime | None) -> bool:
        """Return True if the date is within the overlap; one ahead of the server's clock is not."""
        return time is not None and self.start <= time <= self.end

    def is_ahead(self, time: datetime | None) -> bool:
        """Return True if the date is impossible, due to a wrong server clock or an import."""
        return time is not None and time > self.end
