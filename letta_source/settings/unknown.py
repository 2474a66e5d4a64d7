"""Refuse names that are not read: a mask under such a name would mask nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from letta_source.errors import ConfigError
from letta_source.settings.places import SECTION, Path, is_environment, providers

PROTECTIVE = ("mask", "mask_key", "images", "schema_contract")
"""Settings that keep data out of the warehouse: refused wherever they may be meant for this source."""

# Words that people put before a name meant for this source.
_OUR_WORDS = {"source", "sources", SECTION}
# Stands for the name of the pipeline in the documentation.
_PLACEHOLDER = "pipeline"
_ROOTS = ("sources", "source", SECTION, f"{SECTION}_source", f"sources_{SECTION}", f"sources.{SECTION}")

Tree = Mapping[str, Any]
"""Keys of a section, each with the tree below it, which is empty for a value."""


def refuse_unknown(names: Collection[str], sub_sections: Collection[str], at: Sequence[Path]) -> None:
    """Check that everything configured for this source is one of its settings.

    Args:
        names: names of the settings.
        sub_sections: sections below which dlt reads settings of its own, such as names of resources.
        at: the sections that are read.

    Raises:
        ConfigError: a variable or a key is not a setting; suggests the nearest one.
    """
    check = _Check(names, frozenset(sub_sections), at)
    for variable in list(os.environ):
        check.variable(variable)
    for provider in providers():
        if not is_environment(provider):
            check.provider(provider)


class _Check:
    def __init__(self, names: Collection[str], sub_sections: Collection[str], at: Sequence[Path]) -> None:
        self._names = names
        self._sub_sections = sub_sections
        self._at = at

    def variable(self, variable: str) -> None:
        """Check an environment variable, by its name alone."""
        told = re.sub("[^A-Z0-9]+", "_", variable.upper())
        for path in self._at:
            prefix = "__".join(path).upper() + "__"
            if variable.startswith(prefix):
                self._path(variable.removeprefix(prefix).lower().split("__"), path, _as_variable, variable)
                return
        found = re.fullmatch(r"(?:(.*)_)?SOURCES?_LETTA_(.+)", told)
        if found and _may_be_ours(found[1], self._at) and not self._is_of_another(variable):
            near = self._near(found[2]) or self._meant_for_us(f"{SECTION}_{found[2]}")
            raise ConfigError(
                f"{variable} is not read: {_meant(near and _as_variable(('sources', SECTION), near))}"
            )
        # The pipeline may be called as the source is: its name may be left out, or be the section.
        name = self._meant_for_us(told) or self._meant_for_us(self._without_pipeline(told))
        if name and not self._is_of_another(variable):
            raise ConfigError(
                f"{variable} is not read: did you mean {_as_variable(('sources', SECTION), name)}?"
            )

    def _without_pipeline(self, told: str) -> str:
        pipelines = {_plain(path[0]).upper() for path in self._at if path[0] != "sources"}
        return next((told.removeprefix(f"{one}_") for one in pipelines if told.startswith(f"{one}_")), told)

    def _meant_for_us(self, told: str, names: Collection[str] = ()) -> str | None:
        """Return the setting that a path most likely means, whatever separates its parts.

        Args:
            names: settings to look for besides the protective ones.
        """
        words = re.split("[^a-z0-9]+", told.lower())
        count = next((at for at, word in enumerate(words) if not _is_ours(word)), len(words))
        if not count:
            return None
        name = "_".join(words[count:])
        if not _OUR_WORDS.isdisjoint(words[:count]) and (near := _protects(name)):
            return near
        return name if count > 1 and name in names else None

    def _is_of_another(self, variable: str) -> bool:
        """Return True if a variable belongs to a source with a longer name, such as `letta_tools`."""
        found = re.match(r"(?:.+__)?SOURCES__LETTA_(.+?)__", variable)
        return found is not None and found[1].lower() not in (*self._names, "source")

    def provider(self, provider: Any) -> None:
        """Check the keys of a file or a vault."""
        if _is_file(provider) and _is_no_table(provider, "sources"):
            raise ConfigError("sources is not read: it must be one table, [sources]")
        for path in self._at:
            if _is_no_table(provider, *path):
                raise ConfigError(f"{'.'.join(path)} is not read: it must be one table, [{'.'.join(path)}]")
            for parts in _leaves(_keys(provider, *path)):
                self._path(parts, path, _as_key, ".".join((*path, *parts)))
        for section in ("source", "source.letta", "sources", "letta"):
            *above, last = section.split(".")
            keys = _keys(provider, *above, last)
            meant = PROTECTIVE if section in ("source", "sources") else self._names
            for key in keys:
                if (name := _plain(key)) in meant:
                    raise ConfigError(
                        f"{section}.{key} is not read: did you mean {_as_key(('sources', SECTION), name)}?"
                    )
        for name in PROTECTIVE:
            if _at_top(provider, name):
                raise ConfigError(f"{name} is not read: did you mean sources.{SECTION}.{name}?")
        for key, below in _keys(provider, "sources").items():
            is_near = key != SECTION and get_close_matches(key.lower(), [SECTION], cutoff=0.88)
            if is_near and any(_plain(name) in self._names for name in below):
                raise ConfigError(f"sources.{key} is not read: did you mean sources.{SECTION}?")
        if _is_file(provider):
            self._elsewhere(provider)

    def _elsewhere(self, provider: Any) -> None:
        """Check a file for other spellings of our sections; in a vault each would cost a request."""
        pipelines = sorted({path[:1] for path in self._at if path[0] != "sources"} | {(_PLACEHOLDER,)})
        for pipeline in ((), *pipelines):
            for name in PROTECTIVE:
                for spelled in (name, *_cases(name), f"{SECTION}_{name}", f"sources.{SECTION}.{name}"):
                    if spelled in _keys(provider, *pipeline) if pipeline else _at_top(provider, spelled):
                        self._refuse((*pipeline, spelled), name)
            for root in (spelled for one in _ROOTS for spelled in (one, *_cases(one))):
                for parts in _leaves(_keys(provider, *pipeline, root)):
                    path = (*pipeline, root, *parts)
                    is_read = any(path[: len(one)] == one for one in self._at)
                    meant = self._meant_for_us(".".join((root, *parts)), self._names)
                    if meant and not is_read:
                        self._refuse(path, meant)

    def _refuse(self, path: Path, name: str) -> None:
        raise ConfigError(
            f"{'.'.join(path)} is not read: did you mean {_as_key(('sources', SECTION), name)}?"
        )

    def _path(self, parts: Sequence[str], path: Path, shown: Any, called: str) -> None:
        first, *below = parts
        if first in self._names:
            if below and shown is _as_variable:
                raise ConfigError(f"{called} is not read: set {shown(path, first)} as a whole")
            return
        if first in self._sub_sections:
            if (*path, first) in self._at:
                return
            # `schema` is a section of dlt: SCHEMA__CONTRACT would be read as one of its settings.
            for name in (*parts[1:], "_".join(parts)):
                meant = name if len(parts) == 2 and name in self._names else _protects(name)
                if meant:
                    raise ConfigError(f"{called} is not read: did you mean {shown(path, meant)}?")
            return
        near = self._near(first)
        raise ConfigError(f"{called} is not read: {_meant(near and shown(path, near))}")

    def _near(self, name: str) -> str | None:
        known = [*self._names, *self._sub_sections]
        return next(iter(get_close_matches(_plain(name), known, n=1)), None)


def _plain(name: str) -> str:
    return re.sub("[_-]+", "_", name.lower())


def _is_ours(word: str) -> bool:
    return word in _OUR_WORDS or bool(get_close_matches(word, [SECTION], cutoff=0.88))


def _protects(name: str) -> str | None:
    """Return the protective setting of this name, or nearly this name."""
    return next(iter(get_close_matches(_plain(name), PROTECTIVE, n=1, cutoff=0.85)), None)


def _cases(name: str) -> tuple[str, str]:
    return name.capitalize(), name.upper()


def _is_file(provider: Any) -> bool:
    """Return True for dlt's config.toml and secrets.toml; in vaults each look-up is a request."""
    return bool(provider.name.endswith(".toml"))


