"""The table load_log: what each run did, written once after its last package.

dlt's own loads do not write it: a run that found nothing makes no load package, and making one for the log
alone takes longer than the run. If the destination is unreachable, a journal beside the pipeline's working
folder keeps the rows for the next run.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from secrets import token_hex
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.destination.exceptions import SqlClientNotAvailable

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import dialect_of, local_value
from letta_source.destinations.dlt_storage import add_table
from letta_source.destinations.tables import make_tables
from letta_source.errors import ExitCode, LettaError
from letta_source.loading.issues_view import keep_view
from letta_source.loading.messages import said
from letta_source.loading.outcome import exit_code, installed_version, why_failed
from letta_source.loading.target import PLACE
from letta_source.loading.workspace import Workspace
from letta_source.schema.tables import LOAD_LOG, Table
from letta_source.settings import Settings
from letta_source.state.counts import Counts
from letta_source.state.overlap import local_now
from letta_source.state.session import Session

logger = logging.getLogger(__name__)

Row = dict[str, Any]
"""Values by column name of `LOAD_LOG`."""
_TIMES = [column.name for column in LOAD_LOG.columns if column.type == "timestamp"]


@contextmanager
def recorded(workspace: Workspace, session: Session, resources: Iterable[str]) -> Iterator[None]:
    """Record the run in the block: write its rows once it ends.

    While it runs, the journal holds it as interrupted, which the next run finds if it is killed.
    """
    began = local_now()
    run_id = f"{began:%Y%m%dT%H%M%S.%f}-{token_hex(4)}"
    run = _Run(run_id, began, session, workspace, tuple(resources))
    journal = Journal.of(workspace.pipeline)
    earlier = journal.rows()
    journal.keep([*earlier, *run.rows(None)])
    try:
        yield
    except BaseException as error:
        # Only to the journal: the destination may be the cause.
        code = error.exit_code if isinstance(error, LettaError) else ExitCode.FAILED
        journal.keep([*earlier, *run.rows(code, raised=True)])
        raise
    failed = why_failed(session)
    code = ExitCode.FAILED if failed else exit_code(session)
    rows = run.rows(code)
    journal.keep([*earlier, *rows])
    try:
        write(workspace.pipeline, session.settings, rows, earlier)
    except Exception as error:  # Drivers have exceptions of their own.
        logger.warning("load_log could not be written, the next run tries again: %s", said(error))
    else:
        journal.keep([])
        keep_view(workspace.pipeline)


class _Run:
    """One run, as rows of load_log."""

    def __init__(
        self,
        run_id: str,
        began: datetime,
        session: Session,
        workspace: Workspace,
        resources: tuple[str, ...],
    ) -> None:
        self._run_id = run_id
        self._began = began
        self._session = session
        self._workspace = workspace
        self._resources = resources
        self._version = installed_version()

    def rows(self, code: ExitCode | None, raised: bool = False) -> list[Row]:
        """Return a row for each resource.

        Args:
            code: None while the run has not ended.
            raised: an error ended it, so that not everything that was read was loaded.
        """
        settings = self._session.settings
        common = {
            "run_id": self._run_id,
            "load_ids": ",".join(self._workspace.load_ids) or None,
            "began_at": self._began,
            "ended_at": None if code is None else local_now(),
            "host": settings.base_url,
            "project": settings.project or None,
            "shard": None if settings.shard.is_whole else str(settings.shard),
            "exit_code": None if code is None else int(code),
            "version": self._version,
            "masks": str(settings.masking),
        }
        # Until this load begins, the session may hold the counts of the one before.
        counts = self._session.counts if code is not None else {}
        outcomes = {name: "failed" if raised else self._outcome(name, code) for name in self._resources}
        return [
            {
                **common,
                **_counted(counts.get(name)),
                "resource": name,
                "mode": _mode(settings, counts.get(name)),
                "outcome": outcome,
            }
            for name, outcome in outcomes.items()
        ]

    def _outcome(self, resource: str, code: ExitCode | None) -> str:
        counts = self._session.counts.get(resource)
        if code is None:
            return "interrupted"
        if counts is None:
            return "not_read"
        if counts.skipped:
            return "absent"
        if resource not in self._session.packages.read or (code is ExitCode.FAILED and counts.problems):
            return "failed"
        return "incomplete" if counts.problems else "loaded"


def _mode(settings: Settings, counts: Counts | None) -> str:
    if settings.refresh:
        return "refresh"
    if settings.window:
        return "window"
    return "sweep" if counts and counts.swept else "incremental"


def _counted(counts: Counts | None) -> Row:
    if counts is None:
        return {}
    return {
        "seconds": round(counts.seconds, 3),
        "missed": counts.missed,
        "parents": counts.parents,
        "items": counts.items,
        "rows_written": counts.rows,
        "requests": counts.requests,
        "retries": counts.traffic.retries,
        "waited": round(counts.traffic.waited, 3),
        "bytes": counts.traffic.bytes,
        "new_problems": counts.problems - counts.known,
        "known_problems": counts.known,
    }


class Journal:
    """Rows that are not in the destination yet, in a private file beside the pipeline's working folder.

    The file is not inside that folder, as dlt may drop it.

    Args:
        place: location id of the destination; rows of others are left alone.
    """

    def __init__(self, file: Path, place: str) -> None:
        self.file = file
        self._place = place

    @classmethod
    def of(cls, pipeline: dlt.Pipeline) -> Journal:
        """Return the journal of a pipeline, for the location that it loads into."""
        folder = Path(pipeline.working_dir)
        return cls(journal_file(folder.parent, folder.name), local_value(pipeline, PLACE))

    def rows(self) -> list[Row]:
        """Return the rows kept for this location."""
        return [_parsed(row) for place, row in self._lines() if place == self._place]

    def keep(self, rows: Sequence[Row]) -> None:
        """Keep these rows, in place of all others of this location."""
        lines = [(place, row) for place, row in self._lines() if place != self._place]
        lines += [(self._place, _plain(row)) for row in rows]
        if not lines:
            self.file.unlink(missing_ok=True)
            return
        part = self.file.with_suffix(".part")
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in lines)
        part.replace(self.file)

    def _lines(self) -> list[tuple[str, Row]]:
        if not self.file.exists():
            return []
        lines = map(json.loads, self.file.read_text("utf-8").splitlines())
        return [(place, row) for place, row in lines]


def journal_file(folder: Path, pipeline_name: str) -> Path:
    """Return the path of a pipeline's journal, below dlt's folder of pipelines."""
    return folder / f"{pipeline_name}.load_log.jsonl"


def _plain(row: Row) -> Row:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _parsed(row: Row) -> Row:
    times = {name: datetime.fromisoformat(row[name]) for name in _TIMES if row.get(name)}
    return {**row, **times}


def write(
    pipeline: dlt.Pipeline, settings: Settings, rows: Sequence[Row], earlier: Sequence[Row] = ()
) -> None:
    """Write rows to load_log; create its table if it is missing.

    Args:
        earlier: rows of the journal, which may have been written already.
    """
    if add_table(pipeline, LOAD_LOG.name, LOAD_LOG.description, dlt_columns(LOAD_LOG)):
        make_tables(pipeline, settings.shard)
    with Files.opened(pipeline) as files:
        if files:
            for run_id, of_run in _by_run([*earlier, *rows]).items():
                # Writing it again overwrites the same file.
                files.add_file(LOAD_LOG.name, f"{run_id}.0.parquet", _parquet(of_run))
            return
    try:
        with pipeline.sql_client() as client:
            name = client.make_qualified_table_name(LOAD_LOG.name)
            for run_id in _by_run(earlier):
                run = client.escape_column_name("run_id")
                client.execute_sql(f"DELETE FROM {name} WHERE {run} = %s", run_id)
            _insert(client, name, [*earlier, *rows])
    except SqlClientNotAvailable:
        logger.info("this destination answers no SQL: load_log is not written")


def _insert(client: Any, table: str, rows: Sequence[Row]) -> None:
    dialect = dialect_of(client)
    names = [column.name for column in LOAD_LOG.columns]
    columns = ", ".join(map(client.escape_column_name, names))
    values = ", ".join([f"({', '.join(['%s'] * len(names))})"] * len(rows))
    found = [_value(row.get(name), dialect) for row in rows for name in names]
    client.execute_sql(f"INSERT INTO {table} ({columns}) VALUES {values}", *found)


def _value(value: Any, dialect: str) -> Any:
    if not isinstance(value, datetime):
        return value
    naive = value.astimezone(timezone.utc).replace(tzinfo=None)
    if dialect == "sqlite":
        # SQLite stores it as text.
        return naive.strftime("%Y-%m-%d %H:%M:%S.%f")
    # MySQL's times have no zone.
    return naive if dialect in ("mysql", "mariadb") else value


def _by_run(rows: Iterable[Row]) -> Mapping[str, list[Row]]:
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row["run_id"], []).append(row)
    return runs


def _parquet(rows: Sequence[Row]) -> bytes:
    table = pa.Table.from_pylist(list(rows), schema=LOAD_LOG.arrow_schema)
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def dlt_columns(table: Table) -> list[Row]:
    """Return a table's columns in dlt's form."""
    return [
        {
            "name": column.name,
            "data_type": column.type,
            "nullable": column.nullable,
            "description": column.description,
        }
        for column in table.columns
    ]
