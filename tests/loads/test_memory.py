"""A load stays within its memory limit, however large messages and bodies are, and names what it skips."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from letta_source.api.memory_budget import MemoryBudget, MemoryLease
from letta_source.demo import Server
from tests.support.library_loads import Merged, issues
from tests.support.wire import HOST, answering, no_waits

LIMIT = 64_000_000
LARGEST = LIMIT // 8
AGENTS, MESSAGES = 4, 30
Pages = Callable[[str, int, int], httpx.Response]


def message(number: int, size: int = 200_000) -> dict[str, Any]:
    return {
        "id": f"message-{number:04}",
        "date": "2026-01-01T00:00:00+00:00",
        "message_type": "user_message",
        "content": chr(97 + number % 26) * size,
    }


def listed(agent: str, start: int, limit: int) -> httpx.Response:
    numbers = range(start, min(MESSAGES, start + limit))
    return httpx.Response(200, json=[message(number) for number in numbers])


def serving(pages: Pages) -> Callable[[httpx.Request], httpx.Response]:
    """Return a handler for some agents, whose messages come from the function."""

    def answer(request: httpx.Request) -> httpx.Response:
        params, parts = request.url.params, request.url.path.split("/")
        after = params.get("after")
        if request.url.path == "/v1/agents/":
            return httpx.Response(200, json=[] if after else [{"id": f"agent-{n}"} for n in range(AGENTS)])
        if parts[-1] != "messages" or parts[2] != "agents":
            return httpx.Response(200, json=[])
        return pages(parts[3], int(after[-4:]) + 1 if after else 0, int(params.get("limit", 1)))

    return answer


@pytest.fixture
def peak(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Yield the peak of the leased memory."""
    most = [0]
    take = MemoryBudget._take

    def noted(memory: MemoryBudget, lease: MemoryLease, size: int, waiter: Any = None) -> bool:
        taken = take(memory, lease, size, waiter)
        most[0] = max(most[0], memory.used)
        return taken

    monkeypatch.setattr(MemoryBudget, "_take", noted)
    with no_waits():
        yield most


def loaded(pages: Pages, **given: Any) -> Merged:
    warehouse = Merged()
    with answering(serving(pages)):
        warehouse.load(Server(HOST), "agent_messages", memory_limit=LIMIT, retries=0, **given)
    return warehouse


def test_pages_that_are_too_large_are_requested_smaller(peak: list[int]) -> None:
    warehouse = loaded(listed)
    ids = [message(number, 0)["id"] for number in range(MESSAGES)]
    assert sorted(warehouse.ids("agent_messages")) == sorted(AGENTS * ids)
    assert warehouse.rows("load_issues") == []
    assert 0 < peak[0] <= LIMIT // 4 + 3 * LARGEST


def test_a_huge_message_is_reported_and_the_others_are_loaded(peak: list[int]) -> None:
    def pages(agent: str, start: int, limit: int) -> httpx.Response:
        sizes = {number: 2 * LARGEST if number == 7 else 100 for number in range(MESSAGES)}
        found = [message(number, sizes[number]) for number in range(start, min(MESSAGES, start + limit))]
        return httpx.Response(200, json=found)

    warehouse = loaded(pages, max_workers=1)
    assert len(warehouse.ids("agent_messages")) >= AGENTS * 7
    named = issues(warehouse.rows("load_issues"))
    assert len(named) == AGENTS
    assert peak[0] <= LIMIT // 4 + 3 * LARGEST


def gzipped(pieces: int) -> httpx.Response:
    coded = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = coded.compress(b'[{"id":"message-0001","content":"')
    body += b"".join(coded.compress(b"a" * (1 << 20)) for _ in range(pieces)) + coded.flush()
    return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(body))


CIRCLE = "/v1/agents/agent-1/messages"
BOMBS: dict[str, Callable[[], httpx.Response]] = {
    "gzip": lambda: gzipped(20),
    "deflate": lambda: httpx.Response(
        200,
        headers={"content-encoding": "deflate"},
        stream=httpx.ByteStream(zlib.compress(b" " * (20 << 20))),
    ),
    "a coding that nobody asked for": lambda: httpx.Response(
        200,
        headers={"content-encoding": "zstd"},
        stream=httpx.ByteStream(b"\x28\xb5\x2f\xfd" + bytes(40)),
    ),
    "gzip twice": lambda: httpx.Response(
        200,
        headers={"content-encoding": "gzip, gzip"},
        stream=httpx.ByteStream(gzip.compress(gzip.compress(b" " * (10 << 20)))),
    ),
    "no coding": lambda: httpx.Response(200, content=b"[" + b" " * (30 << 20)),
    "many objects": lambda: httpx.Response(200, content=b"[" + b"{}," * 1_200_000 + b"{}]"),
    "many numbers": lambda: httpx.Response(200, content=b"[" + b"1," * 1_800_000 + b"1]"),
    "deep": lambda: httpx.Response(200, content=b"[" * 3_000_000),
    "an error": lambda: httpx.Response(500, content=b" " * (30 << 20)),
    "a refusal": lambda: httpx.Response(403, content=json.dumps({"detail": "x" * (30 << 20)}).encode()),
    "a redirect": lambda: httpx.Response(
        307, headers={"location": "/v1/agents/agent-1/messages"}, content=b" " * (30 << 20)
    ),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_decompression_bomb_is_reported(bomb: Callable[[], httpx.Response], peak: list[int]) -> None:
    def pages(agent: str, start: int, limit: int) -> httpx.Response:
        return bomb() if agent == "agent-1" else listed(agent, start, limit)

    warehouse = loaded(pages, max_workers=2)
    assert len(warehouse.ids("agent_messages")) == (AGENTS - 1) * MESSAGES
    assert {parent for _, parent, *_ in issues(warehouse.rows("load_issues"))} == {"agent-1"}
    assert peak[0] <= LIMIT // 4 + 3 * LARGEST
