"""Which items of a walk went by, in little memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from letta_source.rows.columnar import Columnar

# What stands in URLs and keys as it is: no slash, NUL or lone surrogate. Letta's are `kind-uuid`.
_ID = re.compile(r"(?!\.{1,2}\Z)[\w.:@+=~-]{1,255}")


def id_of(item: Any) -> str | None:
    """The item's id, or None where it has none that it could be asked for and kept by."""
    found = item.get("id") if isinstance(item, dict) else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def ids_of(items: Sequence[Any]) -> list[str]:
    if isinstance(items, Columnar):
        return items.ids
    return [found for item in items if (found := id_of(item)) is not None]


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
        known = self._last | self._milestone
        ids = ids_of(items)
        if known.isdisjoint(ids):
            return items
        if ids[-1] in known:
            return []
        return [item for item in items if id_of(item) not in known]

    def add(self, items: Sequence[Any]) -> None:
        self._last = set(ids_of(items))
        self.pages += 1
        if self.pages == self._next:
            self._milestone = self._last
            self._next *= 2
