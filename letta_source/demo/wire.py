"""Answers as sent over the wire."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Reply:
    """An answer as sent over the wire."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def head(self) -> bytes:
        """Return status line and headers, with the length of the body."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1")


def reset(connection: socket.socket) -> None:
    """Make the connection, once it is closed, end with a RST instead of gracefully."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def is_reset(connection: socket.socket) -> bool:
    """Return True if `reset` was called for the connection."""
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == _RESET


Between = Callable[[str, Reply, socket.socket], Reply | None]
"""Takes a path, the right answer and the connection; returns what to answer, or None to close it now."""
