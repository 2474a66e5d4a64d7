"""The dlt destination of a target, with what the target sets of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt

from letta_source.destinations.dlt_addresses import quote_addresses
from letta_source.destinations.dlt_guard import guard
from letta_source.destinations.dlt_paths import take_paths_literally
from letta_source.destinations.mysql import widen_texts
from letta_source.errors import ConfigError

if TYPE_CHECKING:
    from letta_source.loading.target import Target

DESTINATIONS = (
    "duckdb", "postgres", "sqlalchemy", "filesystem", "bigquery", "snowflake", "redshift", "databricks",
    "clickhouse", "motherduck", "athena", "mssql", "synapse", "dremio", "ducklake", "lancedb",
)  # fmt: skip
"""Types that a misspelt one may mean."""
_DUCKDB = "dlt.destinations.duckdb"


def destination_of(target: Target, duckdb_name: str | None = None) -> Any:
    """Make the destination; it looks its settings up when a client is made.

    Args:
        duckdb_name: of its file, where none is configured.

    Raises:
        ConfigError: it takes no database file.
    """
    take_paths_literally()
    quote_addresses()
    kind = dlt.destination(target.destination)
    settings: dict[str, Any] = {}
    if target.database:
        if kind.destination_type != _DUCKDB:
            raise ConfigError(f"a database file is DuckDB's: {target.destination} has its own settings")
        file = str(Path(target.database).expanduser().absolute())
        settings["credentials"] = {"database": file, "read_only": True} if target.read_only else file
    if not target.destination_name and kind.destination_type == _DUCKDB:
        # Its file is called after it: one for all shards.
        settings["pipeline_name"] = duckdb_name or target.pipeline_name
    if kind.destination_type == "dlt.destinations.sqlalchemy":
        # SQLite is locked as soon as two tables are written at once.
        settings["loader_parallelism_strategy"] = "sequential"
        widen_texts()
    if target.called:
        # dlt would make one `_` of the two in the name.
        settings["enable_dataset_name_normalization"] = False
    if target.staging:
        settings["staging_dataset_name_layout"] = target.staging
    if target.destination_name:
        settings["destination_type"] = target.destination
    destination = dlt.destination(target.destination_name or target.destination, **settings)
    if target.lease:
        lease = target.lease
        guard(destination, lease.session, lease.check_often, lease.fence(), lease.names_of_session())
    return destination
