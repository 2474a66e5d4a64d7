"""One budget of bytes for bodies that are read, pages in flight and rows that wait, over all workers."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

DEFAULT_LIMIT = 512_000_000
# What Python takes for a value, an object and an array of JSON beside their text.
_VALUE, _OBJECT, _ARRAY = 64, 240, 72
# glibc's name for the least block that is a mapping of its own, and its first value.
_M_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 1 << 17
_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


def return_large_blocks() -> None:
    """Have the C library give blocks from 128 kB on back to the system as they are freed; for good.

    glibc raises that bound to the largest block that was freed, such as a body: from then on messages of
    hundreds of kB leave holes between others, of more than all that is in use. Other libraries need nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


class Memory:
    """Bytes that may be taken; whoever asks for more waits until others give back.

    Readers take what they read, and whoever gets a page gives it back once its rows were handed on. Of what
    is taken there are up to three copies for a moment, hence a quarter of the limit is given out; an eighth
    of that once messages are large, as destinations need the most for these. Threads may share it.

    Args:
        limit: in bytes.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self._given_out = limit // 4
        self._watchers: list[Callable[[], None]] = []
        # Garbage collection may give something back while it is held.
        self._lock = threading.RLock()
        self._used = 0
        self._held = 0
        self._beyond: Lease | None = None
        self._waiting: list[_Waiter] = []

    def expect_large(self) -> None:
        """Say that what is read are pages of few messages, each of them large."""
        self._given_out = self.limit // 32
        return_large_blocks()

    @property
    def largest_body(self) -> int:
        """Bytes of an answer that cannot be asked for in smaller parts, such as one message."""
        return self.limit // 8

    @property
    def largest_stream(self) -> int:
        """Bytes of an answer that is read in pieces, which wait in a temporary file."""
        return self.limit * 2

    @property
    def largest_of_many(self) -> int:
        """Bytes of a page that could be smaller: each worker may have one, and some wait."""
        return self.limit // 64

    @property
    def largest_page(self) -> int:
        """Bytes that a page may take once it is parsed."""
        return self.limit // 4

    @property
    def enough_rows(self) -> int:
        """Bytes of rows that are handed on together."""
        return self.limit // 64

    @property
    def enough_for_package(self) -> int:
        """Bytes of large rows that are loaded together: DuckDB's log holds them twice."""
        return self.limit // 32

    @contextmanager
    def watched(self, on_shortage: Callable[[], None]) -> Iterator[None]:
        """Have a function called when a reader has to wait: whoever gathers rows hands them on."""
        self._watchers.append(on_shortage)
        try:
            yield
        finally:
            self._watchers.remove(on_shortage)

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return self._used

    def lease(self, can_be_less: bool = False) -> Lease:
        """A part of the memory, nothing at first.

        Args:
            can_be_less: what it is for can be asked for in smaller parts.
        """
        return Lease(self, self.largest_of_many if can_be_less else self.largest_body)

    def _add(self, lease: Lease, size: int) -> None:
        with self._lock:
            self._used += size
            self._held += size
            lease.size += size

    def _take(self, lease: Lease, size: int, waiter: _Waiter | None = None) -> bool:
        with self._lock:
            if self._used + size > self._given_out and self._beyond is not lease:
                # When all is taken by readers of which none can go on, one may.
                if self._beyond or self._held:
                    if waiter:
                        self._waiting.append(waiter)
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

    def _give_back(self, lease: Lease, size: int) -> None:
        with self._lock:
            self._used -= size
            lease.size -= size
            if lease.is_held:
                self._held -= size
            if not lease.size:
                self._end_beyond(lease)
            waiting, self._waiting = self._waiting, []
        _wake_all(waiting)

    def _end_beyond(self, lease: Lease) -> None:
        with self._lock:
            if self._beyond is not lease:
                return
            self._beyond = None
            waiting, self._waiting = self._waiting, []
        _wake_all(waiting)

    def _tell_shortage(self) -> None:
        for on_shortage in list(self._watchers):
            on_shortage()


def _wake_all(waiting: list[_Waiter]) -> None:
    for loop, future in waiting:
        if not loop.is_closed():
            loop.call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Lease:
    """A part of the memory; gives back what is left of it when nobody refers to it any more.

    Attributes:
        most: bytes that the answer may have.
        size: in bytes.
        is_held: whoever gathers rows has it, and gives it back when memory is short.
    """

    def __init__(self, memory: Memory, most: int) -> None:
        self._memory = memory
        self.most = most
        self.size = 0
        self.is_held = False

    def try_grow(self, size: int) -> bool:
        """Take more if there is some left."""
        return self._memory._take(self, size)

    async def grow(self, size: int) -> None:
        """Take more; wait until there is some left."""
        while not self._memory._take(self, size):
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            if self._memory._take(self, size, (loop, future)):
                return
            self._memory._tell_shortage()
            await future

    def end_reading(self) -> None:
        """Say that all was read: if it took more than there was, the next one may."""
        self._memory._end_beyond(self)

    def add(self, size: int) -> None:
        """Take more of what is held: it is there already."""
        self._memory._add(self, size)

    def hold(self) -> None:
        """Say that it goes to whoever gathers rows."""
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
