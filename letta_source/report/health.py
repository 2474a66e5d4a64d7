"""The state of the load itself: what a reader must know before trusting the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Health:
    """Times are UTC without a zone.

    Attributes:
        last_load: when the newest finished load ended; None where there is none.
        loads: finished ones.
        oldest: when the oldest message of an agent was created.
        newest: the same of the newest.
        rows: by table, of those that are there.
    """

    last_load: datetime | None
    loads: int
    oldest: datetime | None
    newest: datetime | None
    rows: Mapping[str, int]
