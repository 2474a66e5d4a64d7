"""When the next request may go: for all readers of a load at once."""

from __future__ import annotations

from asyncio import sleep
from time import monotonic


class Pace:
    """Every request of a load waits here for its turn; used from one event loop at a time.

    Args:
        requests_per_second: of the whole load at most; None for no cap.
    """

    def __init__(self, requests_per_second: float | None = None) -> None:
        self._apart = 1 / requests_per_second if requests_per_second else 0.0
        self._next = 0.0
        self._resume = 0.0

    def hold(self, seconds: float) -> None:
        """Nobody sends anything for so long: the server asked for it (Retry-After)."""
        self._resume = max(self._resume, monotonic() + seconds)

    async def turn(self) -> None:
        """Returns when a request may go."""
        while True:
            now = monotonic()
            start = max(now, self._next, self._resume)
            self._next = start + self._apart
            if start > now:
                await sleep(start - now)
            # Another reader may have been told to wait meanwhile.
            if self._resume <= start:
                return
