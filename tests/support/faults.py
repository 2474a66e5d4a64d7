"""A Letta that fails on demand: faults of the socket and of HTTP, random or planned."""

from __future__ import annotations

import select
import socket
import threading
from collections import Counter, deque
from collections.abc import Iterable
from email.utils import formatdate
from random import Random
from time import time
from typing import Literal, get_args

from letta_source.demo.api import ROUTES
from letta_source.demo.server import Reply, reset

Fault = Literal[
    "reset",  # before any byte of the response
    "reset_in_head",  # after half of the head
    "reset_after_head",  # before the body
    "half_body",  # then the connection closes cleanly, though Content-Length says more
    "stall",  # no response, until the client hangs up
    "drip",  # the right response, byte by byte
    "429_seconds",  # Retry-After in seconds
    "429_date",  # Retry-After as a date
    "500",  # JSON; the next request on the connection is reset
    "502",  # an HTML page, as from a proxy
    "503",
    "html",  # a page with status 200, as from a proxy that asks for a login
    "no_json",  # invalid JSON, with status 200
    "cut_json",  # half of the response with status 200, and the Content-Length of that half
]
FAULTS: tuple[Fault, ...] = get_args(Fault)

_JSON = {"Content-Type": "application/json"}
_HTML = {"Content-Type": "text/html; charset=utf-8"}


class Faults:
    """Decides which requests get a fault, and which one; threads may share it.

    The choice of requests is random. The fault is one that this route had least often, so that soon every
    route had every fault.

    Args:
        rate: The share of the requests that get a fault, 0 to 1.
        seed: Makes each route's faults reproducible, however the requests of different routes mix.
        kinds: The faults to choose from.
        retry_after: Seconds that a 429 asks to wait.
        pause: Seconds between two bytes of a `drip`.

    Attributes:
        played: The number of times each route had each fault.
    """

    def __init__(
        self,
        rate: float = 0.3,
        seed: int = 0,
        kinds: Iterable[Fault] = FAULTS,
        *,
        retry_after: int = 0,
        pause: float = 0.1,
    ) -> None:
        self.played: Counter[tuple[str, Fault]] = Counter()
        self._rate = rate
        self._seed = seed
        self._randoms: dict[str, Random] = {}
        self._kinds = tuple(kinds)
        self._retry_after = retry_after
        self._pause = pause
        self._lock = threading.Lock()
        self._planned: deque[Fault] = deque()
        self._where: str | None = None

    @classmethod
    def of(
        cls,
        *kinds: Fault,
        on: str | None = None,
        times: int = 1,
        retry_after: int = 0,
        pause: float = 0.1,
    ) -> Faults:
        """Plan these faults, one a request in this order, repeated so many times; then there are none.

        Args:
            on: The path or route whose requests get them, by default all.
        """
        faults = cls(rate=0.0, retry_after=retry_after, pause=pause)
        faults._planned.extend(kinds * times)
        faults._where = on
        return faults

    def next(self, path: str) -> Fault | None:
        """Return the fault of a request for this path; None for the right response."""
        route = route_of(path)
        with self._lock:
            fault: Fault | None = None
            if self._planned:
                fault = self._planned.popleft() if self._where in (None, path, route) else None
            elif (random := self._random(route)).random() < self._rate:
                least = min(self.played[route, kind] for kind in self._kinds)
                fault = random.choice([kind for kind in self._kinds if self.played[route, kind] == least])
            if fault:
                self.played[route, fault] += 1
            return fault

    def _random(self, route: str) -> Random:
        return self._randoms.setdefault(route, Random(f"{self._seed} {route}"))

    def __call__(self, path: str, right: Reply, connection: socket.socket) -> Reply | None:
        """Stand between the server and a client: see `letta_source.demo.serve`."""
        fault = self.next(path)
        return self.play(fault, right, connection) if fault else right

    def play(self, fault: Fault, right: Reply, connection: socket.socket) -> Reply | None:
        """Inflict a fault on a request.

        Args:
            right: The response without the fault.

        Returns:
            The response to send instead; None to close the connection now.
        """
        if instead := self._answers(right).get(fault):
            return instead
        head = right.head()
        if fault == "stall":
            _wait_for_the_end(connection, None)
        elif fault == "drip":
            for byte in head + right.body:
                connection.sendall(bytes([byte]))
                if _wait_for_the_end(connection, self._pause):
                    break
        elif fault == "half_body":
            # A redirect has no body to cut in half, so claim one.
            body = right.body or b" "
            head = Reply(right.status, body, right.headers).head()
            connection.sendall(head + body[: len(body) // 2])
        else:
            sent = {"reset": 0, "reset_in_head": len(head) // 2}.get(fault, len(head))
            connection.sendall(head[:sent])
            reset(connection)
        return None

    def _answers(self, right: Reply) -> dict[Fault, Reply]:
        page = b"<!DOCTYPE html>\n<html><body><h1>Something else</h1></body></html>\n"
        wait, until = str(self._retry_after), formatdate(time() + self._retry_after, usegmt=True)
        busy = b'{"detail": "Too many requests"}'
        return {
            "429_seconds": Reply(429, busy, {**_JSON, "Retry-After": wait}),
            "429_date": Reply(429, busy, {**_JSON, "Retry-After": until}),
            "500": Reply(500, b'{"detail": "An unknown error occurred"}', _JSON),
            "502": Reply(502, page, _HTML),
            "503": Reply(503, page, _HTML),
            "html": Reply(200, page, _HTML),
            "no_json": Reply(200, b"[{'id': None}]", _JSON),
            "cut_json": Reply(200, right.body[: len(right.body) // 2], _JSON),
        }


def route_of(path: str) -> str:
    """Return the path with its id, if it has one, replaced by {id}."""
    return next((route.path for route in ROUTES if route.match(path)), path)


def _wait_for_the_end(connection: socket.socket, seconds: float | None) -> bool:
    """Return True if the client hung up, or the server stopped, in this time; None waits until then.

    Nothing else can arrive: clients wait for the response before the next request.
    """
    return bool(select.select([connection], [], [], seconds)[0])
