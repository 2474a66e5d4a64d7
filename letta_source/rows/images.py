"""Remove images from messages: they come as base64, hundreds of kB in one value."""

from __future__ import annotations

import base64
import binascii
import re
from functools import partial
from hashlib import sha256
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import SecretStr

from letta_source.arrays import text_array
from letta_source.safe_text import parse_json, to_json
from letta_source.schema.columns import EXTRA
from letta_source.settings.given import keyed_hash

How = Literal["keep", "drop", "hash"]

_DATA_URL = re.compile(r"data:image/[\w.+-]+((?:;[\w=.-]+)*),([A-Za-z0-9+/=_%-]*)")
_TYPES = ("image", "image_url", "input_image")
_HELD = {"data", "url", "image_url"}
# Columns that may hold content parts as JSON.
_PARTS = {"tool_return", EXTRA.name}


class Images:
    """Drops images, or replaces them by their hash and size, such as `sha256:9f86… 51234 bytes`.

    Args:
        key: if set, hashes are HMACs, so that nobody can match them with an image they have.
    """

    def __init__(self, how: How, key: SecretStr | None) -> None:
        self._how = how
        self._key = key

    def without(self, rows: pa.Table) -> pa.Table:
        """Return the rows without images: content parts, JSON of such parts, data URLs in any text."""
        is_image = pc.is_in(rows.column("type"), text_array(_TYPES)) if "type" in rows.column_names else None
        for at, field in enumerate(rows.schema):
            if field.type != pa.string() or not rows.num_rows:
                continue
            column = rows.column(at)
            if is_image is not None and field.name in ("data", "url"):
                column = _changed(column, is_image, self._image)
            if is_image is not None and field.name == EXTRA.name:
                column = _changed(column, is_image, partial(self._parts, within=True))
            column = _changed(column, _says(column, "data:image/"), self._text)
            if field.name in _PARTS:
                column = _changed(column, _says(column, "image"), self._parts)
            rows = rows.set_column(at, field, column)
        return rows

    def _text(self, text: str) -> str:
        return _DATA_URL.sub(lambda found: self._image(found[0]) or "", text)

    def _parts(self, text: str, within: bool = False) -> str | None:
        try:
            sent = parse_json(text.encode())
        except ValueError:
            return text
        shown = self._shown(sent, within)
        return text if shown == sent else to_json(shown)

    def _shown(self, value: Any, within: bool) -> Any:
        if isinstance(value, list):
            return [self._shown(one, within) for one in value]
        if not isinstance(value, dict):
            return value
        media_type = str(value.get("media_type"))
        within = within or value.get("type") in _TYPES or media_type.startswith("image/")
        return {
            field: self._image(one)
            if within and field in _HELD and isinstance(one, str)
            else self._shown(one, within)
            for field, one in value.items()
        }

    def _image(self, sent: str) -> str | None:
        """Return the replacement for an image, given as base64, as a data URL, or by its URL."""
        if self._how == "drop":
            return None
        found = _DATA_URL.fullmatch(sent)
        try:
            content = base64.b64decode(found[2] if found else sent, validate=True)
            size = f" {len(content)} bytes"
        except (binascii.Error, ValueError):
            content, size = sent.encode(), ""
        if self._key:
            return f"hmac-sha256:{keyed_hash(self._key, content)}{size}"
        return f"sha256:{sha256(content).hexdigest()}{size}"


def _says(column: pa.ChunkedArray, text: str) -> pa.ChunkedArray:
    return pc.fill_null(pc.match_substring(column, text), False)


def _changed(column: pa.ChunkedArray, where: pa.ChunkedArray, change: Any) -> pa.ChunkedArray:
    if not pc.any(where).as_py():
        return column
    changed = [None if one is None else change(one) for one in column.filter(where).to_pylist()]
    return pa.chunked_array([pc.replace_with_mask(_whole(column), _whole(where), text_array(changed))])


def _whole(column: pa.ChunkedArray) -> pa.Array:
    made = column.combine_chunks()
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
