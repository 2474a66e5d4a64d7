"""Everything in dlt that letta_source uses beyond what dlt documents.

No other module may, except `dlt_specs`: `tests/destinations/test_dlt_internals.py` enforces that, and tests
each use here. `letta_source.destinations.dlt_contract` checks them when a load starts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt

from letta_source.errors import ConfigError

TESTED = ("1.31",)
"""Minor versions of dlt that the whole test suite passed with."""


def broken(what: str, breaks: str) -> ConfigError:
    """Return the error that says what dlt lacks and what would go wrong without it."""
    return ConfigError(
        f"dlt {dlt.__version__} has no {what} as letta_source knows it, without which {breaks}:"
        f" pip install 'dlt~={TESTED[-1]}.0'"
    )


try:
    from dlt.common.configuration.container import Container
    from dlt.common.configuration.exceptions import ConfigurationValueError
    from dlt.common.configuration.providers import EnvironProvider
    from dlt.common.configuration.specs import known_sections
    from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
    from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
    from dlt.common.destination import DestinationCapabilitiesContext as DltCapabilities
    from dlt.common.destination.client import (
        DestinationClientConfiguration,
        JobClientBase,
        StateInfo,
        WithStateSync,
    )
    from dlt.common.pipeline import get_dlt_pipelines_dir as pipelines_folder
    from dlt.common.runtime.telemetry import is_telemetry_started, start_telemetry, stop_telemetry
    from dlt.common.schema import Schema
    from dlt.common.storages import LoadStorage, NormalizeStorage, PackageStorage, SchemaStorage
    from dlt.common.storages.load_package import ParsedLoadJobFileName
    from dlt.common.versioned_state import decompress_state
    from dlt.destinations.exceptions import DatabaseException, DestinationConnectionError
    from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials
    from dlt.destinations.sql_client import SqlClientBase, WithSqlClient
    from dlt.pipeline.configuration import PipelineConfiguration
    from dlt.pipeline.state_sync import migrate_state_to_current
except ImportError as error:
    raise broken(str(error.name), f"nothing can be loaded ({error})") from error

__all__ = [
    "DatabaseException", "DestinationClientConfiguration", "DestinationConnectionError",
    "DltCapabilities", "DuckDbCredentials", "FilesystemClient", "JobClientBase", "LoadStorage",
    "NormalizeStorage", "PackageStorage", "ParsedLoadJobFileName", "PostgresCredentials", "Schema",
    "SchemaStorage", "SqlClientBase", "StateInfo", "WithStateSync", "is_telemetry_started",
    "migrate_state_to_current", "pipelines_folder", "start_telemetry", "stop_telemetry",
]  # fmt: skip


SOURCE_SECTIONS = frozenset(
    {
        known_sections.DATA_WRITER,
        known_sections.EXTRACT,
        known_sections.NORMALIZE,
        known_sections.SCHEMA,
    }
)
"""Sections that dlt itself reads below a source's section of the configuration."""


class _SectionedEnviron(EnvironProvider):
    """Environment variables that name a setting's section; only a pipeline's settings have none."""

    def __init__(self) -> None:
        super().__init__()
        # dlt looks there for a file of each secret.
        self._has_secret_files = Path("/run/secrets").is_dir()
        # dlt builds them anew with each call; a load reads thousands of settings.
        self._of_pipelines = frozenset(PipelineConfiguration.get_resolvable_fields())

    def get_value(
        self, key: str, hint: Any, pipeline_name: str | None, *sections: str
    ) -> tuple[Any | None, str]:
        if not any(sections) and key not in self._of_pipelines:
            return None, self.get_key_name(key)
        name = self.get_key_name(key, pipeline_name or "", *sections)
        if name not in os.environ and not self._has_secret_files:
            # dlt asks some 8,000 times in a load.
            return None, name
        return super().get_value(key, hint, pipeline_name or "", *sections)


