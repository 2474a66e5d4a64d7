"""dlt's clients of warehouses without drivers and connections: enough to make SQL."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns
from dlt.common.schema import Schema
from dlt.common.schema.typing import TTableSchema
from dlt.common.schema.utils import pipeline_state_table

from letta_source.schema.resources import all_tables
from letta_source.schema.tables import Table
from tests.support.paths import ROOT

DOCS = (ROOT / "docs" / "warehouses.md").read_text("utf-8")


@dataclass(frozen=True)
class Example:
    """An example of the docs: the text of `.dlt/secrets.toml` for a destination."""

    destination: str
    toml: str

    def __str__(self) -> str:
        return self.destination


def examples() -> list[Example]:
    found = []
    for section in re.split(r"^## ", DOCS, flags=re.MULTILINE)[1:]:
        for toml in re.findall(r"^```toml\n(.+?)^```", section, re.MULTILINE | re.DOTALL):
            (destination,) = set(re.findall(r"--destination (\w+)", section))
            found.append(Example(destination, toml))
    return found


@dataclass(frozen=True)
class Promise:
    """A line of the docs' table of destinations.

    Attributes:
        files: formats of load files; the first is the default without staging.
        json: dlt's name for the type of json columns.
        writes: merge strategies, or append; the first is the default without a table format.
    """

    destination: str
    files: Sequence[str]
    json: str
    writes: Sequence[str]

    def __str__(self) -> str:
        return self.destination


def promises() -> list[Promise]:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| `(\w+)` \| (.+?) \|", DOCS, re.MULTILINE)
    return [
        Promise(name, re.findall("`([a-z_]+)`", files), json, re.findall("`([a-z][a-z-]+)`", writes))
        for name, files, json, writes in rows
    ]


class _Class(Exception):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()


class _Driver(ModuleType):
    """A module of a driver that is not installed: it has classes to name and to inherit from."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # Makes it a package, which may contain modules.
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        is_class = name[0].isupper() and not name.isupper()
        value = type(name, (_Class,), {}) if is_class else _Driver(f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value

    def __call__(self, *args: Any, **kwargs: Any) -> _Driver:
        return self


class _Drivers(MetaPathFinder, Loader):
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        known = any(f"{fullname}.".startswith(f"{package}.") for package in self._packages)
        return ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Driver(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


_MODULES = {
    "google": "google.cloud.bigquery",
    "snowflake": "snowflake.connector",
    "databricks": "databricks.sql",
    "clickhouse_driver": "clickhouse_driver",
    "clickhouse_connect": "clickhouse_connect",
}


@contextmanager
def drivers() -> Iterator[None]:
    """Make missing drivers importable until the block ends."""
    missing = []
    for package, module in _MODULES.items():
        try:
            import_module(module)
        except ImportError:
            missing.append(package)
    before = set(sys.modules)
    finder = _Drivers(missing)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.split(".")[0] in missing or name.startswith("dlt.destinations.impl."):
                del sys.modules[name]


def configured(folder: Path, toml: str, patch: pytest.MonkeyPatch) -> None:
    """Make `toml`, as `.dlt/secrets.toml`, the only configuration."""
    from dlt.common.configuration.providers import EnvironProvider, SecretsTomlProvider

    (folder / "secrets.toml").write_text(toml, "utf-8")
    container = Container()[PluggableRunContext].providers
    patch.setattr(container, "providers", [EnvironProvider(), SecretsTomlProvider(str(folder))])


def schema(capabilities: DestinationCapabilitiesContext, json: str = "json") -> Schema:
    """Return dlt's schema of all tables, dlt's own included, with json columns of type `json`."""
    with Container().injectable_context(capabilities):
        made = Schema("letta")
        made.update_normalizers()
        for table in all_tables():
            made.update_table(_table(table, json))
        made.update_table(pipeline_state_table())
    return made


def _table(table: Table, json: str) -> TTableSchema:
    columns: dict[str, Any] = py_arrow_to_table_schema_columns(table.arrow_schema)
    for column in table.columns:
        hints = columns[column.name]
        hints["description"] = column.description
        hints["primary_key"] = column.name in table.primary_key
        hints["merge_key"] = column.name in table.merge_key
        hints["hard_delete"] = column.name == "_deleted"
        if column.type == "json":
            hints["data_type"] = json
    return {"name": table.name, "columns": columns, "resource": table.name, "write_disposition": "merge"}


def resolved(destination: Destination[Any, Any]) -> Any:
    """Return the destination's configuration, resolved as for a load into the dataset `letta`."""
    return destination.configuration(destination.spec()._bind_dataset_name(dataset_name="letta"))


def destination_of(name: str) -> Destination[Any, Any]:
    """Return dlt's factory of a destination."""
    found = Destination.from_reference(name)
    assert found
    return found


def client(destination: Destination[Any, Any], json: str) -> Any:
    """Return dlt's client of the destination, with all tables in its schema. Needs `drivers`."""
    config = resolved(destination)
    capabilities = destination.capabilities(config)
    with Container().injectable_context(capabilities):
        return destination.client(schema(capabilities, json), config)
