"""Detection of repeated pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from letta_source.items import id_of, ids_of


class SeenPages:
    """Memory of just enough ids to detect any repeated page.

    Brent's cycle detection: it keeps the last page, and one more that is replaced at powers of two.

    Attributes:
        count: pages added so far.
    """

    def __init__(self) -> None:
        self._last: set[str] = set()
        self._milestone: set[str] = set()
        self.count = 0
        self._next_milestone = 1

    def without(self, items: Sequence[Any]) -> Sequence[Any]:
        """Return the items not seen before; none if the last was, as the walk would go on from that one."""
        ids = ids_of(items)
        if self._last.isdisjoint(ids) and self._milestone.isdisjoint(ids):
            return items
        known = self._last | self._milestone
        if ids[-1] in known:
            return []
        return [item for item in items if id_of(item) not in known]

    def add(self, items: Sequence[Any]) -> None:
        """Remember a page."""
        self._last = set(ids_of(items))
        self.count += 1
        if self.count == self._next_milestone:
            self._milestone = self._last
            self._next_milestone *= 2
