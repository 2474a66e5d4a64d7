"""One request to Letta: auth, time-outs, retries, redirects. Knows nothing of pages or tables."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cache
from math import isfinite
from types import TracebackType
from typing import Any

import anyio
import httpcore
import httpx
import tenacity

from letta_source.config import Settings
from letta_source.errors import AuthError, NotLetta, Unreachable
from letta_source.pace import Pace
from letta_source.redact import RedactingFilter, redact_error, redacted
from letta_source.text import parse_json

logger = logging.getLogger(__name__)

_RETRIED_STATUSES = {408, 425, 429, 500, 502, 503, 504}
_PASSING_STATUSES = {425, 429, 503}
_REFUSED = {401, 403}
_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout)
_REDIRECTS = {301, 302, 303, 307, 308}
_DETAIL_CHARS = 300
# Seconds for all tries of one request, and the longest that the server may ask to wait.
_LONGEST_WAIT = 600.0
_CONNECT_SECONDS = 10.0
# Bytes of a body from which on another thread and decoder are worth their start.
_LARGE = 1 << 15
_SIMPLE_PATHS = ("/v1/agents/", "/v1/runs/")
_ROUNDS = 3
# At DEBUG and INFO they log what the server sent: status line, headers, where it redirects to.
_WIRE_LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "proxy", "socks")))


# By default 64 kB at a time, each a turn of the event loop: a page has some 1 MB.
httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = 1 << 20

Decode = Callable[[bytes], Any]


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


class WebPage(RequestFailed):
    """A page for people, with status 200: of a proxy while the server is away, or of another server."""


class Client:
    """Sends requests to one Letta server; to be used in one event loop.

    Args:
        settings: host, key, time-out, retries.
        on_request: called as each request is sent, tries and redirects included.
        pace: of the load that the client belongs to.
        looks_again: before a request is given up, make sure that the server answers at all.
    """

    def __init__(
        self,
        settings: Settings,
        on_request: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
        looks_again: bool = True,
    ) -> None:
        headers = {"accept": "application/json", "user-agent": "dlt-source-letta"}
        key = settings.api_key.get_secret_value() if settings.api_key else ""
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._filter = RedactingFilter(key)
        if settings.project:
            headers["x-project"] = settings.project
        self.base_url = settings.base_url
        self._on_request = on_request
        self._pace = pace or Pace(settings.requests_per_second)
        self._timeout = settings.timeout.total_seconds()

        def connect() -> httpx.AsyncClient:
            return httpx.AsyncClient(
                base_url=settings.base_url,
                headers=headers,
                timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, _CONNECT_SECONDS)),
                limits=httpx.Limits(max_connections=1),
                verify=_certificates(),
            )

        self._connect = connect
        # One for each connection: with each request httpx looks at all that a client has.
        self._idle = [self._connect()]
        self._headers = self._idle[0].headers
        self._in_flight = asyncio.Semaphore(settings.max_workers)
        self._retries = settings.retries
        self._looks_again = looks_again
        self._answers = 0

    async def __aenter__(self) -> Client:
        for name in _WIRE_LOGGERS:
            logging.getLogger(name).addFilter(self._filter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._idle:
            await connection.aclose()
        for name in _WIRE_LOGGERS:
            logging.getLogger(name).removeFilter(self._filter)

    async def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        page_retries: int | None = None,
        decode: Decode | None = None,
    ) -> Any:
        """The decoded JSON body.

        Args:
            decode: for a large body, called in a thread of its own; its None says that it is for `parsed`.
            page_retries: how often to send again what failed, as it seems, for what the page holds; for
                those who can ask for a smaller one. Other failures are tried as often as the settings say.

        Raises:
            RequestFailed: the last try failed too; a `StatusError` where the server said why.
            FatalError: no key or a wrong one, no connection, no Letta server, or none that answers any more.
        """
        return await self._send("GET", path, params=params, page_retries=page_retries, decode=decode)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """As `get`, with a JSON body."""
        return await self._send("POST", path, body=body)

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        page_retries: int | None = None,
        decode: Decode | None = None,
    ) -> Any:
        try:
            request = self._request(method, path, params, body)
        except httpx.InvalidURL as error:
            raise RequestFailed(f"{type(error).__name__} on {path}") from error
        for _ in range(_ROUNDS):
            answers = self._answers
            try:
                return await self._tried(request, self._retries, page_retries, decode)
            except RequestFailed as error:
                # Nobody is blamed for an outage: where the server was away, the request is sent anew.
                if self._answers != answers or not self._looks_again or await self._is_up():
                    raise
                failed = error
        raise failed

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Request:
        """As `httpx.AsyncClient.build_request`, which takes a quarter of a quick request's time."""
        query = f"?{httpx.QueryParams(params)}" if params else ""
        return httpx.Request(method, f"{self.base_url}{path}{query}", headers=self._headers, json=body)

    async def _is_up(self) -> bool:
        """Whether the server answers a simple question; if not at once, waits for it.

        Raises:
            Unreachable: it does not come back.
        """
        for retries in (0, self._retries):
            for path in _SIMPLE_PATHS:
                answers = self._answers
                try:
                    await self._tried(self._request("GET", path, {"limit": 1}), retries)
                except (RequestFailed, Unreachable) as error:
                    failed: Exception = error
                if self._answers != answers:
                    return retries == 0
        if isinstance(failed, Unreachable):
            raise failed
        raise Unreachable(f"{self.base_url} answers nothing any more; at last: {failed}") from failed

    async def _tried(
        self,
        request: httpx.Request,
        retries: int,
        page_retries: int | None = None,
        decode: Decode | None = None,
    ) -> Any:
        try:
            try:
                return await self._once(request, decode)
            except Exception as error:
                if not _worth_a_retry(error):
                    raise
                return await self._retried(request, decode, error, retries, page_retries)
        except StatusError as error:
            if error.status in _REFUSED:
                raise _refused(request.url.host, error) from error
            raise
        except _NO_CONNECTION as error:
            raise Unreachable(
                f"{self.base_url} cannot be reached: is the URL right, is the server up?"
            ) from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            # They quote lines of an answer that is no HTTP, and where it redirects to.
            redact_error(error, _key_of(request))
            raise RequestFailed(f"{type(error).__name__} on {request.url.path}") from error

    async def _retried(
        self,
        request: httpx.Request,
        decode: Decode | None,
        failed: Exception,
        retries: int,
        page_retries: int | None,
    ) -> Any:
        """Tries again what failed: `tenacity` only then, as it takes a tenth of a quick request."""
        first = [failed]

        async def attempt(request: httpx.Request) -> Any:
            if first:
                raise first.pop()
            return await self._once(request, decode)

        def is_enough(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, WebPage) and not self._looks_again:
                # At first contact, most likely another server.
                return True
            enough = retries
            if page_retries is not None and _may_be_the_page(error):
                enough = min(retries, page_retries)
            waited = max(state.seconds_since_start or 0, state.idle_for) + state.upcoming_sleep
            return state.attempt_number > enough or waited > _LONGEST_WAIT

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_worth_a_retry),
            stop=is_enough,
            wait=_wait,
            before_sleep=_log_retry,
            reraise=True,
        )
        return await retrying(attempt, request)

    async def _once(self, request: httpx.Request, decode: Decode | None) -> Any:
        for _ in range(5):
            await self._pace.turn()
            async with self._in_flight:
                response = await self._answered(request)
            if response.status_code == 500 and "network_stream" in response.extensions:
                # The server resets the connection of a 500 on its next request: hang up first.
                await response.extensions["network_stream"].aclose()
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return await self._taken(response, decode)
            request = self._redirected(response)
        raise NotLetta(f"{self.base_url} redirects in a circle: is the URL right?")

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        self._on_request()
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            # httpx has no deadline for a whole answer: one that drips would take for ever.
            async with _deadline(self._timeout):
                return await connection.send(request)
        except TimeoutError as error:
            raise httpx.ReadTimeout("", request=request) from error
        finally:
            self._idle.append(connection)

    async def _taken(self, response: httpx.Response, decode: Decode | None) -> Any:
        try:
            body = await _decoded(response, decode)
        except StatusError as error:
            if error.status not in _RETRIED_STATUSES:
                self._answers += 1
            if error.retry_after and error.retry_after > _LONGEST_WAIT:
                raise Unreachable(
                    f"{self.base_url} asks to wait {error.retry_after:,.0f} s ({error}): load again then"
                ) from error
            if error.retry_after:
                self._pace.hold(error.retry_after)
            raise
        self._answers += 1
        return body

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


