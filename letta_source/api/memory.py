"""One budget of bytes for bodies that are read, pages in flight and rows that wait, over all workers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

DEFAULT_LIMIT = 512_000_000
# What Python takes for a value, an object and an array of JSON beside their text.
_VALUE, _OBJECT, _ARRAY = 64, 240, 72


class Memory:
    """Bytes that may be taken; whoever asks for more waits until others give back.

    Readers take what they read, and whoever gets a page gives it back once its rows were handed on. May be
    used from several threads.

    Args:
        limit: in bytes.

    Attributes:
        on_shortage: called in the reader's thread when it has to wait: whoever gathers rows hands them on.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.on_shortage: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._used = 0
        self._held = 0
        self._beyond: Lease | None = None
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    @property
    def largest_body(self) -> int:
        """Bytes of a page, or of one message, at most: of several at once there are copies."""
        return self.limit // 16

    @property
    def largest_page(self) -> int:
        """Bytes that a page may take once it is parsed."""
        return self.limit // 4

    @property
    def enough_rows(self) -> int:
        """Bytes of pages whose rows are handed on together."""
        return self.limit // 4

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return self._used

    def lease(self) -> Lease:
        """A part of the memory, nothing at first."""
        return Lease(self)

    def _take(self, lease: Lease, size: int) -> bool:
        with self._lock:
            if self._used + size > self.limit and self._beyond is not lease:
                # When all is taken by readers of which none can go on, one may.
                if self._beyond or self._held:
                    return False
                self._beyond = lease
            self._used += size
            lease.size += size
            return True

    def _hold(self, lease: Lease) -> None:
        with self._lock:
            if not lease.is_held:
                lease.is_held = True
                self._held += lease.size
                self._end_beyond(lease)

    def _give_back(self, lease: Lease, size: int) -> None:
        with self._lock:
            self._used -= size
            lease.size -= size
            if lease.is_held:
                self._held -= size
            if not lease.size:
                self._end_beyond(lease)
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future)

    def _end_beyond(self, lease: Lease) -> None:
        if self._beyond is lease:
            self._beyond = None

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiting.append((loop, future))
        self.on_shortage()
        await future


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Lease:
    """A part of the memory; gives back what is left of it when nobody refers to it any more.

    Attributes:
        size: in bytes.
        is_held: all was read; whoever has the page gives it back.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.size = 0
        self.is_held = False

    def try_grow(self, size: int) -> bool:
        """Take more if there is some left."""
        return self._memory._take(self, size)

    async def grow(self, size: int) -> None:
        """Take more; wait until there is some left."""
        while not self._memory._take(self, size):
            await self._memory._wait()

    def hold(self) -> None:
        """Say that all was read."""
        self._memory._hold(self)

    def shrink(self, size: int) -> None:
        """Give a part back."""
        self._memory._give_back(self, min(size, self.size))

    def release(self) -> None:
        """Give all back; may be called again."""
        if self.size:
            self._memory._give_back(self, self.size)

    def __del__(self) -> None:
        self.release()


def parsed_size(body: bytes) -> int:
    """Estimate the bytes that the values of a JSON text take as Python objects; more rather than less."""
    marks = _VALUE * body.count(b",") + _OBJECT * body.count(b"{") + _ARRAY * body.count(b"[")
    return len(body) + marks
