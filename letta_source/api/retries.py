"""Retries with exponential backoff, for any request; and waits that servers ask for."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx
import tenacity

from letta_source.api.causes import is_lasting
from letta_source.api.responses import (
    PASSING_STATUSES,
    BadBody,
    StatusError,
    Verdict,
    WebPage,
    WrongShape,
    smaller_page_may_help,
    unquoted,
)
from letta_source.api.server import parse_http_date

logger = logging.getLogger(__name__)

NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
LONGEST_WAIT = 600.0
"""Seconds that all tries of one request may take, and the longest wait that the server may ask for."""

# For a proxy without a route to the server for this path: half a minute is enough for a deployment.
_RETRIES_OF_FOREIGN = 7
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_LONGEST_MEANT = timedelta(days=31).total_seconds()


async def retried(
    send: Callable[[httpx.Request], Awaitable[Any]],
    request: httpx.Request,
    failed: Exception,
    retries: int,
    page_retries: int | None,
    first_contact: bool,
    is_probe: bool,
    on_retry: Callable[[float], None],
    level: int = logging.INFO,
) -> Any:
    """Retry a request after its first failure; only then, as `tenacity` takes a tenth of a quick request.

    Args:
        failed: the error of the first try.
        page_retries: see `letta_source.api.client.Client.get`.
        first_contact: nothing was read yet: a web page is most likely another server's, and not retried.
        is_probe: it waits for the server to come back; else other paths may be answered, and a response that
            is not Letta's, such as an error with status 200, is retried for half a minute.
        on_retry: called before each retry with the seconds until then.
        level: of the log's message about each retry.
    """
    first = [failed]

    async def attempt() -> Any:
        if first:
            raise first.pop()
        return await send(request)

    def is_enough(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, WebPage) and first_contact:
            return True
        enough = retries
        if page_retries is not None and error and smaller_page_may_help(error):
            enough = min(retries, page_retries)
        if not is_probe and _is_foreign(error):
            enough = min(enough, _RETRIES_OF_FOREIGN)
        waited = max(state.seconds_since_start or 0, state.idle_for) + state.upcoming_sleep
        return state.attempt_number > enough or waited > LONGEST_WAIT

    def before_sleep(state: tenacity.RetryCallState) -> None:
        on_retry(state.upcoming_sleep)
        error = state.outcome.exception() if state.outcome else None
        shown = request.method, request.url.path, unquoted(error), state.attempt_number + 1
        logger.log(level, "%s %s: %s; try %d", *shown)

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(is_transient),
        stop=is_enough,
        # If the server asks for a longer wait, `RateLimit` holds all requests; a shorter one has no effect.
        # After a 500 it resets the kept-alive connection: the next request fails once, immediately.
        wait=_backoff,
        before_sleep=before_sleep,
        reraise=True,
    )
    return await retrying(attempt)


def _is_foreign(error: BaseException | None) -> bool:
    """Return True if something other than Letta answered, such as a proxy without a route for this path."""
    if isinstance(error, StatusError):
        return error.status < 500 and error.status not in PASSING_STATUSES
    return isinstance(error, (WebPage, WrongShape))


def is_transient(error: BaseException) -> bool:
    """Return True if a retry may succeed."""
    if isinstance(error, StatusError):
        return error.verdict is Verdict.PASSING
    is_failure = isinstance(error, (httpx.RequestError, BadBody, WebPage, WrongShape))
    return is_failure and not is_lasting(error)


_backoff = tenacity.wait_exponential(multiplier=0.25, max=30) + tenacity.wait_random(0, 0.25)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds to wait that Retry-After asks for, as a number or as a date.

    A gateway may add a field of its own; the longest wait counts.

    Args:
        now: the server's time, used if the response has no date.

    Returns:
        More than 0; None if the field is missing, in the past, not a time at all, or more than 31 days,
        which nobody means.
    """
    fields = httpx.Headers(headers).get_list("retry-after")
    # A date has a comma of its own.
    forms = [form for field in fields for form in (field, *map(str.strip, field.split(",")))]
    waits = [_seconds(form, headers, now) for form in forms]
    return max((wait for wait in waits if 0 < wait <= _LONGEST_MEANT), default=None)


def _seconds(form: str, headers: Mapping[str, str], now: datetime) -> float:
    # Python accepts more as a number: 1e400, 1_000, infinity, other digits.
    if _NUMBER.fullmatch(form):
        return float(form)
    then = parse_http_date(form)
    if then is None:
        return 0
    return (then - (parse_http_date(headers.get("date")) or now)).total_seconds()
