"""The status of a dataset, read from the warehouse and the working folder, not from Letta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from letta_source.destinations.dlt_internals import began, pipelines_folder
from letta_source.destinations.dlt_storage import stored_version
from letta_source.errors import ConfigError, ExitCode
from letta_source.export.query import LOADS, Reader
from letta_source.export.readers import has_table, open_reader
from letta_source.export.stream import last_runs, query
from letta_source.loading.dataset import reading
from letta_source.loading.journal import Journal, by_run, journal_file
from letta_source.loading.lock import is_held
from letta_source.loading.recovery import Pending, pending_packages
from letta_source.loading.target import Target
from letta_source.schema.columns import bigint, text, timestamp
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import ISSUE_KEY, LOAD_ISSUES, LOAD_LOG

# The last runs to show.
_MOST_RUNS = 5


@dataclass(frozen=True)
class Run:
    """One run; without load_log, in older versions, only its start is known, and that it finished.

    Attributes:
        outcome: loaded, incomplete, failed, interrupted or running.
        rows: how many were written.
        problems: parents and messages that could not be read.
        reason: why it failed.
    """

    run_id: str
    began_at: datetime
    ended_at: datetime | None = None
    mode: str | None = None
    shard: str | None = None
    host: str | None = None
    outcome: str = "loaded"
    exit_code: int | None = 0
    rows: int | None = None
    problems: int | None = None
    version: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Freshness:
    """The freshness of one resource.

    Attributes:
        rows: of its root table; None if there is no table.
        newest: when the newest row was created.
        read_at: when the last run ended that read everything readable.
    """

    resource: str
    rows: int | None
    newest: datetime | None = None
    read_at: datetime | None = None


@dataclass(frozen=True)
class Issue:
    """Something that could not be read when it was last tried."""

    resource: str
    parent_id: str
    kind: str
    after_id: str
    before_id: str
    first_seen_at: datetime
    last_tried_at: datetime
    tries: int


@dataclass(frozen=True)
class Status:
    """The content of `letta-source status`.

    Attributes:
        where: destination, file or host, dataset.
        running: names of the pipelines that load on this machine now.
        pending: packages in the working folder that are not loaded yet; the next run loads them.
        not_written: runs that the local journal holds until the next run writes them to load_log.
        unreadable: why the warehouse cannot be read now, such as while DuckDB's file is being written.
    """

    where: str
    running: Sequence[str] = ()
    pending: Sequence[Pending] = ()
    not_written: Sequence[Run] = ()
    unreadable: str | None = None
    schema_version: int | None = None
    runs: Sequence[Run] = ()
    resources: Sequence[Freshness] = ()
    issues: Sequence[Issue] = ()
    has_log: bool = True


def find_status(target: Target) -> Status:
    """Return the status of a dataset and of this machine's pipelines that fill it.

    Raises:
        ConfigError: the destination cannot be opened and no load is running, or nothing was loaded yet.
    """
    folder = Path(pipelines_folder())
    names = _pipelines(folder, target.pipeline_name)
    running = tuple(name for name in names if is_held(name))
    local = Status(
        target.where(),
        running,
        tuple(one for name in names for one in pending_packages(folder / name)),
        _not_written(target, folder, names, running),
    )
    try:
        with reading(target) as pipeline, open_reader(pipeline) as reader:
            read_at = _read_at(reader)
            return replace(
                local,
                schema_version=stored_version(pipeline),
                runs=_runs(reader),
                resources=[_freshness(reader, name, read_at.get(name)) for name in RESOURCES],
                issues=_issues(reader),
                has_log=has_table(reader, LOAD_LOG.name),
            )
    except ConfigError as error:
        if not running:
            raise
        # DuckDB lets nobody else open its file while it is written.
        return replace(local, unreadable=str(error))


def _pipelines(folder: Path, name: str) -> list[str]:
    """Return the names of the pipeline and of its shards that ran on this machine."""
    shards = {path.name.partition(".")[0] for path in folder.glob(f"{name}_shard_*_of_*")}
    return [name, *sorted(shards)]


def _not_written(target: Target, folder: Path, names: Sequence[str], running: Sequence[str]) -> list[Run]:
    place = target.place()
    runs: list[Run] = []
    for name in names:
        of_runs = by_run(Journal(journal_file(folder, name), place).rows()).values()
        of_pipeline = [_run(rows) for rows in of_runs]
        if name in running and of_pipeline and of_pipeline[-1].outcome == "interrupted":
            # The journal holds a run as interrupted until it ends.
            of_pipeline[-1] = replace(of_pipeline[-1], outcome="running")
        runs += of_pipeline
    return runs


def _runs(reader: Reader) -> list[Run]:
    """Return the last runs, the newest first."""
    if not has_table(reader, LOAD_LOG.name):
        return _finished_loads(reader)
    return [_run(rows) for rows in last_runs(reader, _MOST_RUNS)]


def _run(rows: Sequence[Mapping[str, Any]]) -> Run:
    first = rows[0]
    outcomes = {ExitCode.OK: "loaded", ExitCode.INCOMPLETE: "incomplete", None: "interrupted"}
    code = first.get("exit_code")
    return Run(
        first["run_id"],
        first["began_at"],
        first.get("ended_at"),
        first.get("mode"),
        first.get("shard"),
        first.get("host"),
        outcomes.get(code, "failed"),
        code,
        sum(row.get("rows_written") or 0 for row in rows),
        sum((row.get("new_problems") or 0) + (row.get("known_problems") or 0) for row in rows),
        first.get("version"),
        first.get("reason"),
    )


def _finished_loads(reader: Reader) -> list[Run]:
    """Return the last loads of a dataset that has no load_log."""
    load_id, status = reader.column("load_id"), reader.column("status")
    sql = f"SELECT {load_id} FROM {reader.table(LOADS)} WHERE {status} = 0 ORDER BY {load_id} DESC"
    ids = [row["load_id"] for row in query(reader, sql, [text("load_id", "")])]
    return [Run(one, began(one)) for one in ids[:_MOST_RUNS]]


def _read_at(reader: Reader) -> dict[str, datetime]:
    if not has_table(reader, LOAD_LOG.name):
        return {}
    resource, ended_at, outcome = map(reader.column, ("resource", "ended_at", "outcome"))
    sql = (
        f"SELECT {resource}, max({ended_at}) AS {ended_at} FROM {reader.table(LOAD_LOG.name)}"
        f" WHERE {outcome} IN ('loaded', 'incomplete') GROUP BY {resource} ORDER BY {resource}"
    )
    rows = query(reader, sql, [text("resource", ""), timestamp("ended_at", "")])
    return {row["resource"]: row["ended_at"] for row in rows}


def _freshness(reader: Reader, resource: str, read_at: datetime | None) -> Freshness:
    if not has_table(reader, resource):
        return Freshness(resource, None, None, read_at)
    table = reader.table(resource)
    dated = "created_at" in reader.columns_of(resource)
    newest = f"max({reader.column('created_at')})" if dated else "NULL"
    columns = [bigint("rows_there", ""), *([timestamp("newest", "")] if dated else [])]
    sql = f"SELECT count(*) AS rows_there{f', {newest} AS newest' if dated else ''} FROM {table} ORDER BY 1"
    (row,) = query(reader, sql, columns)
    return Freshness(resource, row["rows_there"], row.get("newest"), read_at)


def _issues(reader: Reader) -> list[Issue]:
    """Return the open issues, by the rule of the view load_issues_current."""
    if not has_table(reader, LOAD_ISSUES.name):
        return []
    key = ", ".join(map(reader.column, ISSUE_KEY))
    at = reader.column("load_started_at")
    # Rows of older versions do not say whether an issue was resolved.
    is_tracked = "known" in reader.columns_of(LOAD_ISSUES.name)
    resolved = f", max(CASE WHEN {reader.column('resolved')} IS NOT NULL THEN {at} END) AS resolved_at"
    where = f" WHERE {reader.column('known')} IS NOT NULL" if is_tracked else ""
    sql = (
        f"SELECT {key}, min({at}) AS first_seen_at, max({at}) AS last_tried_at, count(*) AS tries"
        f"{resolved if is_tracked else ''}"
        f" FROM {reader.table(LOAD_ISSUES.name)}{where} GROUP BY {key} ORDER BY {key}"
    )
    columns = [
        *(text(name, "") for name in ISSUE_KEY),
        timestamp("first_seen_at", ""),
        timestamp("last_tried_at", ""),
        bigint("tries", ""),
        *([timestamp("resolved_at", "")] if is_tracked else []),
    ]
    rows = query(reader, sql, columns)
    if is_tracked:
        return [Issue(**row) for row in rows if row.pop("resolved_at") != row["last_tried_at"]]
    # Each load of an older version tried all of them again.
    newest: dict[str, datetime] = {}
    for row in rows:
        resource = row["resource"]
        newest[resource] = max(newest.get(resource, row["last_tried_at"]), row["last_tried_at"])
    return [Issue(**row) for row in rows if row["last_tried_at"] == newest[row["resource"]]]


def as_json(status: Status) -> dict[str, Any]:
    """Return the status as JSON values; times are ISO 8601 in UTC."""
    return {one.name: _plain(getattr(status, one.name)) for one in fields(status)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (Run, Freshness, Issue, Pending)):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return value
