"""One load from the command line: everything is checked before any row moves."""

from __future__ import annotations

import contextlib
import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination.exceptions import (
    DestinationException,
    SqlClientNotAvailable,
    UnknownDestinationModule,
)
from dlt.destinations.exceptions import DatabaseUndefinedRelation, DestinationConnectionError
from dlt.pipeline.exceptions import PipelineStepFailed

from letta_source.check import check_reachable
from letta_source.errors import ConfigError, LettaError
from letta_source.progress import Progress
from letta_source.session import Session
from letta_source.source import letta
from letta_source.tables import RESOURCES

logger = logging.getLogger("letta_source")

_DESTINATIONS = (
    "duckdb", "postgres", "sqlalchemy", "filesystem", "bigquery", "snowflake", "redshift", "databricks",
    "clickhouse", "motherduck", "athena", "mssql", "synapse", "dremio", "ducklake", "lancedb",
)  # fmt: skip


@dataclass(frozen=True)
class Load:
    """What to load, and where to.

    Attributes:
        settings: arguments of `letta_source.letta`; None is not given.
        resources: names; empty for all that are not on request only.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Sequence[str] = ()
    destination: str = "duckdb"
    dataset_name: str = "letta"
    pipeline_name: str = "letta"


@dataclass(frozen=True)
class Loaded:
    """What came of it; `new` is rows added by table, where the destination can count them."""

    pipeline: dlt.Pipeline
    session: Session
    new: Mapping[str, int]


def load(what: Load) -> Loaded:
    """Checks everything, finishes what an earlier load left behind, then loads.

    Raises:
        ConfigError: and other LettaErrors, before anything was touched.
        LoadFailed: the load began and failed; the next one goes on from the last that succeeded.
    """
    session = Session()
    source = letta(**what.settings, session=session)
    if what.resources:
        source = source.with_resources(*_known(what.resources, RESOURCES, "resource"))
    _check_selection(source.selected_resources, session)
    pipeline = make_pipeline(what.pipeline_name, what.destination, what.dataset_name)
    check_reachable(session.settings)
    _check_destination(pipeline, what.destination)
    with _shown(session, what.destination):
        try:
            if pipeline.has_pending_data:
                logger.info("an earlier load was left unfinished: finishing it first")
                pipeline.run()
            selected = list(source.selected_resources)
            before = _row_counts(pipeline, selected)
            pipeline.run(source)
            after = _row_counts(pipeline, selected)
        except PipelineStepFailed as error:
            raise LoadFailed(_said(error)) from error
    return Loaded(pipeline, session, {table: rows - before.get(table, 0) for table, rows in after.items()})


class LoadFailed(LettaError):
    """The load began and failed."""


def _known(names: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    names, known = list(names), list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"unknown {what} {name!r}: {hint}")
    return names


def _check_selection(selected: Iterable[str], session: Session) -> None:
    if "message_search" in selected and not session.settings.search_query:
        raise ConfigError("message_search needs a query: --search-query TEXT")
    if "messages" in selected and session.settings.agent_ids:
        raise ConfigError("messages cannot be limited to agents, the API does not say whose they are: use agent_messages")


def make_pipeline(name: str, destination: str, dataset_name: str) -> dlt.Pipeline:
    """The dlt pipeline; its DuckDB file is `NAME.duckdb`, or `NAME_db.duckdb` if the dataset is called NAME.

    Raises:
        ConfigError: if there is no such destination, or its settings are incomplete.
    """
    try:
        pipeline = dlt.pipeline(name, destination=destination, dataset_name=dataset_name)
        file = _duckdb_file(pipeline)
    except UnknownDestinationModule as error:
        _known([destination], _DESTINATIONS, "destination")
        raise ConfigError(f"unknown destination {destination!r}") from error
    except ConfigurationException as error:
        raise ConfigError(f"{destination} cannot be opened: {_first_line(error)}") from error
    if file is None or file.stem != dataset_name:
        return pipeline
    if file.parent != Path.cwd():
        raise ConfigError(f"DuckDB cannot tell the file {file.name} from the dataset {dataset_name}: rename one")
    # DuckDB cannot tell a schema from a database file of the same name.
    renamed = dlt.destination(f"{name}_db", destination_type="duckdb")
    return dlt.pipeline(name, destination=renamed, dataset_name=dataset_name)


def _duckdb_file(pipeline: dlt.Pipeline) -> Path | None:
    if pipeline.destination is None or not pipeline.destination.destination_type.endswith(".duckdb"):
        return None
    credentials: Any = pipeline.destination_client().config.credentials
    return Path(credentials._conn_str())


def _check_destination(pipeline: dlt.Pipeline, destination: str) -> None:
    try:
        with pipeline.destination_client() as client:
            client.is_storage_initialized()
    except (ConfigurationException, DestinationException) as error:
        raise ConfigError(f"{destination} cannot be opened: {_first_line(_deepest(error))}") from error


def _row_counts(pipeline: dlt.Pipeline, tables: Iterable[str]) -> dict[str, int]:
    """Rows by table; empty where the destination speaks no SQL."""
    counts = {}
    try:
        with pipeline.sql_client() as client:
            for table in tables:
                with contextlib.suppress(DatabaseUndefinedRelation):
                    rows = client.execute_sql(f"SELECT count(*) FROM {client.make_qualified_table_name(table)}")
                    counts[table] = int(rows[0][0]) if rows else 0
    except SqlClientNotAvailable:
        return {}
    return counts


def _shown(session: Session, destination: str) -> Progress:
    progress = Progress(session, destination)
    logger.handlers = [progress]
    logger.setLevel(logging.INFO)
    return progress


def _said(error: BaseException) -> str:
    deepest = _deepest(error)
    return str(deepest) if isinstance(deepest, LettaError) else f"{type(deepest).__name__}: {_first_line(deepest)}"


def _deepest(error: BaseException) -> BaseException:
    """The cause of the cause …, but an error of ours says enough."""
    while not isinstance(error, LettaError):
        inner = error.inner_exc if isinstance(error, DestinationConnectionError) else error.__cause__
        if inner is None:
            break
        error = inner
    return error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
