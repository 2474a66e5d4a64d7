"""One request to Letta: auth, time-outs, retries, redirects. Knows nothing of pages or tables."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from types import TracebackType
from typing import Any

import anyio
import httpcore
import httpx

from letta_source.api.rate_limit import Pace
from letta_source.api.redact import RedactingFilter, redact_error
from letta_source.api.responses import REFUSED, RequestFailed, StatusError, decoded, key_of, refused
from letta_source.api.retries import LONGEST_WAIT, NO_CONNECTION, RETRIED_STATUSES, retried, worth_a_retry
from letta_source.errors import NotLetta, Unreachable
from letta_source.settings import Settings

_REDIRECTS = {301, 302, 303, 307, 308}
_CONNECT_SECONDS = 10.0
_SIMPLE_PATHS = ("/v1/agents/", "/v1/runs/")
_ROUNDS = 3
# At DEBUG and INFO they log what the server sent: status line, headers, where it redirects to.
_WIRE_LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "proxy", "socks")))


# By default 64 kB at a time, each a turn of the event loop: a page has some 1 MB.
httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = 1 << 20


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
    ) -> Any:
        """The decoded JSON body.

        Args:
            page_retries: how often to send again what failed, as it seems, for what the page holds; for
                those who can ask for a smaller one. Other failures are tried as often as the settings say.

        Raises:
            RequestFailed: the last try failed too; a `StatusError` where the server said why.
            FatalError: no key or a wrong one, no connection, no Letta server, or none that answers any more.
        """
        return await self._send("GET", path, params=params, page_retries=page_retries)

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
    ) -> Any:
        try:
            request = self._request(method, path, params, body)
        except httpx.InvalidURL as error:
            raise RequestFailed(f"{type(error).__name__} on {path}") from error
        for _ in range(_ROUNDS):
            answers = self._answers
            try:
                return await self._tried(request, self._retries, page_retries)
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
    ) -> Any:
        try:
            try:
                return await self._once(request)
            except Exception as error:
                if not worth_a_retry(error):
                    raise
                return await retried(
                    self._once,
                    request,
                    error,
                    retries,
                    page_retries,
                    first_contact=not self._looks_again,
                )
        except StatusError as error:
            if error.status in REFUSED:
                raise refused(request.url.host, error) from error
            raise
        except NO_CONNECTION as error:
            raise Unreachable(
                f"{self.base_url} cannot be reached: is the URL right, is the server up?"
            ) from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            # They quote lines of an answer that is no HTTP, and where it redirects to.
            redact_error(error, key_of(request))
            raise RequestFailed(f"{type(error).__name__} on {request.url.path}") from error

    async def _once(self, request: httpx.Request) -> Any:
        for _ in range(5):
            await self._pace.turn()
            async with self._in_flight:
                response = await self._answered(request)
            if response.status_code == 500 and "network_stream" in response.extensions:
                # The server resets the connection of a 500 on its next request: hang up first.
                await response.extensions["network_stream"].aclose()
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return self._taken(response)
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

    def _taken(self, response: httpx.Response) -> Any:
        try:
            body = decoded(response)
        except StatusError as error:
            if error.status not in RETRIED_STATUSES:
                self._answers += 1
            if error.retry_after and error.retry_after > LONGEST_WAIT:
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
