"""The table load_log: what each run did, written once after its last package.

dlt's own loads do not write it: a run that found nothing makes no load package, and making one for the log
alone takes longer than the run. If the destination is unreachable, a journal beside the pipeline's working
folder keeps the rows for the next run.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
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
from letta_source.destinations.dlt_internals import dialect_of, pipelines_folder
from letta_source.destinations.dlt_storage import add_table
from letta_source.destinations.tables import make_tables
from letta_source.errors import ConfigError, ExitCode, InUse, LettaError
from letta_source.loading.error_text import one_line
from letta_source.loading.issues_view import keep_view
from letta_source.loading.journal import Journal, Row, by_run, journal_file
from letta_source.loading.lock import while_idle
from letta_source.loading.outcome import exit_code, installed_version, why_failed
from letta_source.loading.own_folder import make_own_folder
from letta_source.loading.target import Target
from letta_source.loading.workspace import Workspace
from letta_source.safe_text import visible
from letta_source.schema.tables import LOAD_LOG
from letta_source.settings import Settings
from letta_source.state.counts import Counts
from letta_source.state.session import Session
from letta_source.times import local_now, written

logger = logging.getLogger(__name__)

# Runs that the journal holds: an outage may last for weeks.
_MOST_RUNS = 500
# Rows of one INSERT: some databases take about 2,000 values.
_AT_ONCE = 50


@contextmanager
def refusal_logged(target: Target, session: Session, resources: Iterable[str]) -> Iterator[None]:
    """Note in the journal a run that the block refuses, such as while the server is away.

    Only where the pipeline has been run before, and nobody runs it now, whose journal it is then.
    """
    began = local_now()
    try:
        yield
    except InUse:
        raise
    except LettaError as error:
        folder = Path(pipelines_folder())
        if (folder / target.name).is_dir():
            run = _Run(began, session, None, tuple(resources))
            journal = Journal(journal_file(folder, target.name), target.place())
            try:
                # Nothing is written where others could replace it.
                make_own_folder(folder / target.name)
                with while_idle(target.name) as is_idle:
                    if is_idle:
                        rows = [*journal.rows(), *run.rows(ExitCode(error.exit_code), reason=str(error))]
                        last = list(by_run(rows))[-_MOST_RUNS:]
                        journal.keep([row for row in rows if row["run_id"] in last])
            except (OSError, ConfigError) as unwritten:
                logger.warning("the journal of load_log cannot be written: %s", unwritten)
        raise


@contextmanager
def run_logged(workspace: Workspace, session: Session, resources: Iterable[str]) -> Iterator[None]:
    """Record the run in the block: write its rows once it ends.

    While it runs, the journal holds it as interrupted, which the next run finds if it is killed.
    """
    run = _Run(local_now(), session, workspace, tuple(resources))
    journal = Journal.of(workspace.pipeline)
    earlier = journal.rows()
    journal.keep([*earlier, *run.rows(None)])
    try:
        yield
    except BaseException as error:
        # Only to the journal: the destination may be the cause.
        code = error.exit_code if isinstance(error, LettaError) else ExitCode.FAILED
        journal.keep([*earlier, *run.rows(code, raised=True, reason=_why(error))])
        raise
    failed = why_failed(session)
    code = ExitCode.FAILED if failed else exit_code(session)
    rows = run.rows(code, reason=failed)
    journal.keep([*earlier, *rows])
    try:
        write(workspace.pipeline, session.settings, rows, earlier)
    except Exception as error:  # Drivers have exceptions of their own.
        logger.warning("load_log could not be written, the next run tries again: %s", one_line(error))
    else:
        journal.keep([])
        keep_view(workspace.pipeline)


class _Run:
    """One run, as rows of load_log."""

    def __init__(
        self,
        began: datetime,
        session: Session,
        workspace: Workspace | None,
        resources: tuple[str, ...],
    ) -> None:
        self._run_id = f"{began:%Y%m%dT%H%M%S.%f}-{token_hex(4)}"
        self._began = began
        self._session = session
        self._workspace = workspace
        self._resources = resources
        self._version = installed_version()

    def rows(self, code: ExitCode | None, raised: bool = False, reason: str | None = None) -> list[Row]:
        """Return a row for each resource.

        Args:
            code: None while the run has not ended.
            raised: an error ended it, so that not everything that was read was loaded.
            reason: why it failed.
        """
        settings = self._session.settings
        load_ids = self._workspace.load_ids if self._workspace else ()
        common = {
            "run_id": self._run_id,
            "load_ids": ",".join(load_ids) or None,
            "began_at": self._began,
            "ended_at": None if code is None else local_now(),
            "host": settings.base_url,
            "project": settings.project or None,
            "shard": None if settings.shard.is_whole else str(settings.shard),
            "exit_code": None if code is None else int(code),
            "reason": visible(reason) if reason else None,
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


def _why(error: BaseException) -> str | None:
    """Return what ended a run, in one line; None if somebody stopped it."""
    if isinstance(error, LettaError):
        return str(error)
    return one_line(error) if isinstance(error, Exception) else None


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


def write(
    pipeline: dlt.Pipeline, settings: Settings, rows: Sequence[Row], earlier: Sequence[Row] = ()
) -> None:
    """Write rows to load_log; create its table if it is missing.

    Args:
        earlier: rows of the journal, which may have been written already.
    """
    if add_table(pipeline, LOAD_LOG):
        make_tables(pipeline, settings.shard)
    with Files.opened(pipeline) as files:
        if files:
            for run_id, of_run in by_run([*earlier, *rows]).items():
                # Writing it again overwrites the same file.
                files.add_file(LOAD_LOG.name, f"{run_id}.0.parquet", _parquet(of_run))
            return
    try:
        with pipeline.sql_client() as client:
            name = client.make_qualified_table_name(LOAD_LOG.name)
            for run_id in by_run(earlier):
                run = client.escape_column_name("run_id")
                client.execute_sql(f"DELETE FROM {name} WHERE {run} = %s", run_id)
            written = [*earlier, *rows]
            for begin in range(0, len(written), _AT_ONCE):
                _insert(client, name, written[begin : begin + _AT_ONCE])
    except SqlClientNotAvailable:
        logger.info("this destination does not support SQL: load_log is not written")


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
        return written(naive, "microseconds")
    # MySQL's times have no zone.
    return naive if dialect in ("mysql", "mariadb") else value


def _parquet(rows: Sequence[Row]) -> bytes:
    table = pa.Table.from_pylist(list(rows), schema=LOAD_LOG.arrow_schema)
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()
