"""Elements of the API's lists, and their ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

Item: TypeAlias = dict[str, Any]
"""An element with an id: one message, run, agent and so on, as sent."""

# Ids that URLs and keys can hold unescaped: no slash, NUL or lone surrogate. Letta's are `kind-uuid`.
_ID = re.compile(r"(?!\.{1,2}\Z)[\w.:@+=~-]{1,255}")
# Ids of only these characters, and no longer than this, match `_ID` without a look at each.
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_LONGEST = 255


class Items(list[Any]):
    """The elements of one page, as sent; none is added or removed, as the ids are cached."""

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the elements that have one."""
        return _ids_of(self)


def id_of(item: Any) -> str | None:
    """Return the item's id, or None if it has none that can be requested and stored."""
    found = item.get("id") if isinstance(item, dict) else None
    return found if isinstance(found, str) and is_id(found) else None


def is_id(text: str) -> bool:
    """Return True if the text can be requested and stored as an id: it is one segment of a URL path."""
    return _ID.fullmatch(text) is not None


def ids_of(items: Sequence[Any]) -> list[str]:
    """Return the ids of the items that have one."""
    return items.ids if isinstance(items, Items) else _ids_of(items)


def _ids_of(items: Sequence[Any]) -> list[str]:
    try:
        ids: list[str] = [item["id"] for item in items]
        if _are_plain(ids):
            return ids
    except (TypeError, KeyError, ValueError):
        # Some element is not an object, or its id is missing, not a text, or one that UTF-8 cannot hold.
        pass
    return [found for item in items if (found := id_of(item)) is not None]


def _are_plain(ids: list[str]) -> bool:
    joined = "".join(ids).encode()
    return all(ids) and max(map(len, ids), default=0) <= _LONGEST and not joined.translate(None, _PLAIN)


class Nameless(NamedTuple):
    """Elements of a page that cannot be rows, and the id before them (empty at the page's start)."""

    elements: list[Any]
    after_id: str


def split_page(page: Sequence[Any]) -> tuple[Sequence[Item], list[Nameless]]:
    """Split elements into those that can be rows and those that cannot: no object, or no valid id."""
    if len(ids_of(page)) == len(page):
        return page, []
    items: list[Item] = []
    others: dict[int, list[Any]] = {}
    for element in page:
        if id_of(element) is None:
            others.setdefault(len(items), []).append(element)
        else:
            items.append(element)
    ids = ["", *(item["id"] for item in items)]
    return items, [Nameless(elements, ids[at]) for at, elements in others.items()]