@contextmanager
def sections_only() -> Iterator[None]:
    """Read a destination's settings only from variables that name its section, while the block runs.

    dlt would complete credentials from another program's HOST, PORT, USERNAME, PASSWORD and DATABASE
    (dlt-hub/dlt#2848).
    """
    found = Container()[PluggableRunContext].providers
    # The list is public, and ordered.
    before = list(found.providers)
    found.providers[:] = [_SectionedEnviron() if type(one) is EnvironProvider else one for one in before]
    try:
        yield
    finally:
        found.providers[:] = before


def source_context() -> tuple[str, str | None]:
    """Return the name of the dlt source being created, and of the active pipeline, if there is one."""
    context = Container()[ConfigSectionContext]
    return context.source_name(), context.pipeline_name


def local_value(pipeline: dlt.Pipeline, key: str) -> Any:
    """Return a value of the pipeline's local state; None if it has no such key."""
    with suppress(KeyError):
        return pipeline.get_local_state_val(key)
    return None


def is_kind(kind: str, pipeline: dlt.Pipeline) -> bool:
    """Return True if the pipeline loads into a destination of this kind, such as `duckdb`."""
    destination = pipeline.destination
    return destination is not None and destination.destination_type == f"dlt.destinations.{kind}"


def dlt_capabilities(pipeline: dlt.Pipeline) -> DltCapabilities:
    """Return the destination's capabilities; a staging destination limits the file formats."""
    assert pipeline.destination is not None
    if is_kind("sqlalchemy", pipeline):
        # Only the credentials say which database it is.
        return pipeline.destination_client().capabilities
    found = pipeline.destination.capabilities()
    if pipeline.staging is not None:
        held = pipeline.staging.capabilities().supported_loader_file_formats or ()
        found.supported_loader_file_formats = [
            one for one in found.supported_staging_file_formats or () if one in held
        ]
    return found


def merge_strategies(capabilities: DltCapabilities, hints: Mapping[str, Any]) -> list[str]:
    """Return the merge strategies available for a table with these hints."""
    strategies: Sequence[Any] = capabilities.supported_merge_strategies or []
    if capabilities.merge_strategies_selector:
        # The selector expects a table schema of dlt.
        table: Any = {"name": "", "columns": {}, **hints}
        strategies = capabilities.merge_strategies_selector(strategies, table_schema=table)
    return list(strategies)


def file_formats(capabilities: DltCapabilities, hints: Mapping[str, Any]) -> list[str]:
    """Return the file formats that the destination loads into a table with these hints."""
    formats: Sequence[Any] = list(capabilities.supported_loader_file_formats or ())
    if capabilities.loader_file_format_selector:
        # PostgreSQL takes Parquet only where its ADBC driver is installed.
        preferred: Any = capabilities.preferred_loader_file_format or "parquet"
        table: Any = {"name": "", "columns": {}, **hints}
        _, formats = capabilities.loader_file_format_selector(preferred, formats, table_schema=table)
    return list(formats)


def place_of(client: Any, dataset_name: str) -> str:
    """Return a location id: the same for clients that write to the same tables, and for no others."""
    config = client.config
    try:
        location = config.data_location()
    except ConfigurationValueError:
        location = config.fingerprint()
    # The location alone identifies an account; the configuration adds its database, or a bucket's folder.
    # BigQuery's project may differ from that of its credentials.
    database = f"{config} {getattr(config, 'project_id', None)}"
    text = f"{config.destination_type} {location} {database} {dataset_name}"
    return base64.b64encode(hashlib.shake_128(text.encode()).digest(15)).decode()


def dataset_names(client: Any) -> tuple[str, str, bool]:
    """Return the names of a dataset and its staging dataset, and True if settings define the latter."""
    config, schema = client.config, client.schema
    names = config.normalize_dataset_name(schema), config.normalize_staging_dataset_name(schema)
    return *names, config.staging_dataset_name_layout != "%s_staging"


