"""Notice a page that comes again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from letta_source.items import id_of, ids_of


class Trail:
    """Remembers enough of the ids that went by to notice any page that comes again.

    Brent's cycle detection: the last page, and one more that moves up at powers of two.
    """

    def __init__(self) -> None:
        self._last: set[str] = set()
        self._milestone: set[str] = set()
        self.pages = 0
        self._next = 1

    def fresh(self, items: Sequence[Any]) -> Sequence[Any]:
        """`items` without those that went by; none if the last went by, from which the walk would go on."""
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
        self.pages += 1
        if self.pages == self._next:
            self._milestone = self._last
            self._next *= 2