if sys.version_info >= (3, 11):
    # Many times faster.
    _deadline = asyncio.timeout
else:

    @asynccontextmanager
    async def _deadline(seconds: float) -> AsyncIterator[None]:
        with anyio.fail_after(seconds):
            yield


@cache
def _certificates() -> ssl.SSLContext:
    """Loaded once: it takes longer than many a request."""
    return httpx.create_ssl_context()


async def _decoded(response: httpx.Response, decode: Decode | None) -> Any:
    if response.status_code < 400:
        if "html" in response.headers.get("content-type", ""):
            raise WebPage(
                f"{response.url.host} answers with a web page, not with Letta's API: set the base URL to the"
                " API's, such as https://api.letta.com or http://localhost:8283."
            )
        if decode and len(response.content) >= _LARGE:
            decoded = await asyncio.to_thread(decode, response.content)
            if decoded is not None:
                return decoded
        return parsed(response.content)
    asked = retry_after(response.headers.get("retry-after"))
    key = _key_of(response.request)
    try:
        detail = _detail(parsed(response.content), key)
    except BadBody:
        raise StatusError(response.status_code, redacted(response.reason_phrase, key), asked) from None
    error = StatusError(response.status_code, detail, asked)
    raise _refused(response.url.host, error) if error.status in _REFUSED else error


def _refused(host: str, error: StatusError) -> AuthError:
    return AuthError(
        f"{host} refuses the key ({error.status}): set LETTA_API_KEY to a key that may read."
        f" It says: {error.detail}"
    )


def parsed(body: bytes) -> Any:
    """`body` as JSON.

    Raises:
        BadBody: if it is none.
    """
    try:
        return parse_json(body)
    except ValueError as error:
        raise BadBody(str(error)) from error


def _detail(body: Any, key: str) -> str:
    # In one line: it goes into the log.
    detail = " ".join(str(body.get("detail", body) if isinstance(body, dict) else body).split())
    # Some proxies tell what they were sent.
    return redacted(detail[:_DETAIL_CHARS], key)


def _key_of(request: httpx.Request) -> str:
    return str(request.headers.get("authorization", "")).removeprefix("Bearer ")


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
        # Refused in JSON is an AuthError; without, it is a proxy that speaks.
        return error.status in _RETRIED_STATUSES | _REFUSED
    return isinstance(error, (httpx.RequestError, BadBody, WebPage))


def _may_be_the_page(error: BaseException | None) -> bool:
    """Whether a smaller page may work: not where the server is away or wants us to wait."""
    if isinstance(error, StatusError):
        return error.status not in _PASSING_STATUSES | _REFUSED
    return not isinstance(error, (*_NO_CONNECTION, WebPage))


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
