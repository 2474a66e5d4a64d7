"""Names and types of dlt's settings for loading, from the configuration classes that dlt resolves."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, Union, get_origin

from letta_source.destinations.dlt_internals import broken

try:
    from dlt.common.configuration.exceptions import ConfigValueCannotBeCoercedException
    from dlt.common.configuration.specs.base_configuration import (
        BaseConfiguration,
        ContainerInjectableContext,
        CredentialsConfiguration,
        is_base_configuration_inner_hint,
    )
    from dlt.common.configuration.utils import deserialize_value
    from dlt.common.data_writers.buffered import BufferedDataWriter
    from dlt.common.destination.configuration import CsvFormatConfiguration, ParquetFormatConfiguration
    from dlt.common.schema.configuration import SchemaConfiguration
    from dlt.extract.pipe_iterator import PipeIterator
    from dlt.load.configuration import LoaderConfiguration
    from dlt.normalize.configuration import NormalizeConfiguration
except ImportError as error:
    raise broken(str(error.name), f"its settings cannot be checked ({error})") from error

_SPECS: tuple[tuple[str, type[BaseConfiguration]], ...] = (
    ("load", LoaderConfiguration),
    ("normalize", NormalizeConfiguration),
    ("extract", PipeIterator.PipeIteratorConfiguration),
    ("schema", SchemaConfiguration),
    ("data_writer", BufferedDataWriter.BufferedDataWriterConfiguration),
    ("data_writer", ParquetFormatConfiguration),
    ("data_writer", CsvFormatConfiguration),
)
_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@cache
def settings_of_steps() -> dict[str, Any]:
    """Map each setting of dlt's steps, such as `load.workers`, to its type."""
    return {name: hint for section, spec in _SPECS for name, hint in settings_of(spec, section)}


def settings_of(spec: type[BaseConfiguration], section: str) -> Iterator[tuple[str, Any]]:
    """Yield each setting of a configuration with its type, except credentials."""
    for name, hint in spec.get_resolvable_fields().items():
        hints = (hint, *getattr(hint, "__args__", ()))
        inner: Any = next(filter(is_base_configuration_inner_hint, hints), None)
        if inner is None:
            yield f"{section}.{name}", hint
        elif issubclass(inner, CredentialsConfiguration | ContainerInjectableContext):
            continue
        else:
            # Settings of a hidden field have no section of their own.
            yield from settings_of(inner, section if name.startswith("_") else f"{section}.{name}")


def is_of_type(name: str, configured: Any, hint: Any) -> bool:
    """Return True if dlt can convert the configured value to the setting's type."""
    if get_origin(hint) is Union:
        kinds = [one for one in hint.__args__ if one is not type(None)]
        hint = kinds[0] if len(kinds) == 1 else Any
    if get_origin(hint) not in (None, Literal):
        # dlt checks only the outer type of such values, when it reads the setting.
        return True
    try:
        deserialize_value(name, configured, hint)
    except (ConfigValueCannotBeCoercedException, ValueError):
        return False
    return True


def type_for_people(hint: Any) -> str:
    """Describe what a setting must be: a number, true or false, or one of some words."""
    for one in (hint, *getattr(hint, "__args__", ())):
        if get_origin(one) is Literal:
            return f"one of {', '.join(one.__args__)}"
        if one in _TYPES:
            return _TYPES[one]
    return "of another type"
