"""Requests to Letta, with retries, redirects and checks of the response; independent of pages and tables."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any

import httpx

from letta_source.api.bodies import parse_within_memory
from letta_source.api.causes import describe_broken_response, describe_cause
from letta_source.api.exchange import Exchange, Reader
from letta_source.api.memory_budget import MemoryLease
from letta_source.api.redirects import CIRCLE, REDIRECTS, next_hop
from letta_source.api.responses import (
    SUCCESSES,
    RequestFailed,
    Shape,
    StatusError,
    TooLarge,
    Verdict,
    is_missing,
    refused,
    smaller_page_may_help,
    to_error,
)
from letta_source.api.retries import LONGEST_WAIT, NO_CONNECTION, is_transient, retried, retry_after
from letta_source.api.server import Server, kind_of
from letta_source.api.transport import route_to
from letta_source.errors import NotLetta, Unreachable
from letta_source.schema.card import Params
from letta_source.settings import Settings

logger = logging.getLogger(__name__)

_SIMPLE_PATHS = ("/v1/agents/", "/v1/runs/")
_ROUNDS, _REDIRECTS_FOLLOWED = 3, 5
_RETRIES_OF_GIVEN_UP = 2


@dataclass(frozen=True)
class _Options:
    """Options for reading a response; see `Client.get`."""

    lease: MemoryLease
    shape: Shape | None = None
    may_lack: bool = False
    read: Reader | None = None
    is_search: bool = False
    page_retries: int | None = None
    is_probe: bool = False


class Client:
    """Client of one Letta server; to be used in one event loop.

    Args:
        settings: host, key, headers, timeout, retries, proxy, certificates.
        server: the load's knowledge of the server, shared by its clients.
        looks_again: before a request is given up, make sure that the server answers at all.

    Raises:
        ConfigError: the proxy or a certificate cannot be used.
    """

    def __init__(self, settings: Settings, server: Server | None = None, looks_again: bool = True) -> None:
        self.base_url = settings.base_url
        self.server = server or Server.of(settings)
        self._exchange = Exchange(settings, self.server)
        self._route = route_to(settings)
        self._in_flight = asyncio.Semaphore(settings.max_workers)
        self._retries = settings.retries
        self._looks_again = looks_again
        self._answered = 0  # Responses that prove that the server is up.

    async def __aenter__(self) -> Client:
        self._exchange.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.close()

    async def get(
        self,
        path: str,
        params: Params | None = None,
        page_retries: int | None = None,
        shape: Shape | None = None,
        may_lack: bool = False,
        lease: MemoryLease | None = None,
        read: Reader | None = None,
        is_search: bool = False,
    ) -> Any:
        """Return the decoded JSON body, or what `read` makes of it.

        Args:
            page_retries: how often to retry failures that the page's content may have caused, for callers
                that can ask for a smaller page. Other failures are retried as often as the settings say.
            shape: the shape that the body must have; another one is a gateway's error.
            may_lack: the server may lack the endpoint; if it says so, it is asked twice. If false, a missing
                endpoint is a transient failure.
            lease: takes the memory of the body and its values; the caller gives it back.
            read: see `letta_source.api.exchange.Exchange.send`; it starts again with each try.
            is_search: failures are expected, in search of an unreadable item: retries are DEBUG messages.

        Raises:
            RequestFailed: the last try failed too; a `StatusError` if the server said why.
            FatalError: the key is missing or wrong, the server is unreachable, or it is not Letta.
        """
        own = lease or self.server.memory.lease()
        try:
            options = _Options(own, shape, may_lack, read, is_search, page_retries)
            try:
                return await self._send("GET", path, params, options=options)
            except StatusError as error:
                if not is_missing(error) or await self._is_missing_again(path):
                    raise
                # Letta has the endpoint: something in front of it has answered.
                return await self._send("GET", path, params, options=replace(options, may_lack=False))
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
            return await self._send("POST", path, body=body, options=_Options(lease, shape=shape))
        finally:
            lease.release()

    async def _is_missing_again(self, path: str) -> bool:
        """Return True if an endpoint is also missing with its trailing slash added or removed."""
        other = path[:-1] if path.endswith("/") else f"{path}/"
        lease = self.server.memory.lease()
        try:
            await self._send("GET", other, {"limit": 1}, options=_Options(lease, may_lack=True))
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
        *,
        options: _Options,
    ) -> Any:
        try:
            request = self._exchange.request(method, path, params, body)
        except httpx.InvalidURL as error:
            raise RequestFailed(f"{type(error).__name__} on {path}") from error
        kind, given_up = kind_of(path), self.server.given_up
        for _ in range(_ROUNDS):
            answered = self._answered
            # A gateway without a route to agents' messages would cost half a minute for each agent.
            retries = min(self._retries, _RETRIES_OF_GIVEN_UP) if kind in given_up else self._retries
            try:
                found = await self._send_with_retries(request, retries, options)
            except RequestFailed as error:
                # An outage is not the request's fault: if the server was down, it is sent again.
                if self._answered != answered or not self._looks_again or await self._is_up():
                    may_shrink = options.page_retries is not None and smaller_page_may_help(error)
                    if is_transient(error) and not may_shrink:
                        given_up.add(kind)
                    raise
                failed = error
            else:
                given_up.discard(kind)
                return found
        raise failed

    async def _is_up(self) -> bool:
        """Return True if the server answers a simple request at once; otherwise wait until it does.

        Raises:
            Unreachable: it does not come back.
        """
        for retries in (0, self._retries):
            for path in _SIMPLE_PATHS:
                answered = self._answered
                lease = self.server.memory.lease()
                try:
                    # With a shape, as some gateways return 200 for a server that is down.
                    options = _Options(lease, shape="list", may_lack=True, is_probe=True)
                    request = self._exchange.request("GET", path, {"limit": 1})
                    await self._send_with_retries(request, retries, options)
                except (RequestFailed, Unreachable) as error:
                    failed: Exception = error
                finally:
                    lease.release()
                if self._answered != answered:
                    return retries == 0
        if isinstance(failed, Unreachable):
            raise failed
        raise Unreachable(f"{self.base_url} no longer answers; last error: {failed}") from failed

    async def _send_with_retries(self, request: httpx.Request, retries: int, options: _Options) -> Any:
        try:
            try:
                return await self._attempt(request, options)
            except Exception as error:
                if not is_transient(error):
                    raise
                return await retried(
                    partial(self._attempt, options=options),
                    request,
                    error,
                    retries,
                    options.page_retries,
                    is_probe=options.is_probe,
                    first_contact=not self._looks_again and not self.server.lets_read,
                    on_retry=self.server.traffic.count_retry,
                    level=logging.DEBUG if options.is_search else logging.INFO,
                )
        except StatusError as error:
            if error.status in (401, 403, 407) and not self.server.lets_read:
                raise refused(self._route.host, error) from error
            if error.retry_after and error.retry_after > LONGEST_WAIT:
                raise Unreachable(
                    f"{self.base_url} asks to wait {error.retry_after:,.0f} s ({error}): run again after that"
                ) from error
            raise
        except NO_CONNECTION as error:
            raise Unreachable(
                f"{self.base_url} cannot be reached: {describe_cause(error, self._route)}"
            ) from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            hint = ""
            if isinstance(error, httpx.RequestError) and not self.server.lets_read:
                hint = describe_broken_response(error, self._route)
            # Their texts quote responses that are not HTTP, and redirect targets.
            self._exchange.redact.redact_error(error)
            what = f"{type(error).__name__} on {request.url.path}"
            raise RequestFailed(f"{what}: {hint}" if hint else what) from error

    async def _attempt(self, request: httpx.Request, options: _Options) -> Any:
        try:
            return await self._send_and_follow(request, options)
        except BaseException:
            # Others may need the memory before the next try, such as the check that the server is up.
            options.lease.release()
            raise

    async def _send_and_follow(self, request: httpx.Request, options: _Options) -> Any:
        paths: set[str] = set()
        for _ in range(_REDIRECTS_FOLLOWED):
            paths.add(request.url.path)
            await self.server.rate_limit.wait()
            # Gives back the body of a redirect.
            options.lease.release()
            async with self._in_flight:
                response, body = await self._exchange.send(request, options.lease, options.read)
            if response.status_code not in REDIRECTS or "location" not in response.headers:
                return await self._body_of(response, body, options)
            request = next_hop(request, response, self.base_url, self.server.lets_read)
        if not self.server.lets_read:
            raise NotLetta(f"{self.base_url} {CIRCLE}")
        # A server that lacks this endpoint may redirect between the paths with and without a slash. Any other
        # circle is made by something in front, which hides what the server has.
        lacks = options.may_lack and paths == {min(paths), f"{min(paths)}/"}
        verdict = Verdict.NO_ROUTE if lacks else Verdict.ERROR
        raise StatusError(response.status_code, f"{request.url.path} {CIRCLE}", verdict)

    async def _body_of(self, response: httpx.Response, body: Any, options: _Options) -> Any:
        if response.status_code not in SUCCESSES:
            wait = retry_after(response.headers, self.server.clock.now())
            error = to_error(response, body, not options.may_lack, wait)
            if isinstance(error, StatusError) and error.verdict is not Verdict.PASSING:
                self._answered += 1
            # Longer waits are not kept; if the retries fail too, the error reports the wait.
            if wait and wait <= LONGEST_WAIT:
                self.server.rate_limit.hold(wait)
                self.server.traffic.waited += wait
            raise error
        if not options.read:
            most = self.server.memory.largest_page
            body = await parse_within_memory(response, body, options.lease, options.shape, most)
        self._answered += 1
        self.server.lets_read = True
        return body
