"""Values that cannot be compared, because a mask or a limit of the destination hides what was there."""

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

# As `str(Masking)` has them: `text=drop (as given), images=hash (LETTA_…)`.
_TOLD = re.compile(r"([\w.]+)=(drop|hash|redact|keep|a function) \(")
_HASH = re.compile(r'"?[0-9a-f]{64}"?')
# What stands for an image, or is one.
_IMAGE = re.compile(r"data:image/|sha256:[0-9a-f]{64}|\"image")
# A text is cut to whole characters, of 4 bytes at most.
_LONGEST_CHARACTER = 4


class Hiding:
    """Tells of one resource which values a mask or a limit hides.

    Args:
        masks: by load id the masks that it ran under, as load_log has them; a load that is not in it may
            have run under any.
        longest: bytes of a text that the destination holds; None for any number.
    """

    def __init__(
        self, card: Resource, settings: Settings, masks: Mapping[str, str], longest: int | None = None
    ) -> None:
        self._card = card
        self._settings = settings
        self._masks = masks
        self._longest = longest
        self._now = Mask(card, settings)
        # For this object alone: a cache of the method would keep it.
        self._then = lru_cache(maxsize=None)(self._masked_then)

    def columns(self, table: str) -> frozenset[str]:
        """Return the columns of a table that the masks in force hide."""
        return self._now.hidden(table)

    def hides(self, table: str, column: Column, load_id: str, sent: Any, held: Any) -> bool:
        """Tell whether two values may differ only by what is hidden.

        Args:
            load_id: that wrote the row.
            sent: by the server, as a load would store it now.
            held: by the warehouse.
        """
        if column.type not in ("text", "json"):
            # They can only be dropped.
            return held is None and column.name in self._columns_then(table, load_id)
        if self._is_cut(sent, held) or column.name in self._columns_then(table, load_id):
            return True
        if load_id in self._masks:
            return self._images_then(load_id) != self._settings.images and _is_of_image(column, sent, held)
        return _looks_masked(column, held)

    def _is_cut(self, sent: Any, held: Any) -> bool:
        if self._longest is None or not (isinstance(sent, str) and isinstance(held, str)):
            return False
        # A load of before may have cut it otherwise.
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
