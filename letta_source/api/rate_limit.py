"""The rate limit, shared by all requests of a load."""

from __future__ import annotations

from asyncio import sleep
from time import monotonic


class RateLimit:
    """Rate limiter of all requests of a load; used from one event loop at a time.

    Args:
        requests_per_second: the limit of the whole load; None for no limit.
    """

    def __init__(self, requests_per_second: float | None = None) -> None:
        self._apart = 1 / requests_per_second if requests_per_second else 0.0
        self._next = 0.0
        self._resume = 0.0

    def hold(self, seconds: float) -> None:
        """Hold all requests for this many seconds, as the server asked (Retry-After)."""
        self._resume = max(self._resume, monotonic() + seconds)

    async def wait(self) -> None:
        """Wait until a request may be sent."""
        while True:
            now = monotonic()
            start = max(now, self._next, self._resume)
            self._next = start + self._apart
            if start > now:
                await sleep(start - now)
            # Meanwhile the server may have told another reader to wait.
            if self._resume <= start:
                return
