"""Group objects by shape, so that their values can be processed column by column.

Objects with the same keys in the same order have the same shape. A page of messages has some ten shapes:
facts about one (which fields it has, which of them are unknown) are computed once, not for each item.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, NamedTuple

Values = Sequence[Any]


class Group(NamedTuple):
    """Objects of one shape.

    Attributes:
        places: indexes of these objects in the input, ascending.
        columns: the values of these objects by key.
    """

    places: Sequence[int]
    columns: dict[str, Values]


def by_shape(objects: Sequence[Mapping[str, Any]]) -> list[Group]:
    """Group the objects by their keys, in order of first occurrence."""
    found: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, keys in enumerate(map(tuple, objects)):
        found[keys].append(place)
    groups = []
    for keys, places in found.items():
        values = zip(*[objects[place].values() for place in places], strict=True)
        groups.append(Group(places, dict(zip(keys, values, strict=True))))
    return groups


def uniform(group: Group, aspects: Sequence[Sequence[Any]]) -> Iterator[Group]:
    """Divide a group into groups whose objects are alike in all aspects.

    Args:
        aspects: one list for each aspect, with a hashable value for each object.
    """
    kinds = list(zip(*aspects, strict=True))
    if kinds.count(kinds[0]) == len(kinds) if kinds else True:
        yield group
        return
    members: dict[Any, list[int]] = {}
    for at, kind in enumerate(kinds):
        members.setdefault(kind, []).append(at)
    for ats in members.values():
        columns = {name: values_at(values, ats) for name, values in group.columns.items()}
        yield Group(values_at(group.places, ats), columns)


def shapes_of(values: Iterable[Any]) -> list[tuple[str, ...] | None]:
    """Return the keys of each value, or None if it is not an object."""
    return [tuple(value) if isinstance(value, dict) else None for value in values]


def nested(objects: Sequence[Mapping[str, Any]]) -> dict[str, Values]:
    """Return the columns of objects that have one shape."""
    return by_shape(objects)[0].columns


def rows_of(columns: Mapping[str, Values]) -> list[dict[str, Any]]:
    """Return the columns as objects, one for each row."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def values_at(values: Values, ats: Sequence[int]) -> Values:
    """Return the values at these indexes."""
    if len(ats) > 1:
        taken: tuple[Any, ...] = itemgetter(*ats)(values)
        return taken
    return [values[at] for at in ats]


def is_empty(values: Values) -> bool:
    """Return True if all values are None."""
    return not any(values) and values.count(None) == len(values)


def types_of(values: Iterable[Any]) -> set[type]:
    """Return the types that occur among the values."""
    return set(map(type, values))


class Gathered:
    """Rows of one table, gathered in pieces that each fill some of the columns.

    Attributes:
        items: for each row, the index of its item in the page.
        idx: for each row, its index within the item.
        columns: values by name; a column that no row fills is missing.
    """

    def __init__(self) -> None:
        self.items: list[int] = []
        self.idx: list[int] = []
        self.columns: dict[str, list[Any]] = {}

    def add(
        self, items: Sequence[int], columns: Mapping[str, Values], idx: Sequence[int] | None = None
    ) -> None:
        """Add a row for each of `items`."""
        count = len(self.items)
        for name, values in columns.items():
            if is_empty(values):
                continue
            column = self.columns.get(name)
            if column is None:
                self.columns[name] = [None] * count
                column = self.columns[name]
            else:
                column.extend(repeat(None, count - len(column)))
            column.extend(values)
        self.items.extend(items)
        self.idx.extend(repeat(0, len(items)) if idx is None else idx)

    def in_order(self) -> dict[str, Values]:
        """Return the columns with rows sorted by item and idx; `items` and `idx` are sorted, too."""
        count = len(self.items)
        for column in self.columns.values():
            column.extend(repeat(None, count - len(column)))
        width = max(self.idx, default=0) + 1
        keys = (
            self.items if width == 1 else [a * width + b for a, b in zip(self.items, self.idx, strict=True)]
        )
        if keys == sorted(keys):
            return dict(self.columns)
        order = sorted(range(count), key=keys.__getitem__)
        self.items, self.idx = list(values_at(self.items, order)), list(values_at(self.idx, order))
        return {name: values_at(column, order) for name, column in self.columns.items()}


class Elements(NamedTuple):
    """Elements of the lists of several items, one list after the other.

    Attributes:
        values: the elements.
        items: for each element, the index of its item in the page.
        idx: for each element, its index in its item's list.
    """

    values: list[Any]
    items: Sequence[int]
    idx: Sequence[int]


def elements_of(items: Sequence[int], lists: Sequence[Sequence[Any]]) -> Elements:
    """Return all elements of the lists; there is one list for each of `items`."""
    values = list(chain.from_iterable(lists))
    lengths = list(map(len, lists))
    if lengths.count(1) == len(lengths):
        return Elements(values, items, [0] * len(items))
    owners = [item for item, length in zip(items, lengths, strict=True) for _ in range(length)]
    return Elements(values, owners, [at for length in lengths for at in range(length)])
