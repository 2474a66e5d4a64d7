"""A list that pages by cursor in time linear in the page."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True)
class Tied:
    """A bound of a page: it leaves out every rank that begins with this number."""

    number: int

    def __lt__(self, rank: tuple[int, int]) -> bool:
        return self.number < rank[0]

    def __gt__(self, rank: tuple[int, int]) -> bool:
        return self.number > rank[0]


class Index:
    """Ids in the order of their ranks. A rank is unique in its index, and comparable with its neighbours."""

    def __init__(self) -> None:
        self._ranks: list[Any] = []
        self._ids: list[str] = []
        self._rank_of: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self) -> list[str]:
        """Return all ids, oldest first."""
        return list(self._ids)

    def rank(self, row_id: str) -> Any | None:
        """Return the rank of an id, or None if the index does not hold it."""
        return self._rank_of.get(row_id)

    def last_rank(self) -> Any | None:
        """Return the greatest rank, or None if the index is empty."""
        return self._ranks[-1] if self._ranks else None

    def rank_before(self, rank: Any) -> Any | None:
        """Return the greatest rank below the given one, or None if there is none."""
        place = bisect_left(self._ranks, rank)
        return self._ranks[place - 1] if place else None

    def add(self, rank: Any, row_id: str) -> None:
        """Insert an id at its place."""
        place = bisect_left(self._ranks, rank)
        self._ranks.insert(place, rank)
        self._ids.insert(place, row_id)
        self._rank_of[row_id] = rank

    def fill(self, ranked: Collection[tuple[Any, str]]) -> None:
        """Replace the contents by these ids, given in the order of their ranks."""
        self._ranks = [rank for rank, _ in ranked]
        self._ids = [row_id for _, row_id in ranked]
        self._rank_of = {row_id: rank for rank, row_id in ranked}

    def remove(self, row_ids: Collection[str]) -> None:
        """Remove ids in one pass, however many they are."""
        for row_id in row_ids:
            self._rank_of.pop(row_id, None)
        self._ids = [row_id for row_id in self._ids if row_id in self._rank_of]
        self._ranks = [self._rank_of[row_id] for row_id in self._ids]

    def page(
        self,
        *,
        newer_than: Any,
        older_than: Any,
        newest_first: bool,
        limit: int,
        keep: Callable[[str], bool] | None = None,
    ) -> list[str]:
        """Return at most `limit` ids strictly between two ranks (None: no bound), oldest or newest first.

        Ids for which `keep` is false are skipped and do not count.
        """
        low = 0 if newer_than is None else bisect_right(self._ranks, newer_than)
        high = len(self._ranks) if older_than is None else bisect_left(self._ranks, older_than)
        places = range(high - 1, low - 1, -1) if newest_first else range(low, high)
        return list(islice(filter(keep, map(self._ids.__getitem__, places)), limit))


class Table(Index, Generic[Row]):
    """An index together with the rows it orders."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Row] = {}

    def put(self, rank: Any, row_id: str, row: Row) -> None:
        """Add a row."""
        self.rows[row_id] = row
        self.add(rank, row_id)

    def remove(self, row_ids: Collection[str]) -> None:
        """Remove rows."""
        super().remove(row_ids)
        for row_id in row_ids:
            self.rows.pop(row_id, None)
