"""Helpers for tests of requests and walks: settings, a server made of a function, no waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

import httpx
import pytest
import tenacity

from letta_source.api import server as server_module
from letta_source.api.client import Client
from letta_source.api.responses import Shape
from letta_source.api.server import Server, Traffic
from letta_source.demo import Letta
from letta_source.demo.api import Dialect, answer, joined_params
from letta_source.errors import LettaError
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Event, Page, walk_pages
from letta_source.settings import Settings, make_settings

HOST = "http://letta.test"
Answer = httpx.Response | Exception


def settings(base_url: str = HOST, **given: Any) -> Settings:
    return make_settings({"base_url": base_url, **given}, {})


@contextmanager
def no_waits() -> Iterator[list[float]]:
    """Skip all waits; yield the seconds that retries and the rate limiter would have waited."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        if seconds:
            waits.append(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tenacity, "AsyncRetrying", partial(tenacity.AsyncRetrying, sleep=note))
        patch.setattr(server_module, "sleep", note)
        patch.setattr(server_module, "monotonic", lambda: time.monotonic() + sum(waits))
        yield waits


@contextmanager
def answering(handler: Callable[[httpx.Request], httpx.Response]) -> Iterator[list[httpx.Request]]:
    """Answer every request, to any host, with the function; yield the requests as they come."""
    requests: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return handler(request)

    transport = httpx.MockTransport(note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", transport.handle_async_request)
        yield requests


@contextmanager
def playing(
    letta: Letta, dialect: Dialect = "self-hosted", before_each: Callable[[], None] = lambda: None
) -> Iterator[list[httpx.Request]]:
    """Answer every request from a small Letta, without a socket: for tests of many requests."""

    def handler(request: httpx.Request) -> httpx.Response:
        before_each()
        params = joined_params(request.url.params.multi_items())
        headers = dict(request.headers)
        found = answer(letta, dialect, request.method, request.url.path, params, headers)
        return httpx.Response(found.status, json=found.body, headers=found.headers)

    with answering(handler) as requests:
        yield requests


@dataclass
class Walked:
    """The events of a walk, the error that ended it, and the number of its requests."""

    events: list[Event] = field(default_factory=list)
    error: LettaError | None = None
    requests: int = 0

    @property
    def pages(self) -> list[Page]:
        return [event for event in self.events if isinstance(event, Page)]

    @property
    def items(self) -> list[Any]:
        return [item for page in self.pages for item in page.items]

    @property
    def ids(self) -> list[str]:
        """Ids of the items, one for each run of items with the same id."""
        return [found for found, _ in groupby(item["id"] for item in self.items)]

    @property
    def others(self) -> list[Event]:
        """The events that are not pages."""
        return [event for event in self.events if not isinstance(event, Page)]

    def whole(self) -> Walked:
        """Return itself; raise the error if it ended with one."""
        if self.error:
            raise self.error
        return self


@dataclass
class _Noted(Traffic):
    note: Callable[[], None] = lambda: None

    def count_request(self) -> None:
        self.note()


def noting(given: Settings, note: Callable[[], None]) -> Server:
    """Return a load's knowledge of the server; the function is called as each request is sent."""
    server = Server.of(given)
    server.traffic = _Noted(note=note)
    return server


def gather(
    read: Callable[[Client], AsyncIterator[Event]],
    base_url: str = HOST,
    on_request: Callable[[], None] = lambda: None,
    **given: Any,
) -> Walked:
    """Read to the end, or to an error of Letta's; send no requests beyond those of `read`."""
    walked = Walked()

    def note() -> None:
        walked.requests += 1
        on_request()

    async def main() -> None:
        server = noting(settings(base_url, **given), note)
        async with Client(settings(base_url, **given), server, looks_again=False) as client:
            async for event in read(client):
                walked.events.append(event)

    try:
        asyncio.run(main())
    except LettaError as error:
        walked.error = error
    return walked


def walk(
    base_url: str, endpoint: Endpoint, after: str | None = None, since: datetime | None = None, **given: Any
) -> Walked:
    return gather(lambda client: walk_pages(client, endpoint, after, since), base_url, **given)


def get(
    base_url: str = HOST,
    path: str = "/v1/agents/",
    page_retries: int | None = None,
    looks_again: bool = False,
    shape: Shape | None = None,
    **given: Any,
) -> Any:
    """Return the response to one request."""

    async def main() -> Any:
        async with Client(settings(base_url, **given), looks_again=looks_again) as client:
            return await client.get(path, page_retries=page_retries, shape=shape)

    return asyncio.run(main())


@contextmanager
def client_of(
    handler: Callable[[httpx.Request], httpx.Response], **given: Any
) -> Iterator[Callable[..., Any]]:
    """Yield `get` of one client, whose requests the function answers."""
    loop = asyncio.new_event_loop()
    with answering(handler), closing(loop):
        client = Client(settings(**given), looks_again=False)
        yield lambda *args, **kwargs: loop.run_until_complete(client.get(*args, **kwargs))
        loop.run_until_complete(loop.shutdown_default_executor())


def one_by_one(answers: Iterable[Answer]) -> Callable[[httpx.Request], httpx.Response]:
    """Return a handler that gives the answers in turn, and raises the errors."""
    waiting = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        found = next(waiting)
        if isinstance(found, Exception):
            raise found
        return found

    return answer


def web_page(status: int) -> httpx.Response:
    return httpx.Response(status, html="<html>Sorry</html>")
