"""Parse single values: durations, dates, ids, sizes, URLs, header fields, files.

Each parser takes what people write in code, in a variable or in a TOML file. It raises ValueError with what
the value must be; the message never holds a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, timedelta
from ipaddress import ip_address
from pathlib import Path, PurePath
from typing import Any

import httpx
from pydantic import SecretStr

from letta_source.items import is_id
from letta_source.shards import Shard
from letta_source.times import parse_time

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|d)?\s*", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*((?:[kmg]i?)?b?)\s*", re.IGNORECASE)
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
_PROXY = "must be a URL such as http://proxy.example:8080, or none"


def duration_value(value: Any) -> Any:
    """Read a duration: seconds, or a text such as `10m`."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        value = float(match[1]) * _UNITS[(match[2] or "s").lower()]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return timedelta(seconds=value)
    if isinstance(value, timedelta):
        return value
    raise ValueError("must be a duration such as 600, 10m or 2h")


def moment_value(value: Any) -> Any:
    """Read a date or time."""
    if value is None:
        return None
    with suppress(ValueError):
        if isinstance(value, (str, date)):
            return parse_time(value if isinstance(value, str) else value.isoformat())
    raise ValueError("must be a date such as 2026-01-31 or 2026-01-31T12:00:00Z")


def query_value(value: Any) -> Any:
    """Read a text to search for."""
    # Python reads bytes of the command line that are not UTF-8 as lone surrogates, which JSON cannot hold.
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("must be valid text: it holds bytes that are not UTF-8")
    return value


def ids_value(value: Any) -> Any:
    """Read ids from a list, or from a text with commas between them."""
    if value is None:
        return ()
    if isinstance(value, str):
        listed = _of_json(value, "[") or [part.strip() for part in value.split(",") if part.strip()]
        if value.strip() and not listed:
            # Commas alone come from unset variables, and would choose everything.
            raise ValueError("names no id: leave it out to choose all")
        value = listed
    ids = list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(one, str) for one in ids):
        raise ValueError("must be ids, in a list or with commas between them")
    if not all(map(is_id, ids)):
        # A slash or a question mark would change which URL is requested.
        raise ValueError("one is not an id: ids look like agent-123e4567-e89b-42d3-8456-426614174000")
    return tuple(dict.fromkeys(ids))


def _of_json(text: str, opening: str) -> Any:
    """Return the value of a JSON text, as dlt reads environment variables; None if it is not JSON."""
    if text.lstrip().startswith(opening):
        with suppress(json.JSONDecodeError):
            return json.loads(text, object_pairs_hook=_once)
    return None


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs as a dictionary; refuse a name with two values, as the last would win silently."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise ValueError(f"{name} is given twice, as {found[name]!r} and as {value!r}: say which")
        found[name] = value
    return found


def shard_value(value: Any) -> Any:
    """Read a shard such as `2/4`."""
    return value if isinstance(value, Shard) else Shard.parse(str(value))


def mask_value(value: Any) -> Any:
    """Read actions by column from a mapping, JSON, or the option's `COLUMN=HOW,COLUMN=HOW`."""
    if value is None:
        return {}
    if isinstance(value, str):
        if not value.strip(", \t\r\n"):
            # Such a text comes from unset variables and would mask nothing.
            raise ValueError("must not be empty: leave it out to mask nothing")
        pairs = (part.partition("=") for part in value.split(",") if part.strip())
        value = _of_json(value, "{") or _once((name.strip(), how.strip()) for name, _, how in pairs)
    if not isinstance(value, Mapping):
        raise ValueError("must be actions by column, such as text=hash,agents.system=drop")
    mask = _once(_flat(value))
    for name, how in mask.items():
        if how not in ("drop", "hash", "redact", "keep") and not callable(how):
            raise ValueError(f"{name}: {how!r} is not drop, hash, redact or keep, as in {name}=redact")
    return mask


