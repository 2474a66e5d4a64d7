"""The places of settings: the environment, and dlt's files and vaults.

dlt itself would also look up an argument without its section, so that BASE_URL, API_KEY or START_DATE of any
other program counted (dlt-hub/dlt#2848). Here only `[PIPELINE.]sources.letta.NAME` counts, as environment
variable `[PIPELINE__]SOURCES__LETTA__NAME`, and LETTA_API_KEY, LETTA_BASE_URL and LETTA_PROJECT.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from letta_source.errors import ConfigError
from letta_source.settings.given import SECRETS, Given, wrapped

SECTION = "letta"
VARIABLES = {"api_key": "LETTA_API_KEY", "base_url": "LETTA_BASE_URL", "project": "LETTA_PROJECT"}
"""Variables of Letta's own clients, by setting."""

Path = tuple[str, ...]
_TWICE = re.compile(r'Key "([\w.-]{1,60})" already exists\.')


@dataclass(frozen=True)
class Layer:
    """Settings from one place, with the name of each setting's place."""

    values: Given
    where: Mapping[str, str]


@dataclass(frozen=True)
class Configuration:
    """Settings by place, the most specific first; Letta's variables rank between environment and files."""

    environment: Sequence[Layer] = ()
    files: Sequence[Layer] = ()


def lettas_variables(environ: Mapping[str, str] | None = None) -> Layer:
    """Return the settings from Letta's own variables; empty ones count as unset."""
    # The environment is never a local variable: its repr shows every secret.
    found = {
        name: (os.environ if environ is None else environ).get(variable)
        for name, variable in VARIABLES.items()
        if name not in SECRETS
    }
    values = Given.of({name: value for name, value in found.items() if value})
    for name in SECRETS & VARIABLES.keys():
        if (os.environ if environ is None else environ).get(VARIABLES[name]):
            values[name] = wrapped(name, (os.environ if environ is None else environ)[VARIABLES[name]])
    return Layer(values, VARIABLES)


def paths(source: str, pipeline: str | None) -> list[Path]:
    """Return the sections that are read, the most specific first: the pipeline's, then those of all.

    Args:
        source: name of the dlt source; it differs from `letta` if the source was cloned under a new name.
    """
    sections: list[Path] = [("sources", SECTION, source), ("sources", SECTION)]
    if source != SECTION:
        sections.append(("sources", source))
    prefixed = [(pipeline, *section) for section in sections] if pipeline else []
    return [*prefixed, *sections]


def configured(names: Iterable[str], at: Sequence[Path]) -> Configuration:
    """Read the settings of these names from dlt's configuration providers.

    Raises:
        ConfigError: one of dlt's files cannot be read, a variable is empty, or a secret is in a file that is
            not for secrets.
    """
    names = list(names)
    environment: list[Layer] = []
    files: list[Layer] = []
    for provider in providers():
        for path in at:
            layer = _layer(provider, names, path)
            if layer.values:
                (environment if is_environment(provider) else files).append(layer)
    return Configuration(environment, files)


def providers() -> Sequence[Any]:
    """Return dlt's configuration providers in order.

    Raises:
        ConfigError: one of dlt's files cannot be read, or the current folder was deleted.
    """
    import dlt

    if not _has_folder():
        raise ConfigError("the current folder was deleted: change to one that exists")
    try:
        found = list(dlt.config.config_providers)
        _assert_files(found)
        return found
    except ConfigError:
        raise
    except Exception as error:  # From tomlkit, from decoding, from vaults.
        why = _unreadable(error)
    # Raised outside `except`: a chained error would show a line of the file, or all of it.
    raise ConfigError(why)


def _assert_files(found: Iterable[Any]) -> None:
    """Refuse paths of configuration files that lead to no file.

    dlt reads nothing there: a mask would be missed. A container's mount makes a folder of a missing file, and
    leaves a dangling link of a removed one.
    """
    for provider in found:
        for path in getattr(provider, "locations", ()) if provider.name.endswith(".toml") else ():
            if os.path.isdir(path):
                raise ConfigError(f"{path} is a folder: put a file in its place, or remove it")
            if os.path.islink(path) and not os.path.exists(path):
                raise ConfigError(f"{path} is a link to a file that does not exist: fix it, or remove it")


def is_environment(provider: Any) -> bool:
    """Return True for dlt's provider of environment variables: it alone has upper-case keys."""
    return bool(provider.get_key_name("name", "section") == "SECTION__NAME")


def _layer(provider: Any, names: Iterable[str], path: Path) -> Layer:
    from dlt.common.typing import AnyType, TSecretStrValue

    values, where = Given(), {}
    for name in names:
        hint = TSecretStrValue if name in SECRETS else AnyType
        found = wrapped(name, provider.get_value(name, hint, None, *path)[0])
        if found is None:
            continue
        key = provider.get_key_name(name, *path)
        if is_environment(provider):
            where[name] = key
            if not is_not_blank(found):
                raise ConfigError(f"{key} is empty: give it a value, or unset it")
        else:
            where[name] = f"{key} in {provider.get_value_location(name, None, *path) or provider.name}"
            if name in SECRETS and not provider.supports_secrets:
                raise ConfigError(
                    f"{where[name]} is a secret: move it to secrets.toml, a vault or an environment variable"
                )
        values[name] = found
    return Layer(values, where)


def is_not_blank(value: Any) -> bool:
    """Return True unless the value is a blank text."""
    text = getattr(value, "get_secret_value", lambda: value)()
    return not isinstance(text, str) or bool(text.strip())


def _has_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _unreadable(error: BaseException) -> str:
    """Say which of dlt's files is wrong and where, without quoting it."""
    import tomlkit.exceptions

    files = ""
    seen: BaseException | None = error
    while seen is not None:
        if paths := getattr(seen, "full_paths", None):
            files = " or ".join(str(path) for path in paths)
        if isinstance(seen, tomlkit.exceptions.ParseError):
            return (
                f"{files or 'a file of dlt'} is not valid TOML: see line {seen.line}, column {seen.col}"
                " (a file from Windows may begin with a byte order mark: save it without)"
            )
        if isinstance(seen, tomlkit.exceptions.TOMLKitError):
            # It does not say which line. The name of a key is not a secret.
            key = _TWICE.fullmatch(str(seen))
            return f"{files} is not valid TOML" + (f": the key {key[1]} is set twice" if key else "")
        if isinstance(seen, UnicodeDecodeError):
            return f"{files or 'a file of .dlt'} is not in UTF-8 at byte {seen.start}: save it as UTF-8"
        if isinstance(seen, ValueError) and str(seen).startswith("Unknown level"):
            return "runtime.log_level, a setting of dlt, must be a level such as WARNING or INFO"
        if isinstance(seen, OSError):
            return f"{seen.filename or files or 'a file of dlt'} cannot be read: {seen.strerror}"
        seen = seen.__cause__ or seen.__context__
    return f"dlt's configuration cannot be read: {type(error).__name__}{files and f' of {files}'}"
