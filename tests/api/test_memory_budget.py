"""The memory budget: which readers wait, which continue, and the size of parsed JSON."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import platform
import tracemalloc
from collections.abc import AsyncIterator

import httpx
import pytest

from letta_source.api import memory_budget
from letta_source.api.client import Client
from letta_source.api.memory_budget import MemoryBudget, parsed_size, return_large_blocks
from letta_source.api.responses import TooLarge
from letta_source.safe_text import parse_json
from tests.support.wire import answering, client_of, settings

# In bytes; a quarter of it can be leased.
LIMIT = 400


def test_a_reader_that_needs_more_waits_until_others_release() -> None:
    async def main() -> None:
        memory, told = MemoryBudget(LIMIT), []
        held, waits = memory.lease(), memory.lease()
        await held.grow(80)
        held.hold()
        with memory.watched(lambda: told.append(memory.used)):
            waiting = asyncio.create_task(waits.grow(30))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            # A reader that collects rows is notified, and gives memory back.
            assert told == [80]
            held.shrink(20)
            await waiting
        assert (memory.used, held.size, waits.size) == (90, 60, 30)

    asyncio.run(main())


def test_if_all_readers_wait_one_may_exceed_the_budget() -> None:
    async def read(memory: MemoryBudget, ended: list[int]) -> None:
        lease = memory.lease()
        for _ in range(10):
            await lease.grow(10)
            await asyncio.sleep(0)
        ended.append(memory.used)
        lease.hold()
        await asyncio.sleep(0)
        lease.release()

    async def main() -> list[int]:
        memory, ended = MemoryBudget(LIMIT), list[int]()
        await asyncio.wait_for(asyncio.gather(*(read(memory, ended) for _ in range(5))), 5)
        assert memory.used == 0
        return ended

    # The 100 that can be leased, and one reader beyond them.
    assert max(asyncio.run(main())) <= 100 + 100


def test_no_reader_exceeds_the_budget_while_another_can_release() -> None:
    memory = MemoryBudget(LIMIT)
    held, first, second = memory.lease(), memory.lease(), memory.lease()
    assert held.try_grow(60)
    held.hold()
    assert first.try_grow(40)
    assert not first.try_grow(1)
    held.release()
    assert second.try_grow(60)
    assert first.try_grow(1)
    assert not second.try_grow(1)
    # Once that one is done, the next may exceed.
    first.hold()
    first.release()
    assert second.try_grow(50)


def test_the_budget_shrinks_once_messages_are_large() -> None:
    for is_large, is_given in ((False, True), (True, False)):
        memory = MemoryBudget(LIMIT)
        if is_large:
            memory.expect_large()
        held, more = memory.lease(), memory.lease()
        assert held.try_grow(20)
        held.hold()
        assert more.try_grow(10) is is_given
        held.release()
        # One reader continues, however much it needs.
        assert more.try_grow(40)


def test_a_garbage_collected_lease_is_released() -> None:
    memory = MemoryBudget(LIMIT)
    lease = memory.lease()
    assert lease.try_grow(10)
    del lease
    gc.collect()
    assert memory.used == 0


def test_another_thread_may_release_a_lease() -> None:
    async def main() -> None:
        memory = MemoryBudget(LIMIT)
        held, waits = memory.lease(), memory.lease()
        await held.grow(100)
        held.hold()
        waiting = asyncio.create_task(waits.grow(50))
        await asyncio.sleep(0)
        await asyncio.to_thread(held.release)
        held.release()
        await asyncio.wait_for(waiting, 5)
        assert memory.used == 50

    asyncio.run(main())


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b",".join([b"{}"] * 20_000) + b"]",
        b"[" + b",".join([b"[]"] * 20_000) + b"]",
        b"[" + b",".join([b"1"] * 20_000) + b"]",
        b"[" + b",".join([b'"ab"'] * 20_000) + b"]",
        b"[" + b",".join([b"1.5"] * 20_000) + b"]",
        b"[" + b",".join(b'{"%d":%d}' % (n, n) for n in range(10_000)) + b"]",
        b"{" + b",".join(b'"%d":null' % n for n in range(20_000)) + b"}",
        b'["' + b"x" * 100_000 + b'"]',
    ],
    ids=lambda body: body[:12].decode(),
)
def test_the_size_of_parsed_json_is_not_underestimated(body: bytes) -> None:
    tracemalloc.start()
    kept = parse_json(body)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept
    assert taken <= 1.2 * parsed_size(body)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep no such holes")
def test_large_blocks_are_returned_to_the_system_whatever_was_freed_before() -> None:
    class Info(ctypes.Structure):
        _fields_ = tuple((f"field{at}", ctypes.c_size_t) for at in range(10))

    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("an older glibc does not tell")
    libc.mallinfo2.restype = Info

    def mappings() -> int:
        # `hblks` of mallinfo2.
        found: int = libc.mallinfo2().field3
        return found

    # Without the setting, glibc would allocate blocks of this size from its heap from now on.
    del [bytes(8 << 20)][:]
    return_large_blocks()
    before = mappings()
    messages = [bytes(1_000_000) for _ in range(100)]
    # Some may fit into existing holes.
    assert mappings() - before > len(messages) // 2


def test_the_first_page_that_is_too_large_makes_large_blocks_return_to_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not earlier, because for pages of small messages it would cost time."""
    called: list[int] = []
    monkeypatch.setattr(memory_budget, "return_large_blocks", lambda: called.append(1))
    bodies = iter([b"[" + b" " * 1_000_000 + b"]", b"[" + b" " * 9_000_000 + b"]"])
    with client_of(lambda _: httpx.Response(200, content=next(bodies)), memory_limit=64_000_000) as get:
        get("/v1/agents/")
        assert called == []
        with pytest.raises(TooLarge):
            get("/v1/agents/")
    assert called == [1]


def test_a_failed_try_holds_no_memory_while_others_wait() -> None:
    """The check whether the server is up is another request: it would wait for ever."""
    used: list[int] = []

    async def main() -> None:
        async with Client(settings(memory_limit=64_000_000, retries=0)) as client:

            def answer(request: httpx.Request) -> httpx.Response:
                if request.url.path == "/v1/agents/":
                    used.append(client.server.memory.used)
                    return httpx.Response(200, json=[])
                return httpx.Response(200, stream=Dripping(9))

            with answering(answer), pytest.raises(TooLarge):
                await client.get("/v1/agents/agent-1/messages")

    class Dripping(httpx.AsyncByteStream):
        """A body of `pieces` MB without a Content-Length."""

        def __init__(self, pieces: int) -> None:
            self._pieces = pieces

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for _ in range(self._pieces):
                yield b" " * 1_000_000

    asyncio.run(main())
    assert used == [0]
