"""Parse the setting `headers`; no message holds a value, as they are secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from letta_source.settings.values import header_value

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Changing these would break the requests or send them elsewhere.
_OWN_HEADERS = {
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept-encoding",
}


def headers_value(value: Any) -> Any:
    """Read header fields by name from a mapping, JSON, or a text with one `Name: value` per line."""
    if value is None:
        return {}
    if isinstance(value, SecretStr):
        pairs = _pairs_of_text(value.get_secret_value())
    else:
        pairs = list(value.items()) if isinstance(value, Mapping) else None
    if pairs is None:
        raise ValueError('must be a mapping such as {"X-Tenant": "zoo"}, or lines such as X-Tenant: zoo')
    headers: dict[str, Any] = {}
    for name, field in pairs:
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise ValueError("one is not the name of a header: letters, digits and hyphens")
        if name.lower() in map(str.lower, headers):
            raise ValueError(f"{name}: is given twice")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"{name}: is set by this program")
        try:
            headers[name] = header_value(str(field) if isinstance(field, (int, float)) else field)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if not isinstance(headers[name], str):
            raise ValueError(f"{name}: must be a text")
    return headers


def _pairs_of_text(text: str) -> list[tuple[Any, Any]] | None:
    """Return names and values; None if the text is neither JSON nor lines of headers."""
    if text.lstrip().startswith("{"):
        with suppress(json.JSONDecodeError):
            return list(json.loads(text, object_pairs_hook=list))
        return None
    fields = [line.partition(":") for line in text.splitlines() if line.strip()]
    if not all(colon for _, colon, _ in fields):
        return None
    return [(name.strip(), value.strip()) for name, _, value in fields]
