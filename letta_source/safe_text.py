"""Text and JSON that every warehouse accepts: no NUL, no lone surrogates, no NaN, no endless nesting."""

from __future__ import annotations

import json
import re
import threading
from math import isfinite
from typing import Any

import orjson
from pydantic_core import from_json

MAX_DEPTH = 200
"""The most levels of arrays and objects, the same as in `from_json`."""

# PostgreSQL refuses NUL in text and json; no UTF-8 file can hold a lone surrogate.
_UNSAFE = re.compile("[\x00\ud800-\udfff]")
_MARKS = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)


# Control characters of C0 and C1, which act on terminals; marks, overrides and isolates of bidirectional
# text; line separators; invisible characters, such as soft hyphens, fillers, tags and variation selectors
# that no letter needs; and those not allowed in XML. Joiners stay: scripts and emoji need them.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def visible(text: str, keep: str = "") -> str:
    """Return `text` with each invisible or control character as its escape, such as `\\x1b`.

    Messages, names and errors are written by others: ESC could overwrite the terminal, and a direction
    override could reverse the text.

    Args:
        keep: characters that may stay, such as line breaks.
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


class _Cleaned(threading.local):
    texts = 0


_cleaned = _Cleaned()


def cleaned() -> int:
    """Return how many texts `clean` has changed in this thread so far."""
    return _cleaned.texts


def clean(text: str) -> str:
    """Return `text` with each NUL and each lone surrogate replaced by U+FFFD."""
    safe, found = _UNSAFE.subn("\ufffd", text)
    _cleaned.texts += bool(found)
    return safe


def clean_json(value: Any) -> Any:
    """Return `value` with every text in it cleaned, including keys, and NaN and infinities as text."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        cleaned: dict[str, Any] = {}
        for key, inner in value.items():
            name = clean(key)
            while name in cleaned:
                name += "\ufffd"
            cleaned[name] = clean_json(inner)
        return cleaned
    if isinstance(value, list):
        return [clean_json(inner) for inner in value]
    if isinstance(value, float) and not isfinite(value):
        return json.dumps(value)
    return value


def to_json(value: Any) -> str | None:
    """Return `value` as a JSON text; None stays None."""
    if value is None:
        return None
    try:
        text = orjson.dumps(value).decode()
        if "null" in text:
            # orjson writes NaN as null too, while this raises ValueError.
            json.dumps(value, allow_nan=False)
        if "\\u0000" not in text:
            return text
    except (TypeError, ValueError):
        # orjson accepts neither lone surrogates nor integers beyond 64 bits.
        pass
    return json.dumps(clean_json(value), ensure_ascii=False, separators=(",", ":"))


def parse_json(sent: bytes) -> Any:
    """Parse JSON, including lone surrogates and endless nesting.

    Arrays and objects beyond 200 levels stay text as sent, because neither Python nor warehouses can handle
    endless nesting. So do integers of more than 4300 digits.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        # Unlike orjson, it keeps integers beyond 64 bits.
        return from_json(sent, cache_strings="keys")
    except ValueError:
        # It refuses lone surrogates, which the server sends as it received them.
        return json.loads(_shallow(sent), parse_int=_int)


def _shallow(sent: bytes) -> bytes:
    """Return `sent` with every array and object beyond the deepest level as a JSON string of its text."""
    parts: list[bytes] = []
    depth, taken, in_text = 0, 0, False
    for found in _MARKS.finditer(sent):
        mark = found[0]
        if mark == b'"':
            in_text = not in_text
        elif in_text:
            continue
        elif mark in b"[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                parts.append(sent[taken : found.start()])
                taken = found.start()
        elif mark in b"]}":
            if depth == MAX_DEPTH + 1:
                parts.append(json.dumps(sent[taken : found.end()].decode()).encode())
                taken = found.end()
            depth -= 1
    if depth <= MAX_DEPTH:
        parts.append(sent[taken:])
    return b"".join(parts)


def _int(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits
