"""A small Letta on loopback, with real recorded content and the real server's quirks."""

from __future__ import annotations

from .faults import FAULTS, Fault, Faults, route_of
from .letta import Letta
from .recorded import recorded_letta
from .server import Request, Server, serve

__all__ = [
    "FAULTS",
    "Fault",
    "Faults",
    "Letta",
    "Request",
    "Server",
    "recorded_letta",
    "route_of",
    "serve",
]
