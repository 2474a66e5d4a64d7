"""Read the last runs of the load from the table load_log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from letta_source.export.readers import is_there
from letta_source.schema.columns import text
from letta_source.schema.tables import LOAD_LOG

if TYPE_CHECKING:
    from letta_source.export.query import Reader

_OUTCOMES = {0: "loaded", 3: "incomplete", None: "interrupted or running"}


@dataclass(frozen=True)
class LoadRun:
    """One run; times are UTC without a zone.

    Attributes:
        modes: incremental, sweep, window or refresh, in the order of its resources.
        outcome: loaded, incomplete, failed, or interrupted or running.
        rows, requests, retries: totals of all resources.
        new_problems, known_problems: numbers of parents and messages that could not be read.
    """

    began_at: datetime
    seconds: float | None
    modes: str
    outcome: str
    rows: int
    requests: int
    retries: int
    new_problems: int
    known_problems: int


def last_runs(reader: Reader, most: int = 10) -> list[LoadRun]:
    """Return the last runs, the newest first; empty if only older versions loaded."""
    if not is_there(reader, LOAD_LOG.name):
        return []
    run_id, table = reader.column("run_id"), reader.table(LOAD_LOG.name)
    sql = f"SELECT DISTINCT {run_id} FROM {table} ORDER BY {run_id} DESC"
    ids = pa.Table.from_batches(reader.stream((sql, []), (text("run_id", ""),))).column(0).to_pylist()[:most]
    there = reader.columns_of(LOAD_LOG.name)
    columns = [column for column in LOAD_LOG.columns if column.name in there]
    listed = ", ".join(reader.column(column.name) for column in columns)
    marks = ", ".join(["%s"] * len(ids))
    sql = f"SELECT {listed} FROM {table} WHERE {run_id} IN ({marks}) ORDER BY {run_id} DESC"
    runs: dict[str, list[dict[str, Any]]] = {}
    for batch in reader.stream((sql, ids), columns) if ids else ():
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            row = dict(zip((column.name for column in columns), values, strict=True))
            runs.setdefault(row["run_id"], []).append(row)
    return [_run(rows) for rows in runs.values()]


def _run(rows: list[dict[str, Any]]) -> LoadRun:
    def total(name: str) -> int:
        return sum(row.get(name) or 0 for row in rows)

    first: Mapping[str, Any] = rows[0]
    began, ended = first["began_at"], first.get("ended_at")
    return LoadRun(
        began.astimezone(timezone.utc).replace(tzinfo=None) if began.tzinfo else began,
        (ended - began).total_seconds() if ended else None,
        ", ".join(dict.fromkeys(row["mode"] for row in rows if row.get("mode"))),
        _OUTCOMES.get(first.get("exit_code"), "failed"),
        total("rows_written"),
        total("requests"),
        total("retries"),
        total("new_problems"),
        total("known_problems"),
    )
