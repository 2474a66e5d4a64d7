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
