"""Whether, when and how often a request is sent again. Knows nothing of what it is for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import tenacity

from letta_source.api.responses import REFUSED, BadBody, RequestFailed, StatusError, WebPage

logger = logging.getLogger(__name__)

NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout)
LONGEST_WAIT = 600.0
"""Seconds for all tries of one request, and the longest that the server may ask to wait."""

RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_PASSING_STATUSES = {425, 429, 503}


async def retried(
    send: Callable[[httpx.Request], Awaitable[Any]],
    request: httpx.Request,
    failed: Exception,
    retries: int,
    page_retries: int | None,
    first_contact: bool,
) -> Any:
    """Sends again what failed: `tenacity` only then, as it takes a tenth of a quick request.

    Args:
        failed: why the first try did.
        page_retries: see `letta_source.api.client.Client.get`.
        first_contact: a web page most likely is another server's.
    """
    first = [failed]

    async def attempt(request: httpx.Request) -> Any:
        if first:
            raise first.pop()
        return await send(request)

    def is_enough(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, WebPage) and first_contact:
            return True
        enough = retries
        if page_retries is not None and _may_be_the_page(error):
            enough = min(retries, page_retries)
        waited = max(state.seconds_since_start or 0, state.idle_for) + state.upcoming_sleep
        return state.attempt_number > enough or waited > LONGEST_WAIT

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(worth_a_retry),
        stop=is_enough,
        wait=_wait,
        before_sleep=_log_retry,
        reraise=True,
    )
    return await retrying(attempt, request)


def worth_a_retry(error: BaseException) -> bool:
    """Whether the next try may go better."""
    if isinstance(error, StatusError):
        # Refused in JSON is an AuthError; without, it is a proxy that speaks.
        return error.status in RETRIED_STATUSES | REFUSED
    return isinstance(error, (httpx.RequestError, BadBody, WebPage))


def _may_be_the_page(error: BaseException | None) -> bool:
    """Whether a smaller page may work: not where the server is away or wants us to wait."""
    if isinstance(error, StatusError):
        return error.status not in _PASSING_STATUSES | REFUSED
    return not isinstance(error, (*NO_CONNECTION, WebPage))


_backoff = tenacity.wait_exponential(multiplier=0.25, max=30) + tenacity.wait_random(0, 0.25)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, StatusError) and error.retry_after is not None:
        # The pace holds everybody.
        return 0
    # After a 500 the server resets the kept-alive connection: the next request fails once, at once.
    return _backoff(state)


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    request: httpx.Request = state.args[0]
    said = error if isinstance(error, RequestFailed) else type(error).__name__
    logger.info("%s %s: %s; try %d", request.method, request.url.path, said, state.attempt_number + 1)
