"""The server's time: ages of messages and dates of Retry-After are measured against it, not against ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from math import isfinite
from time import monotonic

# A date so far ahead of ours is a broken proxy's: taken for true, nothing would be younger than the overlap.
_FARTHEST_AHEAD = timedelta(days=1)
_EARLIEST = datetime(1970, 1, 2, tzinfo=timezone.utc)
_SECONDS_APART = 10.0


class Clock:
    """The distance of the server's clock from ours, by the Date header of its answers.

    Where several servers answer, the one that is furthest behind counts: what was created since by its time
    is read again.
    """

    def __init__(self) -> None:
        self._ahead: timedelta | None = None
        self._next = 0.0

    def observe(self, headers: Mapping[str, str]) -> bool:
        """Take note of an answer's date, every ten seconds; return whether it was the first one."""
        if monotonic() < self._next:
            return False
        self._next = monotonic() + _SECONDS_APART
        sent = parse_http_date(headers.get("date"))
        if sent is None:
            return False
        is_first = self._ahead is None
        ahead = max(sent, _EARLIEST) - _local_now()
        # A cache gives the date that its copy was made.
        if (age := headers.get("age", "")).isdigit():
            ahead += timedelta(seconds=min(int(age[:9]), 1e8))
        if ahead > _FARTHEST_AHEAD:
            ahead = timedelta(0)
        self._ahead = ahead if self._ahead is None else min(ahead, self._ahead)
        return is_first

    @property
    def is_known(self) -> bool:
        """True once an answer told the time, or was looked at and told none."""
        return self._next > 0

    @property
    def skew(self) -> timedelta:
        """The time by which the server is ahead of us; negative if behind, 0 if nothing is known."""
        return self._ahead or timedelta(0)

    def described(self) -> str:
        """Say how far the server's clock is from ours."""
        where = "ahead of" if self.skew > timedelta(0) else "behind"
        apart = timedelta(seconds=round(abs(self.skew).total_seconds()))
        return f"the server's clock is {apart} {where} this machine's: ages are measured by the server's"

    def now(self) -> datetime:
        """The server's time, in UTC; ours if nothing is known."""
        return _local_now() + self.skew


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds to wait that a Retry-After asks for, in seconds or as a date.

    Args:
        now: the server's, unless the answer has a date.

    Returns:
        More than 0; None where it asks for nothing, for the past, or for what is no time at all.
    """
    header = headers.get("retry-after")
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        then = parse_http_date(header)
        if then is None:
            return None
        seconds = (then - (parse_http_date(headers.get("date")) or now)).total_seconds()
    return seconds if isfinite(seconds) and seconds > 0 else None


def parse_http_date(text: str | None) -> datetime | None:
    """Return the time in UTC, or None where the text is no date; one that names no zone is in UTC."""
    if not text:
        return None
    try:
        time = parsedate_to_datetime(text)
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _local_now() -> datetime:
    return datetime.now(timezone.utc)
