"""The period of a report: whole days in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from letta_source.errors import ConfigError
from letta_source.times import earlier, later, parse_time, written

DAYS = 30
_DAY = timedelta(days=1)
# Beyond 93 days, daily bars are as thin as a hair on a phone.
_STEPS = ((93 * _DAY, "day"), (3660 * _DAY, "week"), (18000 * _DAY, "month"), (210000 * _DAY, "year"))


@dataclass(frozen=True)
class Period:
    """The time from `start` up to, but not including, `end`; both in UTC."""

    start: datetime
    end: datetime

    @property
    def last(self) -> datetime:
        """The last moment of the period, whose day is shown."""
        return self.end - timedelta(microseconds=1)

    @property
    def before(self) -> Period:
        """The period of the same length that ends where this one starts."""
        return Period(earlier(self.start, self.end - self.start), self.start)

    @property
    def step(self) -> str:
        """The width of a bar: a `day`; in longer periods a `week` from Monday on, and so on."""
        length = self.end - self.start
        return next((step for most, step in _STEPS if length <= most), "century")


@dataclass(frozen=True)
class PeriodOptions:
    """A requested period, validated; `period` completes it with the newest date of the data."""

    start: datetime | None
    end: datetime | None
    days: int

    def period(self, newest: datetime | None) -> Period:
        """Return the period; without an end, it lasts to the end of the newest message's day.

        Args:
            newest: when the newest message was created, of those not dated in the future; None for an empty
                dataset, whose period ends today.

        Raises:
            ConfigError: it would end before it starts.
        """
        last = newest or datetime.now(timezone.utc)
        end = self.end or later(last.replace(hour=0, minute=0, second=0, microsecond=0), _DAY)
        start = self.start or earlier(end, min(self.days, timedelta.max.days) * _DAY)
        if start >= end:
            raise ConfigError(
                f"there is nothing to report from {written(start, 'minutes')} to {written(end, 'minutes')}: "
                "give an earlier --start-date, or a later --end-date"
            )
        return Period(start, end)


def parse_period(start_date: str | None, end_date: str | None, days: int | None) -> PeriodOptions:
    """Validate the options of the period.

    Raises:
        ConfigError: a date is invalid, the dates are out of order, or days is below 1 or given with a start.
    """
    if days is not None and start_date is not None:
        raise ConfigError("--days counts back from the end: leave out --days or --start-date")
    if days is not None and days < 1:
        raise ConfigError(f"--days must be 1 or more, not {days}")
    start, end = _date("--start-date", start_date), _date("--end-date", end_date)
    asked = PeriodOptions(start, end, DAYS if days is None else days)
    if start and end:
        asked.period(None)
    return asked


def _date(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise ConfigError(f"{option} must be a date such as 2026-01-31, not {text!r}") from error
