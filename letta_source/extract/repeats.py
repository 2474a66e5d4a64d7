"""Detection of items that a resource reads twice: without any, rows can be appended to empty tables."""

from __future__ import annotations

from collections.abc import Sequence


class Repeats:
    """Keeps message ids for parents in progress; for finished parents only the parent id.

    Ids are kept as hashes, which take a third of the memory. Two ids with the same hash count as a repeat.
    """

    def __init__(self) -> None:
        self._ids: dict[str, set[int]] = {}
        self._done: set[str] = set()

    def take(self, parent_id: str, ids: Sequence[str]) -> bool:
        """Note a page; return False if any of its ids came before."""
        known = self._ids.setdefault(parent_id, set())
        found = {hash(one) for one in ids}
        if parent_id in self._done or not known.isdisjoint(found):
            return False
        known |= found
        return True

    def end(self, parent_id: str) -> None:
        """End a parent that was read to its end."""
        self._done.add(parent_id)
        self._ids.pop(parent_id, None)
