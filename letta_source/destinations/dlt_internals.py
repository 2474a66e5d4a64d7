"""Everything that letta_source uses of dlt beyond what dlt documents.

No other module may but `dlt_specs`: `tests/destinations/test_dlt_internals.py` holds that, and has a test for
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
"""Minor versions of dlt that the whole suite passed with."""


def broken(what: str, breaks: str) -> ConfigError:
    """Return the error that says what dlt lacks, and what would go wrong without it."""
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
    from dlt.common.destination import DestinationCapabilitiesContext as Capabilities
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
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials
    from dlt.destinations.sql_client import SqlClientBase, WithSqlClient
    from dlt.pipeline.configuration import PipelineConfiguration
    from dlt.pipeline.state_sync import migrate_state_to_current
except ImportError as error:
    raise broken(str(error.name), f"nothing can be loaded ({error})") from error

__all__ = [
    "Capabilities", "DatabaseException", "DestinationClientConfiguration", "DestinationConnectionError",
    "FilesystemClient", "JobClientBase", "LoadStorage", "NormalizeStorage", "PackageStorage",
    "ParsedLoadJobFileName", "PostgresCredentials", "Schema", "SchemaStorage",
    "SqlClientBase", "StateInfo", "WithStateSync", "is_telemetry_started",
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
"""Sections of dlt's configuration that it reads itself below that of a source."""


class _SectionedEnviron(EnvironProvider):
    """The environment, in which a setting has its section; those of a pipeline have none."""

    def __init__(self) -> None:
        super().__init__()
        # Where dlt looks for a file of each secret.
        self._has_secret_files = Path("/run/secrets").is_dir()

    def get_value(
        self, key: str, hint: Any, pipeline_name: str | None, *sections: str
    ) -> tuple[Any | None, str]:
        if not any(sections) and key not in PipelineConfiguration.get_resolvable_fields():
            return None, self.get_key_name(key)
        name = self.get_key_name(key, pipeline_name or "", *sections)
        if name not in os.environ and not self._has_secret_files:
            # Some 8,000 times in a load.
            return None, name
        return super().get_value(key, hint, pipeline_name or "", *sections)


@contextmanager
def sections_only() -> Iterator[None]:
    """Take, while the block runs, a destination's settings from variables with its section alone.

    dlt would complete credentials by HOST, PORT, USERNAME, PASSWORD and DATABASE of any other program
    (dlt-hub/dlt#2848).
    """
    found = Container()[PluggableRunContext].providers
    # Its list is public, and in order.
    before = list(found.providers)
    found.providers[:] = [_SectionedEnviron() if type(one) is EnvironProvider else one for one in before]
    try:
        yield
    finally:
        found.providers[:] = before


def source_context() -> tuple[str, str | None]:
    """Return the name of the dlt source that is being made, and of the active pipeline, if there is one."""
    context = Container()[ConfigSectionContext]
    return context.source_name(), context.pipeline_name


def local_value(pipeline: dlt.Pipeline, key: str) -> Any:
    """Return what the pipeline's working folder keeps under this key; None if nothing."""
    with suppress(KeyError):
        return pipeline.get_local_state_val(key)
    return None


def is_kind(kind: str, pipeline: dlt.Pipeline) -> bool:
    """Return whether the pipeline loads into a destination of this kind, such as `duckdb`."""
    destination = pipeline.destination
    return destination is not None and destination.destination_type == f"dlt.destinations.{kind}"


def capabilities_of(pipeline: dlt.Pipeline) -> Capabilities:
    """Return the destination's capabilities, with the file formats that its staging destination takes too."""
    assert pipeline.destination is not None
    if is_kind("sqlalchemy", pipeline):
        # Only its credentials say which database it is.
        return pipeline.destination_client().capabilities
    found = pipeline.destination.capabilities()
    if pipeline.staging is not None:
        held = pipeline.staging.capabilities().supported_loader_file_formats or ()
        found.supported_loader_file_formats = [
            one for one in found.supported_staging_file_formats or () if one in held
        ]
    return found


def merge_strategies(capabilities: Capabilities, hints: Mapping[str, Any]) -> list[str]:
    """Return the strategies by which rows of a table with these hints can be merged."""
    strategies: Sequence[Any] = capabilities.supported_merge_strategies or []
    if capabilities.merge_strategies_selector:
        # It is made for dlt's own table schemas.
        table: Any = {"name": "", "columns": {}, **hints}
        strategies = capabilities.merge_strategies_selector(strategies, table_schema=table)
    return list(strategies)


