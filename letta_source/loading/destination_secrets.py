"""Find the configured secrets of destinations to redact them: drivers quote what they cannot parse."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from dlt.common.typing import AnyType
from pydantic import SecretStr

from letta_source.api.redact import Redactor
from letta_source.errors import ConfigError
from letta_source.settings.places import is_environment, providers

_SECTION = "destination"
_VARIABLE = re.compile(r"(?:.+__)?DESTINATION__.+")
_SECRET_NAME = re.compile(
    r"passw|secret|token|private_key|passphrase|access_key|sas\b|api_?key", re.IGNORECASE
)
# A password may contain any character, even @ and / if it is not quoted as it should be.
_IN_ADDRESS = re.compile(r"^[\w+.-]+://[^:/?#]*:(.+)@")
_IN_QUERY = re.compile(r"[?&;](?:password|passwd|pwd|token|sslpassword)=([^&;]+)", re.IGNORECASE)


def destination_redactor() -> Redactor:
    """Return a redactor of every secret below `destination` in the environment and in dlt's files."""
    return Redactor(_configured())


def _configured() -> Iterator[SecretStr]:
    for name in os.environ:
        if _VARIABLE.fullmatch(name):
            yield from _secrets_of(name, os.environ[name])
    try:
        found = providers()
    except ConfigError:
        return
    for provider in found:
        if not is_environment(provider):
            yield from _secrets_of(_SECTION, provider.get_value(_SECTION, AnyType, None)[0])


def _secrets_of(name: str, value: Any) -> Iterator[SecretStr]:
    if isinstance(value, Mapping):
        for key in value:
            yield from _secrets_of(str(key), value[key])
        return
    if not isinstance(value, str):
        return
    if value.lstrip().startswith("{"):
        # Credentials may be given as JSON.
        yield from _secrets_of(name, _parsed(value))
    elif _SECRET_NAME.search(name.rpartition("__")[2] or name):
        yield SecretStr(value)
    for found in (_IN_ADDRESS.search(value), *_IN_QUERY.finditer(value)):
        if found:
            yield SecretStr(found[1])
            yield SecretStr(unquote(found[1]))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