def _is_no_table(provider: Any, *section: str) -> bool:
    from dlt.common.typing import AnyType

    *above, last = section
    return not isinstance(provider.get_value(last, AnyType, None, *above)[0], (Mapping, type(None)))


def _meant(near: str | None) -> str:
    return f"did you mean {near}?" if near else "docs/configure.md lists the settings"


def _as_variable(path: Path, name: str) -> str:
    return "__".join((*path, name)).upper()


def _as_key(path: Path, name: str) -> str:
    return ".".join((*path, name))


def _may_be_ours(before: str | None, at: Sequence[Path]) -> bool:
    """Return True if the prefix of a variable is this pipeline's, the word `pipeline`, or empty."""
    pipelines = {re.sub("_+", "_", path[0].upper()) for path in at if path[0] != "sources"}
    return not before or before in {*pipelines, _PLACEHOLDER.upper()}


def _keys(provider: Any, *section: str) -> Tree:
    """Return the keys below a section, without the values."""
    from dlt.common.typing import AnyType

    *above, last = section
    return _tree(provider.get_value(last, AnyType, None, *above)[0])


def _at_top(provider: Any, name: str) -> bool:
    from dlt.common.typing import AnyType

    return provider.get_value(name, AnyType, None)[0] is not None


def _tree(found: Any) -> Tree:
    return {str(key): _tree(found[key]) for key in found} if isinstance(found, Mapping) else {}


def _leaves(tree: Tree) -> Iterator[list[str]]:
    for key, below in tree.items():
        if below:
            for rest in _leaves(below):
                yield [key, *rest]
        else:
            yield [key]
