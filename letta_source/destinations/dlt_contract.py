"""Check at the start of a load that dlt has what `letta_source.destinations.dlt_internals` uses."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import dlt

from letta_source.destinations.dlt_internals import (
    TESTED,
    DestinationClientConfiguration,
    DestinationConnectionError,
    DltCapabilities,
    FilesystemClient,
    JobClientBase,
    LoadStorage,
    NormalizeStorage,
    PackageStorage,
    ParsedLoadJobFileName,
    Schema,
    SchemaStorage,
    SqlClientBase,
    StateInfo,
    WithStateSync,
    broken,
    migrate_state_to_current,
)

logger = logging.getLogger(__name__)


def _has(owner: Any, *names: str) -> bool:
    return all(hasattr(owner, name) for name in names)


def _takes(function: Any, *names: str) -> bool:
    return {*names} <= {*inspect.signature(function).parameters}


_CONTRACT: tuple[tuple[str, str, Callable[[], bool]], ...] = (
    (
        "data_location and fingerprint of a configuration",
        "one warehouse would be loaded by another's cursors",
        lambda: _has(DestinationClientConfiguration, "data_location", "fingerprint"),
    ),
    (
        "selectors of a destination's capabilities",
        "rows would be added that replace others",
        lambda: _has(DltCapabilities, "merge_strategies_selector", "loader_file_format_selector"),
    ),
    (
        "finding of a destination's capabilities",
        "each step of a load would look all settings up again",
        lambda: _takes(dlt.destinations.duckdb.capabilities, "config", "naming"),
    ),
    (
        "connection below the SQL client",
        "nothing can be exported",
        lambda: _has(SqlClientBase, "native_connection", "make_qualified_table_name", "escape_column_name"),
    ),
    (
        "steps of a client that writes",
        "two machines could load one pipeline at once",
        lambda: (
            _has(SqlClientBase, "open_connection", "begin_transaction")
            and _takes(SqlClientBase.execute_many, "statements")
            and _takes(JobClientBase.complete_load, "load_id")
        ),
    ),
    (
        "stored state",
        "everything would be read again",
        lambda: (
            _takes(WithStateSync.get_stored_state, "pipeline_name")
            and _takes(migrate_state_to_current, "pipeline_name", "state")
            and _takes(StateInfo, "state", "_dlt_load_id")
        ),
    ),
    (
        "client of files",
        "files of a killed load would stay",
        lambda: (
            _takes(FilesystemClient.list_table_files, "table_name")
            and _takes(FilesystemClient.list_files_with_prefixes, "table_dir", "prefixes")
            and _takes(FilesystemClient.get_open_table_location, "table_format", "table_name", "schema_name")
            and _takes(FilesystemClient.load_open_table, "table_format", "table_name")
            and _has(FilesystemClient, "is_open_table", "get_stored_schema", "get_stored_schema_by_hash")
        ),
    ),
    (
        "folders of load packages",
        "a killed load would not be finished, or twice",
        lambda: (
            (PackageStorage.NEW_JOBS_FOLDER, PackageStorage.STARTED_JOBS_FOLDER)
            == ("new_jobs", "started_jobs")
            and _has(PackageStorage, "COMPLETED_JOBS_FOLDER", "PENDING_TRANSITIONS_FOLDER")
            and _has(PackageStorage, "SCHEMA_FILE_NAME", "PACKAGE_COMPLETED_FILE_NAME")
            and _has(LoadStorage, "NORMALIZED_FOLDER", "LOADED_FOLDER")
            and _has(NormalizeStorage, "EXTRACTED_FOLDER")
        ),
    ),
    (
        "names of load files",
        "rows would double after a kill",
        lambda: ParsedLoadJobFileName.parse("agents__tags.0a1b2c3d.0.parquet").table_name == "agents__tags",
    ),
    (
        "storage of schemas",
        "a killed load would be finished by an older schema",
        lambda: (
            _takes(SchemaStorage.save_schema, "schema")
            and _takes(SchemaStorage.load_schema, "name")
            and _takes(Schema.from_dict, "d")
        ),
    ),
    (
        "cause of a failed connection",
        "errors would not say why",
        lambda: _takes(DestinationConnectionError, "inner_exc"),
    ),
)


def assert_contract() -> None:
    """Check in a few milliseconds that dlt still has what is used here; warn about an untested version.

    Raises:
        ConfigError: something is missing; names it, dlt's version, and what would go wrong.
    """
    for what, breaks, holds in _CONTRACT:
        try:
            kept = holds()
        except (AttributeError, TypeError, ValueError):
            kept = False
        if not kept:
            raise broken(what, breaks)
    _warn_of_version(dlt.__version__)


@cache
def _warn_of_version(version: str) -> None:
    if ".".join(version.split(".")[:2]) not in TESTED:
        logger.warning(
            "dlt %s has not been tested with letta_source; the newest that has is %s", version, TESTED[-1]
        )
