"""One request to Letta: auth, time-outs, retries, redirects. Knows nothing of pages or tables."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import httpx

from letta_source.api.bodies import ACCEPT_ENCODING, read_body, read_start
from letta_source.api.causes import describe_broken_answer, describe_cause
from letta_source.api.clock import retry_after
from letta_source.api.deadline import Deadline
from letta_source.api.memory import Lease, parsed_size
from letta_source.api.redact import EXTENSION, RedactingFilter, Redactor
from letta_source.api.redirects import REDIRECTS, redirected
from letta_source.api.responses import (
    RequestFailed,
    Shape,
    StatusError,
    TooLarge,
    Verdict,
    checked,
    is_missing,
    may_be_the_page,
    refused,
    to_error,
)
from letta_source.api.retries import LONGEST_WAIT, NO_CONNECTION, retried, worth_a_retry
from letta_source.api.server import Server, kind_of
from letta_source.api.transport import make_connector, route_to
from letta_source.errors import FatalError, NotLetta, Unreachable
from letta_source.schema.card import Params
from letta_source.settings import Settings

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
_SIMPLE_PATHS = ("/v1/agents/", "/v1/runs/")
_ROUNDS = 3
_REDIRECTS_FOLLOWED = 5
_RETRIES_OF_GIVEN_UP = 2
# Bytes of a body from which on another thread and decoder are worth their start.
_LARGE_BODY = 1 << 15
# Bytes of a body that are parsed without looking what that takes: less than a page may take, at worst.
_HARMLESS_BODY = 1 << 20
_ERROR_BODY = 1 << 16
_CIRCLE = (
    "redirects in a circle: is the URL right? A proxy at which TLS ends must tell the server so"
    " (X-Forwarded-Proto)"
)
# At DEBUG and INFO they log what the server sent: status line, headers, where it redirects to.
_WIRE_LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "proxy", "socks")))


@dataclass(frozen=True)
class _Asked:
    """A request's options: how its answer is taken; see `Client.get`."""

    lease: Lease
    shape: Shape | None = None
    may_lack: bool = False


class Client:
    """Sends requests to one Letta server; to be used in one event loop.

    Args:
        settings: host, key, headers, time-out, retries, proxy, certificates.
        on_request: called as each request is sent, tries and redirects included.
        server: what the load that the client belongs to knows of the server.
        looks_again: before a request is given up, make sure that the server answers at all.

    Raises:
        ConfigError: the proxy or a certificate cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        on_request: Callable[[], None] = lambda: None,
        server: Server | None = None,
        looks_again: bool = True,
    ) -> None:
        self._redact = Redactor(settings.secrets)
        self._filter = RedactingFilter(self._redact)
        self.base_url = settings.base_url
        self.server = server or Server.of(settings)
        self._lag = settings.lag
        self._on_request = on_request
        self._timeout = settings.timeout.total_seconds()
        connect = min(self._timeout, _CONNECT_SECONDS)
        self._extensions = {
            "timeout": httpx.Timeout(self._timeout, connect=connect).as_dict(),
            EXTENSION: self._redact,
        }
        self._connect = make_connector(settings)
        self._route = route_to(settings)
        # One for each connection: a pool looks at all that it has with each request.
        self._idle = [self._connect()]
        self._headers = _headers(settings)
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
        params: Params | None = None,
        page_retries: int | None = None,
        shape: Shape | None = None,
        may_lack: bool = False,
        lease: Lease | None = None,
    ) -> Any:
        """Return the decoded JSON body.

        Args:
            page_retries: how often to retry what failed, as it seems, for what the page holds; for those who
                can ask for a smaller one. Other failures are retried as often as the settings say.
            shape: what the body must be; another one is trouble of a gateway.
            may_lack: the server may have no such endpoint. That it has none is asked for twice; where it must
                have one, it is trouble that may pass.
            lease: of the server's memory, takes what the body and its values take; the caller gives it back.

        Raises:
            RequestFailed: the last try failed too; a `StatusError` where the server said why.
            FatalError: no key or a wrong one, no connection, no Letta server, or none that answers any more.
        """
        own = lease or self.server.memory.lease()
        try:
            asked = _Asked(own, shape, may_lack)
            try:
                return await self._send("GET", path, params, page_retries=page_retries, asked=asked)
            except StatusError as error:
                if not is_missing(error) or await self._is_missing_again(path):
                    raise
                # Letta has it: something else gave its answer.
                asked = _Asked(own, shape)
                return await self._send("GET", path, params, page_retries=page_retries, asked=asked)
        except TooLarge:
            self.server.memory.expect_large()
            raise
        finally:
            if lease is None:
                own.release()

    async def post(self, path: str, body: Mapping[str, Any], shape: Shape | None = None) -> Any:
        """Send a JSON body; see `get`."""
        lease = self.server.memory.lease()
        try:
            return await self._send("POST", path, body=body, asked=_Asked(lease, shape=shape))
        finally:
            lease.release()

    async def _is_missing_again(self, path: str) -> bool:
        """Ask for a missing endpoint in another way, with a slash more or less."""
        other = path[:-1] if path.endswith("/") else f"{path}/"
        lease = self.server.memory.lease()
        try:
            await self._send("GET", other, {"limit": 1}, asked=_Asked(lease, may_lack=True))
        except RequestFailed as error:
            return is_missing(error)
        finally:
            lease.release()
        return False

    async def _send(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
        page_retries: int | None = None,
        *,
        asked: _Asked,
    ) -> Any:
        try:
            request = self._request(method, path, params, body)
        except httpx.InvalidURL as error:
            raise RequestFailed(f"{type(error).__name__} on {path}") from error
        kind, given_up = kind_of(path), self.server.given_up
        for _ in range(_ROUNDS):
            answers = self._answers
            # A gateway that has no way to the messages of a thousand agents would cost half a minute each.
            retries = min(self._retries, _RETRIES_OF_GIVEN_UP) if kind in given_up else self._retries
            try:
                found = await self._tried(request, retries, asked, page_retries)
            except RequestFailed as error:
                # Nobody is blamed for an outage: where the server was away, the request is sent anew.
                if self._answers != answers or not self._looks_again or await self._is_up():
                    if worth_a_retry(error) and (page_retries is None or not may_be_the_page(error)):
                        given_up.add(kind)
                    raise
                failed = error
            else:
                given_up.discard(kind)
                return found
        raise failed

    def _request(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Request:
        """Build a request; `httpx.AsyncClient.build_request` takes a quarter of a quick request's time."""
        query = f"?{httpx.QueryParams(params)}" if params else ""
        url = f"{self.base_url}{path}{query}"
        return httpx.Request(method, url, headers=self._headers, json=body, extensions=self._extensions)

    async def _is_up(self) -> bool:
        """Tell whether the server answers a simple question; if not at once, wait for it.

        Raises:
            Unreachable: it does not come back.
        """
        for retries in (0, self._retries):
            for path in _SIMPLE_PATHS:
                answers = self._answers
                lease = self.server.memory.lease()
                try:
                    asked = _Asked(lease, may_lack=True)
                    await self._tried(self._request("GET", path, {"limit": 1}), retries, asked)
                except (RequestFailed, Unreachable) as error:
                    failed: Exception = error
                finally:
                    lease.release()
                if self._answers != answers:
                    return retries == 0
        if isinstance(failed, Unreachable):
            raise failed
        raise Unreachable(f"{self.base_url} answers nothing any more; at last: {failed}") from failed

    async def _tried(
        self, request: httpx.Request, retries: int, asked: _Asked, page_retries: int | None = None
    ) -> Any:
        try:
            try:
                return await self._once(request, asked)
            except Exception as error:
                if not worth_a_retry(error):
                    raise
                return await retried(
                    partial(self._once, asked=asked),
                    request,
                    error,
                    retries,
                    page_retries,
                    first_contact=not self._looks_again and not self.server.lets_read,
                    on_retry=self.server.traffic.count_retry,
                )
        except StatusError as error:
            if error.status in (401, 403, 407) and not self.server.lets_read:
                raise refused(self._route.host, error) from error
            if error.retry_after and error.retry_after > LONGEST_WAIT:
                raise Unreachable(
                    f"{self.base_url} asks to wait {error.retry_after:,.0f} s ({error}): load again then"
                ) from error
            raise
        except NO_CONNECTION as error:
            raise Unreachable(
                f"{self.base_url} cannot be reached: {describe_cause(error, self._route)}"
            ) from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            hint = ""
            if isinstance(error, httpx.RequestError) and not self.server.lets_read:
                hint = describe_broken_answer(error, self._route)
            # They quote lines of an answer that is no HTTP, and where it redirects to.
            self._redact.redact_error(error)
            said = f"{type(error).__name__} on {request.url.path}"
            raise RequestFailed(f"{said}: {hint}" if hint else said) from error

    async def _once(self, request: httpx.Request, asked: _Asked) -> Any:
        try:
            return await self._followed(request, asked)
        except BaseException:
            # Others may need it before the next try, and to look whether the server is up is one of them.
            asked.lease.release()
            raise

    async def _followed(self, request: httpx.Request, asked: _Asked) -> Any:
        paths: set[str] = set()
        for _ in range(_REDIRECTS_FOLLOWED):
            paths.add(request.url.path)
            await self.server.pace.turn()
            # A redirect has a body, too.
            asked.lease.release()
            async with self._in_flight:
                response, body = await self._answered(request, asked.lease)
            if response.status_code not in REDIRECTS or "location" not in response.headers:
                return await self._taken(response, body, asked)
            request = self._next_hop(request, response)
        if not self.server.lets_read:
            raise NotLetta(f"{self.base_url} {_CIRCLE}")
        # With a slash or without, a server that has this family at other paths has nothing here. Any other
        # circle is made by something in front, which hides what the server has.
        lacks = asked.may_lack and paths == {min(paths), f"{min(paths)}/"}
        verdict = Verdict.NO_ROUTE if lacks else Verdict.ERROR
        raise StatusError(response.status_code, f"{request.url.path} {_CIRCLE}", verdict)

    def _next_hop(self, request: httpx.Request, response: httpx.Response) -> httpx.Request:
        """Return the request to follow a redirect with.

        Raises:
            FatalError: it leads to a login or elsewhere, and nothing has been read yet.
            StatusError: the same later: a gateway's session ended, or something is replaced, for this path.
        """
        try:
            return redirected(request, response, self.base_url)
        except FatalError as error:
            if not self.server.lets_read:
                raise
            raise StatusError(response.status_code, str(error), from_letta=False) from error

    async def _answered(self, request: httpx.Request, lease: Lease) -> tuple[httpx.Response, bytes]:
        """Send it and read the answer; of one that is an error, the start only."""
        self._on_request()
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            # httpx has no deadline for a whole answer: one that drips would take for ever.
            async with Deadline(self._timeout) as deadline:
                response = await connection.handle_async_request(request)
                response.request = request
                if self.server.clock.observe(response.headers) and abs(self.server.clock.skew) > self._lag:
                    logger.warning("%s: %s", self.base_url, self.server.clock.described())
                try:
                    if response.status_code < 300:
                        take = partial(_take, lease, deadline)
                        body = await read_body(response, lease.most, take)
                    else:
                        body = await read_start(response, _ERROR_BODY)
                    self.server.traffic.bytes += len(body)
                    if response.status_code == 500 and "network_stream" in response.extensions:
                        # The server resets the connection of a 500 on its next request: hang up first.
                        await response.extensions["network_stream"].aclose()
                finally:
                    assert isinstance(response.stream, httpx.AsyncByteStream)
                    await response.stream.aclose()
                return response, body
        except TimeoutError as error:
            raise httpx.ReadTimeout("", request=request) from error
        finally:
            self._idle.append(connection)

    async def _taken(self, response: httpx.Response, body: bytes, asked: _Asked) -> Any:
        if response.status_code >= 300:
            wait = retry_after(response.headers, self.server.clock.now())
            error = to_error(response, body, not asked.may_lack, wait)
            if isinstance(error, StatusError) and error.verdict is not Verdict.PASSING:
                self._answers += 1
            # A longer one is not waited for: should the next tries fail too, it is told.
            if wait and wait <= LONGEST_WAIT:
                self.server.pace.hold(wait)
                self.server.traffic.waited += wait
            raise error
        found = await self._parsed(response, body, asked)
        self._answers += 1
        self.server.lets_read = True
        return found

    async def _parsed(self, response: httpx.Response, body: bytes, asked: _Asked) -> Any:
        if len(body) < _LARGE_BODY:
            asked.lease.end_reading()
            return checked(response, body, asked.shape)
        size = parsed_size(body) if len(body) > _HARMLESS_BODY else 4 * len(body)
        if size > self.server.memory.largest_page:
            raise TooLarge(self.server.memory.largest_page)
        await asked.lease.grow(size)
        found = checked(response, body, asked.shape)
        asked.lease.shrink(len(body))
        asked.lease.end_reading()
        return found


class _Headers(httpx.Headers):
    """Header fields, whose repr shows no value: httpx's own shows all but Authorization."""

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


async def _take(lease: Lease, deadline: Deadline, size: int) -> None:
    if not lease.try_grow(size):
        # It is not the server's time that passes.
        with deadline.suspended():
            await lease.grow(size)
