"""A small Letta on loopback, with real recorded content and the real server's quirks."""

from __future__ import annotations

from .recorded import month_letta, recorded_letta
from .server import Request, Server, serve
from .store import Store

__all__ = [
    "Request",
    "Server",
    "Store",
    "month_letta",
    "recorded_letta",
    "serve",
]
