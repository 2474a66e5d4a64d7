"""Find values that cannot be compared, because a mask or a limit of the destination hides them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from letta_source.rows.mask import REDACTED, Mask
from letta_source.schema.card import Resource
from letta_source.schema.columns import Column
from letta_source.settings import MaskAction, Settings
from letta_source.settings.masking import Masking

# The form of `str(Masking)`: `text=drop (as given), images=hash (LETTA_…)`.
_TOLD = re.compile(r"([\w.]+)=(drop|hash|redact|keep|a function) \(")
_HASH = re.compile(r'"?[0-9a-f]{64}"?')
# An image, or what replaces one.
_IMAGE = re.compile(r"data:image/|sha256:[0-9a-f]{64}|\"image")
# A text is cut to whole characters, of 4 bytes at most.
_LONGEST_CHARACTER = 4


class Hiding:
    """Tells which values of one resource a mask or a limit hides.

    Args:
        masks: the masks of each load, by load id, as in load_log; a load that is missing may have had any.
        longest: longest text that the destination holds, in bytes; None if there is no limit.
    """

    def __init__(
        self, card: Resource, settings: Settings, masks: Mapping[str, str], longest: int | None = None
    ) -> None:
        self._card = card
        self._settings = settings
        self._masks = masks
        self._longest = longest
        self._now = Mask(card, settings)
        # A cache of this object; one of the method would keep the object alive.
        self._then = lru_cache(maxsize=None)(self._masked_then)

    def columns(self, table: str) -> frozenset[str]:
        """Return the columns of a table that the current masks hide."""
        return self._now.hidden(table)

    def hides(self, table: str, column: Column, load_id: str, sent: Any, held: Any) -> bool:
        """Return True if two values may differ only by what is hidden.

        Args:
            load_id: the load that wrote the row.
            sent: the server's value, as a load would store it now.
            held: the warehouse's value.
        """
        if column.type not in ("text", "json"):
            # Values of other types can only be dropped.
            return held is None and column.name in self._columns_then(table, load_id)
        if self._is_cut(sent, held) or column.name in self._columns_then(table, load_id):
            return True
        if load_id in self._masks:
            return self._images_then(load_id) != self._settings.images and _is_of_image(column, sent, held)
        return _looks_masked(column, held)

    def _is_cut(self, sent: Any, held: Any) -> bool:
        if self._longest is None or not (isinstance(sent, str) and isinstance(held, str)):
            return False
        # An earlier load may have cut it elsewhere.
        ends = min(len(sent.encode()), len(held.encode())) > self._longest - _LONGEST_CHARACTER
        return ends and (sent.startswith(held) or held.startswith(sent))

    def _columns_then(self, table: str, load_id: str) -> frozenset[str]:
        masks = self._masks.get(load_id)
        return self._then(masks, table) if masks else frozenset()

    def _masked_then(self, masks: str, table: str) -> frozenset[str]:
        found: dict[str, MaskAction] = {
            name: "redact" if how == "a function" else how
            for name, how in _TOLD.findall(masks)
            if name != "images"
        }
        masking = Masking([("load_log", found)])
        settings = self._settings.model_copy(update={"mask": found}).found({}, masking)
        return Mask(self._card, settings).hidden(table)

    def _images_then(self, load_id: str) -> str:
        found = dict(_TOLD.findall(self._masks[load_id]))
        return str(found.get("images", "keep"))


def _is_of_image(column: Column, sent: Any, held: Any) -> bool:
    return column.name in ("data", "url") or any(_IMAGE.search(one or "") for one in (sent, held))


def _looks_masked(column: Column, held: Any) -> bool:
    if held is None:
        return column.content
    return REDACTED in (held, held.strip('"')) or bool(_HASH.fullmatch(held))
