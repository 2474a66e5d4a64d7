"""A small Letta that answers the loads of this process without sockets, for tests of many requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import count

import httpx
import pytest

from letta_source.demo import Letta, Request, Server
from letta_source.demo.api import Dialect, joined_params
from letta_source.demo.server import make_reply

_NUMBERS = count(1)


class _Connection:
    """A connection that a transport keeps; after a 500 it fails, as the real server's does, unless closed."""

    def __init__(self) -> None:
        self.broken = False

    async def aclose(self) -> None:
        self.broken = False


@contextmanager
def serve_without_sockets(
    letta: Letta, dialect: Dialect = "self-hosted", missing: Collection[str] = ()
) -> Iterator[Server]:
    """Do as `letta_source.demo.serve` does, in half the time; only clients of this process can reach it."""
    host = f"letta-{next(_NUMBERS)}.localhost"
    server = Server(f"http://{host}")
    otherwise = httpx.AsyncHTTPTransport.handle_async_request
    connections: dict[httpx.AsyncHTTPTransport, _Connection] = {}

    async def handle(transport: httpx.AsyncHTTPTransport, sent: httpx.Request) -> httpx.Response:
        if sent.url.host != host:
            return await otherwise(transport, sent)
        # Other workers go on meanwhile.
        await asyncio.sleep(0)
        connection = connections.setdefault(transport, _Connection())
        if connection.broken:
            connection.broken = False
            raise httpx.ReadError("reset")
        params = joined_params(sent.url.params.multi_items())
        request = Request(sent.method, sent.url.path, params, dict(sent.headers))
        server.requests.append(request)
        body = json.loads(sent.content) if sent.content else None
        reply = make_reply(letta, dialect, request, body, missing=missing)
        connection.broken = reply.status == 500
        return httpx.Response(
            reply.status,
            headers={**reply.headers, "Content-Length": str(len(reply.body))},
            stream=httpx.ByteStream(reply.body),
            extensions={"network_stream": connection},
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
        yield server
