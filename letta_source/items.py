"""Elements of the API's lists, and their ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

# What stands in URLs and keys as it is: no slash, NUL or lone surrogate. Letta's are `kind-uuid`.
_ID = re.compile(r"(?!\.{1,2}\Z)[\w.:@+=~-]{1,255}")
# Ids of these alone, and no longer than this, need no look at each: `_ID` takes them.
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_LONGEST = 255


class Items(list[Any]):
    """The elements of one page, as sent; none is put in or taken out any more."""

    @cached_property
    def ids(self) -> list[str]:
        """The ids of those elements that have one."""
        return _ids_of(self)


def id_of(item: Any) -> str | None:
    """The item's id, or None where it has none that it could be asked for and kept by."""
    found = item.get("id") if isinstance(item, dict) else None
    return found if isinstance(found, str) and is_id(found) else None


def is_id(text: str) -> bool:
    """True if the text can be asked for and kept by: as a piece of a URL it stays one piece."""
    return _ID.fullmatch(text) is not None


def ids_of(items: Sequence[Any]) -> list[str]:
    """The ids of those items that have one."""
    return items.ids if isinstance(items, Items) else _ids_of(items)


def _ids_of(items: Sequence[Any]) -> list[str]:
    try:
        ids: list[str] = [item["id"] for item in items]
        if _are_plain(ids):
            return ids
    except (TypeError, KeyError, ValueError):
        # Some element is no object, or its id is missing, no text or none that UTF-8 can hold.
        pass
    return [found for item in items if (found := id_of(item)) is not None]


def _are_plain(ids: list[str]) -> bool:
    joined = "".join(ids).encode()
    return all(ids) and max(map(len, ids), default=0) <= _LONGEST and not joined.translate(None, _PLAIN)
