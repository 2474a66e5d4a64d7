"""The dlt destination of a target, with the settings that the target requires."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dlt

from letta_source.destinations.dataset_names import assert_pipeline_name
from letta_source.destinations.dlt_guard import guard
from letta_source.destinations.dlt_paths import quote_addresses, show_duckdb_paths, take_paths_literally
from letta_source.destinations.duckdb_files import named
from letta_source.destinations.mysql import widen_texts
from letta_source.errors import ConfigError

if TYPE_CHECKING:
    from letta_source.loading.target import Target

DESTINATIONS = (
    "duckdb", "postgres", "sqlalchemy", "filesystem", "bigquery", "snowflake", "redshift", "databricks",
    "clickhouse", "motherduck", "athena", "mssql", "synapse", "dremio", "ducklake", "lancedb",
)  # fmt: skip
"""Types to suggest for a misspelt one."""
_DUCKDB = "dlt.destinations.duckdb"


def assert_names(target: Target) -> None:
    """Check the names that a caller gave: with an empty one, dlt would silently load to somewhere else.

    Raises:
        ConfigError: one is not a text or is empty, or dlt could not use the pipeline's name.
    """
    assert_pipeline_name(target.name)
    for name in ("destination", "dataset_name", "destination_name", "database"):
        value = getattr(target, name)
        is_left_out = value is None and name in ("destination_name", "database")
        if not is_left_out and not (isinstance(value, str) and value.strip()):
            raise ConfigError(f"{name} must be a text that is not empty, not {value!r}")


# Users' settings of DuckDB, in `destination.duckdb` and in its `credentials`; `Target` sets the others.
_SETTINGS = ("create_indexes", "info_tables_query_threshold", "replace_strategy")
_OF_CONNECTIONS = (
    "extensions", "global_config", "pragmas", "statements", "local_config", "session_timezone",
)  # fmt: skip


def settings_of_duckdb(config: Any) -> dict[str, Any]:
    """Return the settings in a resolved configuration of DuckDB but for its file; defaults are left out.

    A destination with a name of its own has to be given them: dlt looks under that name alone.
    """
    settings = _not_default(config, _SETTINGS)
    of_connections = _not_default(config.credentials, _OF_CONNECTIONS)
    return {**settings, "credentials": of_connections} if of_connections else settings


def _not_default(config: Any, names: Iterable[str]) -> dict[str, Any]:
    default = type(config)()
    return {name: getattr(config, name) for name in names if getattr(config, name) != getattr(default, name)}


def destination_of(target: Target, duckdb_name: str | None = None) -> Any:
    """Create the destination; it resolves its settings when a client is created.

    Args:
        duckdb_name: name of its file, if none is configured.

    Raises:
        ConfigError: the target names a database file, but is not DuckDB.
    """
    take_paths_literally()
    quote_addresses()
    show_duckdb_paths()
    kind = dlt.destination(target.destination)
    settings: dict[str, Any] = {}
    if target.database:
        if kind.destination_type != _DUCKDB:
            raise ConfigError(
                "a database file can only be given for DuckDB;"
                f" configure {target.destination} by its own settings"
            )
        file = named(target.database)
        settings["credentials"] = {"database": file, "read_only": True} if target.read_only else file
    if not target.destination_name and kind.destination_type == _DUCKDB:
        # dlt names the file after it: one file for all shards.
        settings["pipeline_name"] = duckdb_name or target.pipeline_name
    if kind.destination_type == "dlt.destinations.sqlalchemy":
        # SQLite is locked if two tables are written at once.
        settings["loader_parallelism_strategy"] = "sequential"
        widen_texts()
    if target.called:
        # dlt would shorten the `__` in the name to `_`.
        settings["enable_dataset_name_normalization"] = False
    if target.staging:
        settings["staging_dataset_name_layout"] = target.staging
    if target.destination_name:
        settings["destination_type"] = target.destination
    # `given` may hold secrets: no local variable may have it.
    destination = dlt.destination(target.destination_name or target.destination, **target.given, **settings)
    if target.lease:
        lease = target.lease
        guard(destination, lease.session, lease.check_often, lease.fence(), lease.names_of_session())
    return destination
