"""Error messages in one line, without the secrets of destinations: drivers quote what they cannot parse."""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.exceptions import DltException
from dlt.common.typing import AnyType
from pydantic import SecretStr

from letta_source.api.redact import Redactor
from letta_source.destinations.dlt_internals import cause_of
from letta_source.errors import ConfigError, ExitCode, LettaError
from letta_source.settings.places import is_environment, providers

logger = logging.getLogger(__name__)
_SECTION = "destination"
_VARIABLE = re.compile(r"(?:.+__)?DESTINATION__.+")
_SECRET_NAME = re.compile(
    r"passw|secret|token|private_key|passphrase|access_key|sas\b|api_?key", re.IGNORECASE
)
# A password may contain any character, even @ and / if it is not quoted as it should be.
_IN_ADDRESS = re.compile(r"^[\w+.-]+://[^:/?#]*:(.+)@")
_IN_QUERY = re.compile(r"[?&;](?:password|passwd|pwd|token|sslpassword)=([^&;]+)", re.IGNORECASE)


def setting_hint(destination: str, error: Exception) -> str:
    """Return the end of an error message that names the missing setting, if one is missing."""
    if not isinstance(error, ConfigurationException):
        return ""
    setting = "BUCKET_URL" if "bucket_url" in getattr(error, "fields", ()) else "CREDENTIALS"
    return f"; set DESTINATION__{destination.rpartition('.')[2].upper()}__{setting}"


def assert_known(what: str, names: Iterable[object], known: Sequence[str]) -> None:
    """Check names that users typed.

    Raises:
        ConfigError: one is unknown; suggests the closest known name, or lists all.
    """
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"unknown {what} {name!r}: {hint}")


def root(error: BaseException) -> BaseException:
    """Return an error's root cause, which dlt hides, or the first LettaError in the chain."""
    while not isinstance(error, LettaError):
        inner = cause_of(error)
        if inner is None:
            break
        error = inner
    return error


def one_line(error: BaseException) -> str:
    """Return an error's root cause in one line, without secrets; redact the error itself, too."""
    redact = destination_redactor()
    redact.redact_error(error)
    error = root(error)
    lines = [line.strip() for line in redact(str(error)).splitlines() if line.strip()]
    # The line after a colon says what to do, such as what to install.
    line = " ".join(lines[:2]) if lines and lines[0].endswith(":") else "".join(lines[:1])
    # Drivers show the whole URL, with the password, if they cannot parse it.
    text = re.sub(r"://.*@", "://***@", line)
    # DuckDB says so for each statement after one that could not write its file, whose error dlt drops.
    hint = ": is the disk full?" if "database has been invalidated" in text else ""
    shown = text if isinstance(error, (LettaError, DltException)) else f"{type(error).__name__}: {text}"
    return f"{shown}{hint}"


@contextmanager
def in_one_line(and_then: str) -> Iterator[None]:
    """Turn errors of dlt, drivers and the disk into a LettaError of one line while the block runs.

    Args:
        and_then: says what to do, at the end of the line.
    """
    try:
        yield
    except LettaError:
        raise
    except Exception as error:  # Drivers have exceptions of their own.
        failed = LettaError(f"{one_line(error)}: {and_then}")
        failed.exit_code = ExitCode.FAILED
        raise failed from error


@contextmanager
def failure_logged(what: str) -> Iterator[None]:
    """Log an exception in the block as a warning that begins with `what`: the load does without the block."""
    try:
        yield
    except Exception as error:  # Drivers have exceptions of their own.
        logger.warning("%s: %s", what, one_line(error))


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
