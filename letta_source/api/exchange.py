"""Send one request and read its response, over a connection of its own; without retries."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import inf
from types import TracebackType
from typing import Any

import httpx

from letta_source.api.bodies import ACCEPT_ENCODING, Take, read_body, read_start
from letta_source.api.memory_budget import MemoryLease
from letta_source.api.redact import EXTENSION, RedactingFilter, Redactor, keep_our_frames, redactor_of
from letta_source.api.responses import SUCCESSES
from letta_source.api.server import Server
from letta_source.api.transport import make_connector
from letta_source.schema.card import Params
from letta_source.settings import Settings

if sys.version_info < (3, 11):
    import anyio

logger = logging.getLogger(__name__)

Reader = Callable[[httpx.Response, MemoryLease, Take], Awaitable[tuple[Any, int]]]
"""Reads the body of a successful response; returns the result, and the body's number of bytes."""

_CONNECT_SECONDS = 10.0
# Bytes read of an error's body.
_ERROR_BODY = 1 << 16
# At DEBUG and INFO, these log data from the server: status line, headers, redirect targets.
_WIRE_LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "proxy", "socks")))


class Exchange:
    """Sender of requests to one server, and reader of their responses; to be used in one event loop.

    Args:
        settings: host, key, headers, timeout, proxy, certificates.
        server: each answer updates its clock and traffic.

    Raises:
        ConfigError: the proxy or a certificate cannot be used.
    """

    def __init__(self, settings: Settings, server: Server) -> None:
        self.redact = Redactor(settings.secrets)
        self._filter = RedactingFilter(self.redact)
        self._base_url = settings.base_url
        self._server = server
        self._lag = settings.lag
        self._timeout = settings.timeout.total_seconds()
        connect = min(self._timeout, _CONNECT_SECONDS)
        self._extensions = {
            "timeout": httpx.Timeout(self._timeout, connect=connect).as_dict(),
            EXTENSION: self.redact,
        }
        self._connect = make_connector(settings)
        # One transport for each connection, as a pool looks at all its connections with each request.
        self._idle = [self._connect()]
        self._headers = _headers(settings)

    def open(self) -> None:
        """Start to redact secrets in the logs of the HTTP libraries."""
        for name in _WIRE_LOGGERS:
            logging.getLogger(name).addFilter(self._filter)

    async def close(self) -> None:
        """Close all connections."""
        for connection in self._idle:
            await connection.aclose()
        for name in _WIRE_LOGGERS:
            logging.getLogger(name).removeFilter(self._filter)

    def request(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Request:
        """Build a request; `httpx.AsyncClient.build_request` takes a quarter of a quick request's time."""
        query = f"?{httpx.QueryParams(params)}" if params else ""
        url = f"{self._base_url}{path}{query}"
        return _Request(method, url, headers=self._headers, json=body, extensions=self._extensions)

    async def send(
        self, request: httpx.Request, lease: MemoryLease, read: Reader | None = None
    ) -> tuple[httpx.Response, Any]:
        """Send a request and read its response; only the start of it if it is an error.

        Args:
            lease: takes the memory of the body.
            read: reads a successful response that may be larger than the memory allows. The timeout then
                applies to each part of the size of a page.

        Returns:
            The response, closed, and its body or the result of `read`.
        """
        self._server.traffic.count_request()
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            # httpx has no deadline for a whole response: one that trickles in would take forever.
            async with _Deadline(self._timeout) as deadline:
                response = await connection.handle_async_request(request)
                response.request = request
                if (reason := response.extensions.get("reason_phrase", b"OK")) != b"OK":
                    # The response's repr shows it, and a server may put the key there.
                    response.extensions["reason_phrase"] = self.redact(reason.decode("latin-1")).encode()
                if self._server.clock.observe(response.headers) and abs(self._server.clock.skew) > self._lag:
                    logger.warning("%s: %s", self._base_url, self._server.clock.described())
                try:
                    body: Any
                    if response.status_code not in SUCCESSES:
                        body = await read_start(response, _ERROR_BODY)
                        size = len(body)
                    elif read:
                        part = self._server.memory.largest_of_many
                        body, size = await read(response, lease, _Parts(lease, deadline, part).take)
                    else:
                        body = await read_body(response, lease.most, partial(_take, lease, deadline))
                        size = len(body)
                    self._server.traffic.bytes += size
                    if response.status_code == 500 and "network_stream" in response.extensions:
                        # After a 500, the server resets the connection at the next request: close it first.
                        await response.extensions["network_stream"].aclose()
                finally:
                    assert isinstance(response.stream, httpx.AsyncByteStream)
                    await response.stream.aclose()
                return response, body
        except TimeoutError as error:
            keep_our_frames(error)
            raise httpx.ReadTimeout("", request=request) from error
        except BaseException as error:
            # A proxy may answer with its own words.
            self.redact.redact_error(error)
            raise error.with_traceback(keep_our_frames(error))  # noqa: B904  # It is the same error.
        finally:
            self._idle.append(connection)


class _Request(httpx.Request):
    """A request whose repr shows no secret: a server may redirect to a URL that holds the key."""

    def __repr__(self) -> str:
        return redactor_of(self)(super().__repr__())


class _Headers(httpx.Headers):
    """Header fields whose repr shows no values; httpx's own shows all but Authorization."""

    def __repr__(self) -> str:
        return f"Headers({[*self]})"


def _headers(settings: Settings) -> _Headers:
    """Return the header fields of every request; no local variable holds a secret."""
    headers = _Headers({"user-agent": "dlt-source-letta"})
    for name in settings.headers:
        headers[name] = settings.headers[name].get_secret_value()
    headers["accept"] = "application/json"
    headers["accept-encoding"] = ACCEPT_ENCODING
    if settings.api_key:
        headers["authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
    if settings.project:
        headers["x-project"] = settings.project
    return headers


class _Parts:
    """Counter of a long response's bytes that gives each part the time of a page."""

    def __init__(self, lease: MemoryLease, deadline: _Deadline, part: int) -> None:
        self._lease = lease
        self._deadline = deadline
        self._part = self._left = part

    async def take(self, size: int) -> None:
        await _take(self._lease, self._deadline, size)
        self._left -= size
        if self._left <= 0:
            self._left = self._part
            self._deadline.restart()


async def _take(lease: MemoryLease, deadline: _Deadline, size: int) -> None:
    if not lease.try_grow(size):
        # The server is not to blame for this wait.
        with deadline.suspended():
            await lease.grow(size)


class _Deadline:
    """Context manager that raises TimeoutError if the block takes too long; it can be suspended.

    Args:
        seconds: the time that the block may take, not counting suspensions.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> _Deadline:
        if sys.version_info >= (3, 11):
            # Many times faster than anyio's.
            self._timeout = asyncio.timeout(self._seconds)
            await self._timeout.__aenter__()
        else:
            self._timeout = anyio.fail_after(self._seconds)
            self._scope = self._timeout.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if sys.version_info >= (3, 11):
            await self._timeout.__aexit__(kind, error, trace)
            return None
        return self._timeout.__exit__(kind, error, trace)

    def restart(self) -> None:
        """Give the block its full time again, from now on."""
        self._reschedule(asyncio.get_running_loop().time() + self._seconds)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend the deadline within this block."""
        loop = asyncio.get_running_loop()
        left = self._when() - loop.time()
        self._reschedule(inf)
        try:
            yield
        finally:
            self._reschedule(loop.time() + left)

    def _when(self) -> float:
        if sys.version_info >= (3, 11):
            return self._timeout.when() or inf
        return self._scope.deadline

    def _reschedule(self, when: float) -> None:
        if sys.version_info >= (3, 11):
            self._timeout.reschedule(None if when == inf else when)
        else:
            self._scope.deadline = when