def database_file(client: Any) -> Path | None:
    """Return the dataset's DuckDB or SQLite file, if it has one; opening a missing file creates it."""
    if client.config.destination_type == "duckdb":
        return Path(client.config.data_location())
    sql_client: Any = getattr(client, "sql_client", None)
    if getattr(sql_client, "dialect_name", None) == "sqlite":
        # dlt gives each dataset a file of its own, except the database's `main`.
        file_of = getattr(sql_client, "_sqlite_dataset_filename", None)
        if file_of is None:
            raise broken("_sqlite_dataset_filename", "reading SQLite would create an empty file")
        name = sql_client.dataset_name
        return Path(sql_client.database_name if name == "main" else file_of(name))
    return None


def iceberg_library() -> Any:
    """Return dlt's pyiceberg module; pyiceberg is installed only for loading Iceberg tables."""
    from dlt.common.libs import pyiceberg

    for name in ("make_location", "merge_iceberg_table", "ensure_iceberg_compatible_arrow_data"):
        if not hasattr(pyiceberg, name):
            raise broken(name, "Iceberg tables would be misplaced, or take hours to fill")
    return pyiceberg


def sql_client_of(client: Any) -> Any:
    """Return the SQL client; None if the destination takes no SQL, or is a filesystem."""
    is_sql = isinstance(client, WithSqlClient) and not isinstance(client, FilesystemClient)
    return client.sql_client if is_sql else None


def dialect_of(sql_client: Any) -> str:
    """Return the SQL dialect, such as `duckdb`, `postgres` or `mysql`."""
    of_sqlalchemy = getattr(sql_client, "dialect_name", None)
    return str(of_sqlalchemy or sql_client.capabilities.sqlglot_dialect)


def read_only(sql_client: Any) -> None:
    """Have DuckDB's client open its file read-only."""
    sql_client.credentials.read_only = True


def connection_of(sql_client: Any) -> Any:
    """Return the driver's own open connection."""
    return sql_client.native_connection


@contextmanager
def server_cursor(sql_client: Any, name: str) -> Iterator[Any]:
    """Yield a server-side cursor of PostgreSQL; otherwise the driver fetches all rows at once."""
    with sql_client.begin_transaction(), sql_client.native_connection.cursor(name) as cursor:
        yield cursor


def stored_state(client: Any, pipeline_name: str) -> tuple[dict[str, Any], str] | None:
    """Return a pipeline's state as its last finished load left it, and that load's id."""
    if not isinstance(client, WithStateSync):
        return None
    if not (stored := client.get_stored_state(pipeline_name)):
        return None
    state: Any = migrate_state_to_current(pipeline_name, decompress_state(stored.state))
    return state, stored._dlt_load_id or ""


def table_of_job(file: Path) -> str:
    """Return the table that a file of a load package fills."""
    return ParsedLoadJobFileName.parse(file.name).table_name


def half_written(folder: Path) -> list[Path]:
    """Return files below a working folder that dlt was still writing, under their random names."""
    return [one for one in folder.rglob("*") if re.fullmatch("[0-9a-f]{16}", one.name) and one.is_file()]


def keep_schema(pipeline: dlt.Pipeline, file: Path) -> None:
    """Save the schema in `file` in the pipeline, if it is newer than the saved one."""
    schema = Schema.from_dict(json.loads(file.read_text("utf-8")))
    kept = pipeline.schemas
    if schema.name not in kept or kept[schema.name].version < schema.version:
        kept.save_schema(schema)


def began(load_id: str) -> datetime:
    """Return when a load began: its id is the seconds since 1970."""
    return datetime.fromtimestamp(float(load_id), timezone.utc)


def cause_of(error: BaseException) -> BaseException | None:
    """Return an error's cause; dlt keeps that of a failed connection in a field of its own."""
    return error.inner_exc if isinstance(error, DestinationConnectionError) else error.__cause__


def is_column_hint_warning(record: logging.LogRecord) -> bool:
    """Return True for dlt's warning, on every yield, that a json column arrives as Arrow text."""
    return "when merging arrow schema with dlt schema" in record.getMessage()
