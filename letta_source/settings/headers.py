"""Parse the setting `headers`; no message holds a value, as they are secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
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
        value = _headers_of_text(value.get_secret_value())
    if not isinstance(value, Mapping):
        raise ValueError('must be a mapping such as {"X-Tenant": "zoo"}, or lines such as X-Tenant: zoo')
    headers = {}
    for name, field in value.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise ValueError("one is not the name of a header: letters, digits and hyphens")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"{name}: is set by this program")
        try:
            headers[name] = header_value(str(field) if isinstance(field, (int, float)) else field)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if not isinstance(headers[name], str):
            raise ValueError(f"{name}: must be a text")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("a header is given twice")
    return headers


def _headers_of_text(text: str) -> Any:
    if text.lstrip().startswith("{"):
        with suppress(json.JSONDecodeError):
            return json.loads(text, object_pairs_hook=_headers_once)
        return None
    fields = [line.partition(":") for line in text.splitlines() if line.strip()]
    if not all(colon for _, colon, _ in fields):
        return None
    return _headers_once((name.strip(), value.strip()) for name, _, value in fields)


def _headers_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs as a dictionary; refuse a name that comes twice, without the values: they are secret."""
    pairs = list(pairs)
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a header is given twice")
    return found
