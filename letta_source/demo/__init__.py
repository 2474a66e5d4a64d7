"""A small Letta on loopback, with real recorded content and the real server's quirks."""

from __future__ import annotations

from .letta import Letta
from .recorded import month_letta, recorded_letta
from .server import Request, Server, serve

__all__ = [
    "Letta",
    "Request",
    "Server",
    "month_letta",
    "recorded_letta",
    "serve",
]
