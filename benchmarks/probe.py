"""The speed of a plain socket, which must exceed any contender's, or the server would be measured."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from statistics import median
from urllib.parse import urlsplit
from urllib.request import urlopen

_PASSES = 9
_QUERY = "limit=1000&order=asc"


def probe(url: str) -> str:
    """Return MB per second of full pages, and empty pages per second, over one connection."""
    with urlopen(f"{url}/-/last") as answer:
        last: dict[str, str] = json.load(answer)
    full = [f"/v1/agents/{agent}/messages?{_QUERY}" for agent in last]
    empty = [f"{target}&after={last_id}" for target, last_id in zip(full, last.values(), strict=True)]
    # One pass takes only a moment.
    rates = [(_ask(url, full), _ask(url, empty)) for _ in range(_PASSES)]
    size = median(size / seconds for (seconds, size), _ in rates)
    polled = median(len(empty) / seconds for _, (seconds, _) in rates)
    return f"A plain socket gets {size / 1e6:,.0f} MB/s, or {polled:,.0f} requests/s."


def _ask(url: str, targets: Iterable[str]) -> tuple[float, int]:
    """Return the seconds and the bytes of these responses, one after the other."""
    address = urlsplit(url)
    buffer = bytearray(1 << 20)
    size = 0
    with socket.create_connection((address.hostname or "", address.port or 80)) as connection:
        started = time.monotonic()
        for target in targets:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            got = connection.recv_into(buffer)
            end = buffer.index(b"\r\n\r\n") + 4
            length = int(buffer[:end].split(b"Content-Length: ")[1].split(b"\r\n")[0])
            size += length
            left = length + end - got
            while left:
                left -= connection.recv_into(buffer)
        return time.monotonic() - started, size
