"""Text and json that every warehouse takes: no NUL, no lone surrogates."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

# PostgreSQL refuses NUL in text and json; no UTF-8 file can hold a lone surrogate.
_UNSAFE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without NUL, each lone surrogate replaced by U+FFFD."""
    return _UNSAFE.sub(lambda found: "" if found[0] == "\x00" else "\ufffd", text)


def clean_json(value: Any) -> Any:
    """`value` with every text in it cleaned, keys too."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): clean_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [clean_json(inner) for inner in value]
    return value


def to_json(value: Any) -> str | None:
    """`value` as a JSON text; None stays None."""
    if value is None:
        return None
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        # orjson takes no lone surrogate and no integer beyond 64 bits.
        return json.dumps(clean_json(value), ensure_ascii=False, separators=(",", ":"))
    return (
        json.dumps(clean_json(value), ensure_ascii=False, separators=(",", ":"))
        if "\\u0000" in text
        else text
    )
