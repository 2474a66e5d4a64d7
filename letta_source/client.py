"""One request to Letta: auth, time-outs, retries, redirects. Knows nothing of pages or tables."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cache
from math import isfinite
from types import TracebackType
from typing import Any

import httpx
import tenacity
from pydantic_core import from_json

from letta_source.config import Settings
from letta_source.errors import AuthError, NotLetta, Unreachable

logger = logging.getLogger(__name__)

_RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_DETAIL_CHARS = 300


class RequestFailed(Exception):
    """A request that got no usable answer, also after the last try; another one may."""


class StatusError(RequestFailed):
    """The server answered with an error that is not fatal.

    Attributes:
        status: of HTTP.
        detail: what the server said, cut to 300 characters.
        retry_after: seconds the server asks to wait, or None.
    """

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.retry_after = retry_after


class BadBody(RequestFailed):
    """The body is no JSON, or was cut short."""


class Client:
    """Sends requests to one Letta server; to be used in one event loop.

    Args:
        settings: host, key, time-out, retries.
        on_request: called as each request is sent, tries and redirects included.
    """

    def __init__(self, settings: Settings, on_request: Callable[[], None] = lambda: None) -> None:
        headers = {"accept": "application/json", "user-agent": "dlt-source-letta"}
        if settings.api_key:
            headers["authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
        if settings.project:
            headers["x-project"] = settings.project
        self.base_url = settings.base_url
        self._on_request = on_request
        self._http = httpx.AsyncClient(
            base_url=settings.base_url,
            headers=headers,
            timeout=httpx.Timeout(settings.timeout.total_seconds()),
            limits=httpx.Limits(max_connections=settings.max_workers),
            verify=_certificates(),
        )
        self._retries = settings.retries

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(
        self, path: str, params: Mapping[str, str | int] | None = None, retries: int | None = None
    ) -> Any:
        """The decoded JSON body.

        Args:
            retries: how often to send a failed request again, instead of the settings' number.

        Raises:
            RequestFailed: the last try failed too; a `StatusError` where the server said why.
            FatalError: no key or a wrong one, no connection, or no Letta server.
        """
        return await self._send("GET", path, params=params, retries=retries)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """As `get`, with a JSON body."""
        return await self._send("POST", path, body=body)

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        retries: int | None = None,
    ) -> Any:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_worth_a_retry),
            stop=tenacity.stop_after_attempt(1 + (self._retries if retries is None else retries)),
            wait=_wait,
            before_sleep=_log_retry,
            reraise=True,
        )
        try:
            request = self._http.build_request(method, path, params=params, json=body)
            return await retrying(self._once, request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(
                f"{self.base_url} cannot be reached: is the URL right, is the server up?"
            ) from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise RequestFailed(f"{type(error).__name__} on {path}") from error

    async def _once(self, request: httpx.Request) -> Any:
        for _ in range(5):
            self._on_request()
            response = await self._http.send(request)
            if response.status_code == 500 and "network_stream" in response.extensions:
                # The server resets the connection of a 500 on its next request: hang up first.
                await response.extensions["network_stream"].aclose()
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return _decoded(response)
            request = self._redirected(response)
        raise NotLetta(f"{self.base_url} redirects in a circle: is the URL right?")

    def _redirected(self, response: httpx.Response) -> httpx.Request:
        """The request to follow: a slash too many or too few answers 307."""
        assert response.next_request is not None
        here, there = response.request.url, response.next_request.url
        upgrade = (here.scheme, there.scheme) == ("http", "https")
        if here.host != there.host or not (upgrade or (here.scheme, here.port) == (there.scheme, there.port)):
            raise NotLetta(
                f"{self.base_url} redirects to {there.host}: set the base URL to where Letta answers."
            )
        return response.next_request


@cache
def _certificates() -> ssl.SSLContext:
    """Loaded once: it takes longer than many a request."""
    return httpx.create_ssl_context()


def _decoded(response: httpx.Response) -> Any:
    status = response.status_code
    is_page = "html" in response.headers.get("content-type", "")
    if status < 400:
        if is_page:
            raise NotLetta(
                f"{response.url.host} answers with a web page, not with Letta's API: set the base URL to the"
                " API's, such as https://api.letta.com or http://localhost:8283."
            )
        return decode(response.content)
    detail = _detail(response)
    if status in (401, 403):
        raise AuthError(
            f"{response.url.host} refuses the key ({status}): set LETTA_API_KEY to a key that may read."
            f" It says: {detail}"
        )
    raise StatusError(status, detail, retry_after(response.headers.get("retry-after")))


def decode(body: bytes) -> Any:
    """`body` as JSON.

    Raises:
        BadBody: if it is none.
    """
    try:
        # Unlike orjson, it keeps integers beyond 64 bits.
        return from_json(body, cache_strings="keys")
    except ValueError:
        # It refuses lone surrogates, which the server sends as it got them.
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadBody(str(error)) from error


def _detail(response: httpx.Response) -> str:
    try:
        body = decode(response.content)
    except BadBody:
        return response.reason_phrase
    detail = str(body.get("detail", body) if isinstance(body, dict) else body)
    # Some proxies tell what they were sent.
    key = response.request.headers.get("authorization", "").removeprefix("Bearer ")
    return (detail.replace(key, "***") if key else detail)[:_DETAIL_CHARS]


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait, from a Retry-After in seconds or as a date; None where it is neither."""
    if header is None:
        return None
    with suppress(ValueError):
        seconds = float(header)
        return max(0.0, seconds) if isfinite(seconds) else None
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=timezone.utc)
    now = now or datetime.now(timezone.utc)
    return max(0.0, (then - now).total_seconds())


def _worth_a_retry(error: BaseException) -> bool:
    if isinstance(error, StatusError):
        return error.status in _RETRIED_STATUSES
    return isinstance(error, (httpx.RequestError, BadBody))


_backoff = tenacity.wait_exponential(multiplier=0.2, max=20) + tenacity.wait_random(0, 0.2)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, StatusError) else None
    # After a 500 the server resets the kept-alive connection: the next request fails once, at once.
    return asked if asked is not None else _backoff(state)


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    request: httpx.Request = state.args[0]
    said = error if isinstance(error, (StatusError, BadBody)) else type(error).__name__
    logger.info("%s %s: %s; try %d", request.method, request.url.path, said, state.attempt_number + 1)
