"""Settings as given, before validation; no repr shows a value."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

SECRETS = frozenset({"api_key", "mask_key", "headers", "proxy"})
"""Settings that are, or may hold, secrets."""


class Given(dict[str, Any]):
    """Settings by name, secrets in `SecretStr`; None counts as not given.

    Crash reporters send the repr of local variables, so this one shows only the names: even the base URL may
    hold a password by mistake.
    """

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Given:
        """Copy the values that are given and wrap each secret."""
        return cls({name: wrapped(name, values[name]) for name in values if _is_given(values[name])})

    def __repr__(self) -> str:
        return f"Given({', '.join(self)})"

    __str__ = __repr__


def wrapped(name: str, value: Any) -> Any:
    """Return the value of a setting, as SecretStr if the setting is a secret."""
    if name not in SECRETS:
        return value
    if isinstance(value, Mapping):
        return Given({field: wrapped(name, value[field]) for field in value})
    return SecretStr(value) if isinstance(value, str) else value


def keyed_hash(key: SecretStr | None, content: bytes) -> str:
    """Return the HMAC-SHA256 of `content` in hexadecimal; with the empty key if there is none."""
    # The key must not be a local variable: a crash reporter would send it.
    return hmac.digest(key.get_secret_value().encode() if key else b"", content, "sha256").hex()


def _is_given(value: Any) -> bool:
    # dlt.secrets.value and dlt.config.value stand for the configured value.
    return value is not None and type(value).__name__ != "ConfigValueSentinel"
