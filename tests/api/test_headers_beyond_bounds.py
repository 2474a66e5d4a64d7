"""An endless list of header fields fails, and is not held in memory."""

from __future__ import annotations

import asyncio

import pytest

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed
from letta_source.errors import Unreachable
from tests.support.wire import no_waits, settings

_PIECE = b"x-filler: " + b"a" * 8000 + b"\r\n"


@pytest.mark.parametrize(
    "piece", [_PIECE, b"a" * 8000, b" \r\n" * 2000], ids=["fields", "one field", "folds"]
)
def test_an_endless_list_of_header_fields_fails(piece: bytes) -> None:
    sent = [0]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nx-first: ")
        try:
            while sent[0] < 50_000_000:
                writer.write(piece)
                await writer.drain()
                sent[0] += len(piece)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, Client(settings(url, retries=0), looks_again=False) as client:
            await client.get("/v1/agents/")

    with no_waits(), pytest.raises((RequestFailed, Unreachable)):
        asyncio.run(main())
    # No more than the sockets' buffers hold.
    assert sent[0] < 20_000_000
