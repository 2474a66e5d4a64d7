"""The server's time: ages of messages and dates of Retry-After are measured against it, not our clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from time import monotonic

import httpx

# A date further ahead is a broken proxy's: if it were trusted, no item would lie within the overlap.
_FARTHEST_AHEAD = timedelta(days=1)
_EARLIEST = datetime(1970, 1, 2, tzinfo=timezone.utc)
_SECONDS_APART = 10.0
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_LONGEST_MEANT = timedelta(days=31).total_seconds()


class Clock:
    """The offset of the server's clock from ours, by the Date header of its answers.

    If several servers answer, the one furthest behind counts, so that nothing created since then by its
    clock is missed.
    """

    def __init__(self) -> None:
        self._ahead: timedelta | None = None
        self._next = 0.0

    def observe(self, headers: Mapping[str, str]) -> bool:
        """Note an answer's date, every ten seconds; return True if it was the first one."""
        if monotonic() < self._next:
            return False
        self._next = monotonic() + _SECONDS_APART
        sent = parse_http_date(headers.get("date"))
        if sent is None:
            return False
        is_first = self._ahead is None
        ahead = max(sent, _EARLIEST) - _local_now()
        # A cache sends the date at which its copy was made.
        if (age := headers.get("age", "")).isdigit():
            ahead += timedelta(seconds=min(int(age[:9]), 1e8))
        if ahead > _FARTHEST_AHEAD:
            ahead = timedelta(0)
        self._ahead = ahead if self._ahead is None else min(ahead, self._ahead)
        return is_first

    @property
    def is_known(self) -> bool:
        """True once an answer's date was looked at, even if it had none."""
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
        return _local_now() + self.skew


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds to wait that Retry-After asks for, as a number or as a date.

    A gateway may add a field of its own; the longest wait counts.

    Args:
        now: the server's time, used if the answer has no date.

    Returns:
        More than 0; None if the field is missing, in the past, not a time at all, or more than 31 days,
        which nobody means.
    """
    fields = httpx.Headers(headers).get_list("retry-after")
    waits = [_seconds(one, headers, now) for field in fields for one in _forms(field)]
    return max((wait for wait in waits if 0 < wait <= _LONGEST_MEANT), default=None)


def _forms(field: str) -> list[str]:
    """Return the field and its parts between commas, as a date has a comma of its own."""
    return [field, *(one.strip() for one in field.split(","))]


def _seconds(form: str, headers: Mapping[str, str], now: datetime) -> float:
    # Python accepts more as a number: 1e400, 1_000, infinity, other digits.
    if _NUMBER.fullmatch(form):
        return float(form)
    then = parse_http_date(form)
    if then is None:
        return 0
    return (then - (parse_http_date(headers.get("date")) or now)).total_seconds()


def parse_http_date(text: str | None) -> datetime | None:
    """Return the time in UTC, or None if the text is not a date; a date without a zone is in UTC."""
    if not text:
        return None
    try:
        time = parsedate_to_datetime(text)
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _local_now() -> datetime:
    return datetime.now(timezone.utc)