def file_formats(capabilities: Capabilities, hints: Mapping[str, Any]) -> list[str]:
    """Return the formats of load files that the destination takes for a table with these hints."""
    formats: Sequence[Any] = list(capabilities.supported_loader_file_formats or ())
    if capabilities.loader_file_format_selector:
        # PostgreSQL takes Parquet only where its ADBC driver is installed.
        preferred: Any = capabilities.preferred_loader_file_format or "parquet"
        table: Any = {"name": "", "columns": {}, **hints}
        _, formats = capabilities.loader_file_format_selector(preferred, formats, table_schema=table)
    return list(formats)


def place_of(client: Any, dataset_name: str) -> str:
    """Return a text that is equal for two clients that write to the same tables, and for no others."""
    config = client.config
    try:
        location = config.data_location()
    except ConfigurationValueError:
        location = config.fingerprint()
    # The location alone is that of an account: its databases, or the folders of a bucket, are shown by the
    # configuration. BigQuery's project may be another than that of its credentials.
    database = f"{_shown(config)} {getattr(config, 'project_id', None)}"
    text = f"{config.destination_type} {location} {database} {dataset_name}"
    return base64.b64encode(hashlib.shake_128(text.encode()).digest(15)).decode()


def _shown(config: Any) -> str:
    """Return `str(config)`, for a DuckDB file without SQLAlchemy: importing that takes 0.3 s."""
    if config.destination_type == "duckdb":
        path = str(config.credentials.database)
        # SQLAlchemy escapes other characters.
        if re.fullmatch(r"[A-Za-z0-9_./-]+", path):
            return f"duckdb:///{path}"
    return str(config)


def dataset_names(client: Any) -> tuple[str, str, bool]:
    """Return what a dataset and its staging dataset are called there, and whether settings say the latter."""
    config, schema = client.config, client.schema
    names = config.normalize_dataset_name(schema), config.normalize_staging_dataset_name(schema)
    return *names, config.staging_dataset_name_layout != "%s_staging"


def database_file(client: Any) -> Path | None:
    """Return the dataset's file in DuckDB or SQLite; opening one that is not there creates it."""
    if client.config.destination_type == "duckdb":
        return Path(client.config.data_location())
    sql_client: Any = getattr(client, "sql_client", None)
    if getattr(sql_client, "dialect_name", None) == "sqlite":
        # dlt gives each dataset a file, but for the database's own.
        file_of = getattr(sql_client, "_sqlite_dataset_filename", None)
        if file_of is None:
            raise broken("_sqlite_dataset_filename", "reading SQLite would create an empty file")
        name = sql_client.dataset_name
        return Path(sql_client.database_name if name == "main" else file_of(name))
    return None


def iceberg_library() -> Any:
    """Return dlt's module of pyiceberg, which only who loads Iceberg tables has installed."""
    from dlt.common.libs import pyiceberg

    return pyiceberg


def sql_client_of(client: Any) -> Any:
    """Return the client that takes SQL; None if the destination takes none, or is files."""
    is_sql = isinstance(client, WithSqlClient) and not isinstance(client, FilesystemClient)
    return client.sql_client if is_sql else None


def dialect_of(sql_client: Any) -> str:
    """Return the SQL dialect, `duckdb`, `postgres`, `mysql`, …."""
    of_sqlalchemy = getattr(sql_client, "dialect_name", None)
    return str(of_sqlalchemy or sql_client.capabilities.sqlglot_dialect)


def read_only(sql_client: Any) -> None:
    """Have DuckDB's client open its file to be read only."""
    sql_client.credentials.read_only = True


def connection_of(sql_client: Any) -> Any:
    """Return the driver's own connection, opened."""
    return sql_client.native_connection


@contextmanager
def server_cursor(sql_client: Any, name: str) -> Iterator[Any]:
    """Yield a cursor that PostgreSQL keeps: the driver would otherwise hold all rows first."""
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
    """Return the files below a working folder that dlt was writing, under the random names it gives them."""
    return [one for one in folder.rglob("*") if re.fullmatch("[0-9a-f]{16}", one.name) and one.is_file()]


def keep_schema(pipeline: dlt.Pipeline, file: Path) -> None:
    """Have the pipeline keep the schema in `file`, if it is newer than what it keeps."""
    schema = Schema.from_dict(json.loads(file.read_text("utf-8")))
    kept = pipeline.schemas
    if schema.name not in kept or kept[schema.name].version < schema.version:
        kept.save_schema(schema)


def began(load_id: str) -> datetime:
    """Return when a load began: dlt calls it by the seconds since 1970."""
    return datetime.fromtimestamp(float(load_id), timezone.utc)


def cause_of(error: BaseException) -> BaseException | None:
    """Return what an error came from; dlt keeps that of a failed connection in a field of its own."""
    return error.inner_exc if isinstance(error, DestinationConnectionError) else error.__cause__


def is_column_hint_warning(record: logging.LogRecord) -> bool:
    """Return whether this is dlt's warning, on every yield, that a json column comes as Arrow's text."""
    return "when merging arrow schema with dlt schema" in record.getMessage()