def _flat(mask: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested tables: TOML reads an unquoted key such as agents.system as a table with a key."""
    for name, how in mask.items():
        if isinstance(how, Mapping):
            if not how:
                raise ValueError(f"{above}{name} has no columns: name them, as in {above}{name}.text=redact")
            yield from _flat(how, f"{above}{name}.")
        else:
            yield f"{above}{name}", how


def contract_value(value: Any) -> Any:
    """Read the contract for new fields, in dlt's terms: a mode, or `{"columns": mode}`."""
    if isinstance(value, str):
        value = _of_json(value, "{") or value
    if isinstance(value, Mapping):
        if set(value) - {"tables", "data_type"} != {"columns"}:
            raise ValueError('must be evolve, discard_value or freeze, or {"columns": "freeze"}')
        value = value["columns"]
    if value == "discard_row":
        raise ValueError("must not be discard_row: no load reads the discarded rows again")
    return value


def mask_key_value(value: Any) -> Any:
    """Read a mask key; refuse a short one."""
    key = _revealed(value)
    if isinstance(key, str) and len(key.strip()) < 16:
        raise ValueError("must have at least 16 characters: a shorter one can be guessed")
    return value


def header_value(value: Any) -> Any:
    """Check a value that goes into a header: a later error about it would show it."""
    value = _revealed(value)
    if isinstance(value, str):
        # Keys read from a file end in a line break.
        value = value.strip()
        if not (value.isascii() and value.isprintable()):
            raise ValueError("must be plain ASCII, without line breaks")
    return value


def _revealed(value: Any) -> Any:
    """Return the text of a secret, else the value; refuse bytes, which pydantic takes as text unchecked."""
    if isinstance(value, bytes):
        raise ValueError("must be a text")
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def key_value(value: Any) -> Any:
    """Check an API key: files for `docker --env-file` keep quotes, and documents show it after `Bearer`."""
    key = header_value(value)
    if isinstance(key, str) and key[:1] in ("'", '"') and key[:1] == key[-1:]:
        raise ValueError("must not be in quotes")
    if isinstance(key, str) and key.lower().startswith("bearer "):
        raise ValueError("must be the key alone, without Bearer")
    return key


def number_value(value: Any) -> Any:
    """Refuse true and false, which pydantic takes as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def proxy_value(value: Any) -> Any:
    """Check the URL of a proxy, or `none`; an error does not show it, as it may hold a password."""
    url = _revealed(value)
    if not isinstance(url, str):
        raise ValueError(_PROXY)
    url = url.strip()
    if url.lower() == "none":
        return "none"
    parsed = _parsed(url)
    if parsed.scheme not in ("http", "https", "socks5", "socks5h") or not parsed.host:
        raise ValueError(_PROXY)
    return url


def _parsed(url: str) -> httpx.URL:
    """Parse a URL; return an empty one if it is invalid or its port is beyond 65535, which httpx accepts."""
    with suppress(httpx.InvalidURL, UnicodeError):  # The second: invalid Punycode.
        parsed = httpx.URL(url)
        if parsed.host and (parsed.port is None or 0 < parsed.port < 1 << 16):
            return parsed
    return httpx.URL("")


def file_value(value: Any) -> Any:
    """Read the path of an existing file."""
    if isinstance(value, PurePath):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be the path of a file")
    if not Path(value).is_file():
        raise ValueError(f"there is no file {value}")
    return value


def files_value(value: Any) -> Any:
    """Check a file with certificate and key, or two files with a comma between them."""
    if isinstance(value, str) and not Path(value).is_file():
        parts = [part.strip() for part in value.split(",")]
        if len(parts) <= 2:
            return ",".join(file_value(part) for part in parts)
    return file_value(value)


def bytes_value(value: Any) -> Any:
    """Read a size such as `512MB`."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        value = float(match[1]) * _SIZES[match[2].lower().removesuffix("b")]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return int(value)
    raise ValueError("must be a size such as 512MB or 1GiB")


def url_value(value: Any) -> Any:
    """Read a base URL; refuse one that holds more than an address."""
    url = str(value).strip().rstrip("/").removesuffix("/v1")
    parsed = _parsed(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("must be a URL such as http://localhost:8283")
    if "?" in url or "#" in url:
        raise ValueError("must not hold a query or a fragment: only host and path, before /v1")
    if parsed.userinfo:
        raise ValueError("must not hold a user or password: give the key as api_key")
    return url


def is_loopback(host: str) -> bool:
    """Return True if the host is this machine: requests to it need no proxy and no encryption."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
