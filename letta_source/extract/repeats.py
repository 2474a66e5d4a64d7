"""Whether what one resource reads comes once: then it can be appended to tables that are empty."""

from __future__ import annotations

from collections.abc import Sequence


class Once:
    """Of parents that are being read it holds the ids, of those that were read only which they are.

    Ids by their hashes: a third of the memory. Two that have one hash are taken for a repeat.
    """

    def __init__(self) -> None:
        self._ids: dict[str, set[int]] = {}
        self._ended: set[str] = set()

    def take(self, parent_id: str, ids: Sequence[str]) -> bool:
        """Takes note of a page; False if any of it came before."""
        known = self._ids.setdefault(parent_id, set())
        found = {hash(one) for one in ids}
        if parent_id in self._ended or not known.isdisjoint(found):
            return False
        known |= found
        return True

    def end(self, parent_id: str) -> None:
        """All of it was read."""
        self._ended.add(parent_id)
        self._ids.pop(parent_id, None)
