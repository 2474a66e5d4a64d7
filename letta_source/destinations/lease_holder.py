"""The holder of a lease: a process, and the machine that it runs on."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """The process that holds a lease.

    Attributes:
        id: unique to a run.
        machine: host name, boot id and container.
        since, until: seconds since 1970 by the database's clock; `until` is 0 once it was released.
        generation: how often the lease was taken, including this time.
        now: the database's clock when this was read.
    """

    id: str
    machine: str
    pid: int
    since: float = 0.0
    until: float = 0.0
    generation: int = 0
    now: float = 0.0

    @classmethod
    def me(cls) -> Holder:
        """Return this process, under a new id."""
        return cls(secrets.token_hex(8), _machine(), os.getpid())

    def is_dead(self) -> bool:
        """Return True if it ran on this machine and no longer does."""
        if self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            # It exists, and is another user's.
            return False
        return False

    @property
    def session(self) -> str:
        """The name of this holder's database sessions that may write."""
        return f"letta_source.{self.id}"

    def __str__(self) -> str:
        return f"{self.machine.partition(' ')[0]}, process {self.pid}, since {shown_time(self.since)}"


def shown_time(seconds: float) -> str:
    """Return a time, given in seconds since 1970, as text for people."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _machine() -> str:
    parts = [socket.gethostname()]
    # A container has process ids of its own, and may share the host's name.
    for file in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(file) if "/ns/" in file else Path(file).read_text("ascii").strip())
        except OSError:
            # Only Linux has them.
            continue
    return " ".join(parts)[:250]
