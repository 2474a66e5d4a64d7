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

# In JSON, slashes and line breaks may be escaped. Base64 may be wrapped: long lines and a last one, which is
# padded or a multiple of 4 alone on its line, are told from words that follow. SVG may come as it is.
_DATA_URL = re.compile(
    r"""
    data:image\\?/[\w.+-]+  (?: ;[^,\s]{0,200} )?  ,\s*
    (
        <svg\b (?: .*?</svg> | .* )
        | (?: [\w+/=%-] | \\/ )*
          (?: (?: \s | \\[rn] )+ (?: [\w+/] | \\/ ){60,} )*
          (?: (?: \s | \\[rn] )+ (?: (?: [\w+/] | \\/ )+ ={1,2} | (?: [\w+/]{4} )+ (?= [\r\n"'\\)] | $ ) ) )?
    )
    """,
    re.IGNORECASE | re.DOTALL | re.ASCII | re.VERBOSE,
)
_WRAPPING = re.compile(r"\s|\\[rn]?")
_TYPES = ("image", "image_url", "input_image")
_HELD = {"data", "url", "image_url", "blob", "b64_json"}
# The names of Letta and Anthropic, of Gemini, and of MCP.
_MEDIA_TYPES = ("media_type", "mime_type", "mimeType")


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
            column = _changed(column, _says(column, r"data:image\\?/"), self._text)
            column = _changed(column, _says(column, r"^\s*[\[{](?s:.*)(image|b64_json)"), self._parts)
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
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            return self._parts(value, within)
        if not isinstance(value, dict):
            return value
        is_image = any(str(value.get(name)).lower().startswith("image/") for name in _MEDIA_TYPES)
        within = within or value.get("type") in _TYPES or is_image
        return {
            field: self._image(one)
            if (field == "b64_json" or (within and field in _HELD)) and isinstance(one, str)
            else self._shown(one, within)
            for field, one in value.items()
        }

    def _image(self, sent: str) -> str | None:
        """Return the replacement for an image, given as base64, as a data URL, or by its URL."""
        if self._how == "drop":
            return None
        found = _DATA_URL.fullmatch(sent)
        try:
            content = base64.b64decode(_WRAPPING.sub("", found[1]) if found else sent, validate=True)
            size = f" {len(content)} bytes"
        except (binascii.Error, ValueError):
            content, size = sent.encode(), ""
        if self._key:
            return f"hmac-sha256:{keyed_hash(self._key, content)}{size}"
        return f"sha256:{sha256(content).hexdigest()}{size}"


def _says(column: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    return pc.fill_null(pc.match_substring_regex(column, pattern, ignore_case=True), False)


def _changed(column: pa.ChunkedArray, where: pa.ChunkedArray, change: Any) -> pa.ChunkedArray:
    if not pc.any(where).as_py():
        return column
    changed = [None if one is None else change(one) for one in column.filter(where).to_pylist()]
    return pa.chunked_array([pc.replace_with_mask(_whole(column), _whole(where), text_array(changed))])


def _whole(column: pa.ChunkedArray) -> pa.Array:
    made = column.combine_chunks()
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
