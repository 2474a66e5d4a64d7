"""Compare values between server and warehouse, and find those that a mask or a limit hides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from letta_source.rows.mask import REDACTED, Mask
from letta_source.safe_text import parse_json
from letta_source.schema.card import Resource
from letta_source.schema.columns import EXTRA, Column
from letta_source.settings import Settings
from letta_source.settings.masking import logged_masking
from letta_source.times import parse_time

_HASH = re.compile(r'"?[0-9a-f]{64}"?')
# What replaces an image.
_HASHED = re.compile(r"(?:hmac-)?sha256:[0-9a-f]{64}")
# An image, or what replaces one.
_IMAGE = re.compile(r"data:image/|sha256:[0-9a-f]{64}|\"image")
# A text is cut to whole characters, of 4 bytes at most.
_LONGEST_CHARACTER = 4


def unequal(column: Column, sent: pa.ChunkedArray, held: pa.ChunkedArray) -> Iterator[tuple[int, Any, Any]]:
    """Yield the positions at which two columns differ, and both values."""
    held = held.cast(sent.type)
    both_null = pc.and_(pc.is_null(sent), pc.is_null(held))
    same = pc.or_(pc.fill_null(pc.equal(sent, held), False), both_null)
    if pc.all(same).as_py():
        return
    for at in pc.indices_nonzero(pc.invert(same)).to_pylist():
        new, old = sent[at].as_py(), held[at].as_py()
        if column.type == "json" and None not in (new, old) and _parsed(new) == _parsed(old):
            continue
        if column.type == "double" and new != new and old != old:
            continue
        yield at, new, old


def really_edited(names: list[str], sent: pa.Table, held: pa.Table) -> list[str]:
    """Return the columns that differ, apart from values that an older version kept in `extra` instead."""
    new, old = (_parsed(one.column(EXTRA.name)[0].as_py() or "{}") for one in (sent, held))
    if not (isinstance(new, dict) and isinstance(old, dict)):
        return names
    moved = {name for name in old.keys() - new.keys() if name in sent.column_names}
    same = {
        name for name in moved if held.column(name)[0].as_py() is None and _is_value(sent, name, old[name])
    }
    if {name: value for name, value in old.items() if name not in same} == new:
        same.add(EXTRA.name)
    return [name for name in names if name not in same]


def _is_value(sent: pa.Table, name: str, value: Any) -> bool:
    """Return True if a column of a single row holds this JSON value."""
    found = sent.column(name)[0].as_py()
    if isinstance(found, datetime) and isinstance(value, str):
        with suppress(ValueError):
            return parse_time(value) == found
    return bool(found == value) or (isinstance(found, str) and _parsed(found) == value)


def _parsed(text: str) -> Any:
    try:
        return parse_json(text.encode())
    except ValueError:
        return text


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
        """Return True if a mask or a limit may explain the difference of two values.

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
            if self._images_then(load_id) != self._settings.images:
                return _is_of_image(column, sent, held)
            # With another `mask_key`, the same image has another hash; its size stays.
            return _has_hash(sent) and _HASHED.sub("", sent) == _HASHED.sub("", held or "")
        return _looks_masked(column, held)

    def shown_now(self, load_id: str) -> Iterator[str]:
        """Yield the columns that this load masked and the current settings do not; images count as one."""
        for table in self._card.tables:
            for name in self._columns_then(table.name, load_id) - self.columns(table.name):
                yield f"{table.name}.{name}"
        if load_id in self._masks and self._settings.images == "keep" != self._images_then(load_id):
            yield "images"

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
        masking = logged_masking(masks)
        settings = self._settings.model_copy(update={"mask": masking.mask}).found({}, masking)
        return Mask(self._card, settings).hidden(table)

    def _images_then(self, load_id: str) -> str:
        return logged_masking(self._masks[load_id]).images or "keep"


def shown_since_last(hidings: Iterable[Hiding], load_ids: Iterable[str]) -> list[str]:
    """Return the columns that the last of these loads masked and the current settings do not."""
    last = max(load_ids, default="")
    return sorted({name for hiding in hidings for name in hiding.shown_now(last)})


def _is_of_image(column: Column, sent: Any, held: Any) -> bool:
    return column.name in ("data", "url") or any(_IMAGE.search(one or "") for one in (sent, held))


def _has_hash(text: Any) -> bool:
    return isinstance(text, str) and bool(_HASHED.search(text))


def _looks_masked(column: Column, held: Any) -> bool:
    if held is None:
        return column.content
    return REDACTED in (held, held.strip('"')) or bool(_HASH.fullmatch(held))
