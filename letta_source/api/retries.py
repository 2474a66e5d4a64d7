"""Whether, when and how often a request is sent again. Knows nothing of what it is for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import tenacity

from letta_source.api.causes import is_lasting
from letta_source.api.responses import (
    BadBody,
    RequestFailed,
    StatusError,
    Verdict,
    WebPage,
    WrongShape,
    may_be_the_page,
)

logger = logging.getLogger(__name__)

NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
LONGEST_WAIT = 600.0
"""Seconds for all tries of one request, and the longest that the server may ask to wait."""

# A proxy that has no way to the server for this path: half a minute is enough while something is replaced.
_RETRIES_OF_FOREIGN = 7
_BUSY = {408, 425, 429}


async def retried(
    send: Callable[[httpx.Request], Awaitable[Any]],
    request: httpx.Request,
    failed: Exception,
    retries: int,
    page_retries: int | None,
    first_contact: bool,
    on_retry: Callable[[float], None] = lambda seconds: None,
) -> Any:
    """Retry what failed: `tenacity` only then, as it takes a tenth of a quick request.

    Args:
        failed: why the first try did.
        page_retries: see `letta_source.api.client.Client.get`.
        first_contact: a web page most likely is another server's.
        on_retry: called before each retry with the seconds until then.
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
        if page_retries is not None and error and may_be_the_page(error):
            enough = min(retries, page_retries)
        if isinstance(error, StatusError) and error.status < 500 and error.status not in _BUSY:
            enough = min(enough, _RETRIES_OF_FOREIGN)
        waited = max(state.seconds_since_start or 0, state.idle_for) + state.upcoming_sleep
        return state.attempt_number > enough or waited > LONGEST_WAIT

    def before_sleep(state: tenacity.RetryCallState) -> None:
        on_retry(state.upcoming_sleep)
        _log_retry(state)

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(worth_a_retry),
        stop=is_enough,
        # The server may ask for a longer wait, which the pace makes everybody keep; never for a shorter one.
        # After a 500 it resets the kept-alive connection: the next request fails once, at once.
        wait=_backoff,
        before_sleep=before_sleep,
        reraise=True,
    )
    return await retrying(attempt, request)


def worth_a_retry(error: BaseException) -> bool:
    """Tell whether the next try may go better."""
    if isinstance(error, StatusError):
        return error.verdict is Verdict.PASSING
    is_failure = isinstance(error, (httpx.RequestError, BadBody, WebPage, WrongShape))
    return is_failure and not is_lasting(error)


_backoff = tenacity.wait_exponential(multiplier=0.25, max=30) + tenacity.wait_random(0, 0.25)


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    request: httpx.Request = state.args[0]
    said = error if isinstance(error, RequestFailed) else type(error).__name__
    logger.info("%s %s: %s; try %d", request.method, request.url.path, said, state.attempt_number + 1)
