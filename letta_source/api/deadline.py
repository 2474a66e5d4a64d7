"""A time limit for a block, which can be suspended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from types import TracebackType

if sys.version_info < (3, 11):
    import anyio


class Deadline:
    """Context manager that raises TimeoutError if the block takes too long.

    Args:
        seconds: the time that the block may take, not counting suspensions.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> Deadline:
        if sys.version_info >= (3, 11):
            # Many times faster than anyio's.
            self._timeout = asyncio.timeout(self._seconds)
            await self._timeout.__aenter__()
        else:
            self._timeout = anyio.fail_after(self._seconds)
            self._scope = self._timeout.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if sys.version_info >= (3, 11):
            await self._timeout.__aexit__(kind, error, trace)
            return None
        return self._timeout.__exit__(kind, error, trace)

    def restart(self) -> None:
        """Give the block its full time again, from now on."""
        self._reschedule(asyncio.get_running_loop().time() + self._seconds)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend the deadline within this block."""
        loop = asyncio.get_running_loop()
        left = self._when() - loop.time()
        self._reschedule(inf)
        try:
            yield
        finally:
            self._reschedule(loop.time() + left)

    def _when(self) -> float:
        if sys.version_info >= (3, 11):
            return self._timeout.when() or inf
        return self._scope.deadline

    def _reschedule(self, when: float) -> None:
        if sys.version_info >= (3, 11):
            self._timeout.reschedule(None if when == inf else when)
        else:
            self._scope.deadline = when
