"""A budget of bytes, shared by all workers, for bodies being read, pages in flight and rows that wait."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from letta_source.settings.memory_limit import MOST

# Bytes that Python takes for a JSON value, object and array besides their text.
_VALUE, _OBJECT, _ARRAY = 64, 240, 72
# glibc's parameter for the smallest block that is a mapping of its own, and its initial value.
_M_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 1 << 17
_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


def return_large_blocks() -> None:
    """Have the C library return freed blocks of 128 kB and more to the system; permanently.

    glibc raises that bound to the largest block that was freed, such as a body. From then on, messages of
    hundreds of kB leave holes that take more memory than is in use. Other libraries need nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def give_back_memory() -> None:
    """Return the memory that reading took, including what dlt leaves in reference cycles."""
    import pyarrow as pa

    gc.collect()
    pa.default_memory_pool().release_unused()
    # glibc keeps freed memory; other C libraries lack this function.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class MemoryBudget:
    """A budget of bytes; a reader that needs more than is left waits until others give some back.

    Readers take the bytes that they read, and the receiver of a page gives them back once its rows were
    handed on. Up to three copies exist for a moment, so only a quarter of the limit is given out, and an
    eighth of that once messages are large, as destinations need the most for these. Threads may share it.

    Args:
        limit: the limit in bytes.
    """

    def __init__(self, limit: int = MOST) -> None:
        self.limit = limit
        self._given_out = limit // 4
        self._watchers: list[Callable[[], None]] = []
        # Reentrant, as garbage collection may give memory back while the lock is held.
        self._lock = threading.RLock()
        self._used = 0
        self._held = 0
        self._beyond: MemoryLease | None = None
        self._waiting: list[_Waiter] = []

    def expect_large(self) -> None:
        """Prepare for pages of few messages, each of them large."""
        self._given_out = self.limit // 32
        return_large_blocks()

    @property
    def largest_body(self) -> int:
        """The most bytes of a response that cannot be requested in smaller parts, such as one message."""
        return self.limit // 8

    @property
    def largest_stream(self) -> int:
        """The most bytes of a response that is read in pieces, which wait in a temporary file."""
        return self.limit * 2

    @property
    def largest_of_many(self) -> int:
        """The most bytes of a page that could be smaller: each worker may have one, and some wait."""
        return self.limit // 64

    @property
    def largest_page(self) -> int:
        """The most bytes that a page may take once it is parsed."""
        return self.limit // 4

    @property
    def enough_rows(self) -> int:
        """Bytes of rows to hand on together."""
        return self.limit // 64

    @property
    def enough_for_package(self) -> int:
        """Bytes of large rows to load together: DuckDB's log holds them twice."""
        return self.limit // 32

    @contextmanager
    def watched(self, on_shortage: Callable[[], None]) -> Iterator[None]:
        """Have a function called when a reader has to wait, so that gathered rows are handed on."""
        self._watchers.append(on_shortage)
        try:
            yield
        finally:
            self._watchers.remove(on_shortage)

    @property
    def used(self) -> int:
        """Bytes taken now."""
        return self._used

    def lease(self, can_be_less: bool = False) -> MemoryLease:
        """Return a lease of the memory, empty at first.

        Args:
            can_be_less: the response could be requested in smaller parts.
        """
        return MemoryLease(self, self.largest_of_many if can_be_less else self.largest_body)

    def _add(self, lease: MemoryLease, size: int) -> None:
        with self._lock:
            self._used += size
            self._held += size
            lease.size += size

    def _take(self, lease: MemoryLease, size: int, waiter: _Waiter | None = None) -> bool:
        with self._lock:
            if self._used + size > self._given_out and self._beyond is not lease:
                # When readers have taken everything and none can go on, one may exceed the budget.
                if self._beyond or self._held:
                    if waiter:
                        self._waiting.append(waiter)
                    return False
                self._beyond = lease
            self._used += size
            lease.size += size
            return True

    def _hold(self, lease: MemoryLease) -> None:
        with self._lock:
            if not lease.is_held:
                lease.is_held = True
                self._held += lease.size

    def _give_back(self, lease: MemoryLease, size: int) -> None:
        with self._lock:
            self._used -= size
            lease.size -= size
            if lease.is_held:
                self._held -= size
            if not lease.size:
                self._end_beyond(lease)
            waiting, self._waiting = self._waiting, []
        _wake_all(waiting)

    def _end_beyond(self, lease: MemoryLease) -> None:
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


class MemoryLease:
    """A part of the memory; what is left of it is given back when it is garbage-collected.

    Attributes:
        most: the most bytes that the response may have.
        size: bytes taken.
        is_held: the collector of rows has it, and gives it back when memory is short.
    """

    def __init__(self, memory: MemoryBudget, most: int) -> None:
        self._memory = memory
        self.most = most
        self.size = 0
        self.is_held = False

    def try_grow(self, size: int) -> bool:
        """Take more if there is enough left; return False if not."""
        return self._memory._take(self, size)

    async def grow(self, size: int) -> None:
        """Take more; wait until there is enough left."""
        while not self._memory._take(self, size):
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            if self._memory._take(self, size, (loop, future)):
                return
            self._memory._tell_shortage()
            await future

    def end_reading(self) -> None:
        """End the reading: if this lease exceeded the budget, another one now may."""
        self._memory._end_beyond(self)

    def add(self, size: int) -> None:
        """Take more, held and without waiting, for bytes that exist already."""
        self._memory._add(self, size)

    def hold(self) -> None:
        """Mark the lease as held by the collector of rows."""
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
    """Estimate the bytes that a JSON text takes as Python objects, rather too high than too low."""
    marks = _VALUE * body.count(b",") + _OBJECT * body.count(b"{") + _ARRAY * body.count(b"[")
    return len(body) + marks
