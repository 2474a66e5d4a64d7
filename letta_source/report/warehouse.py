"""Read the columns that a report needs from a loaded dataset, and the load's health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from letta_source.destinations.dlt_internals import began
from letta_source.export.query import LOADS, Queries
from letta_source.export.readers import has_table
from letta_source.export.selection import select
from letta_source.export.stream import last_runs, query
from letta_source.export.values import widened
from letta_source.report.period import Period, PeriodOptions
from letta_source.report.store import KEY, NEEDED, USER_TEXT, fill
from letta_source.schema.columns import Column, bigint, text, timestamp
from letta_source.schema.resources import all_tables
from letta_source.times import earlier

if TYPE_CHECKING:
    import duckdb

    from letta_source.export.query import Reader

# Tables read only from a day before the periods on, so that a turn that began earlier is still whole.
_DATED = tuple(table for table in NEEDED if table.startswith("agent_messages"))
_LEAD_IN = timedelta(days=1)
# Characters that are read of a text; `letta_is_event` of the dbt package looks at 40.
_BEGINNING = 40
# Clocks may be wrong, and in another zone it may be tomorrow already; later dates cannot be true.
_AHEAD = timedelta(days=1)
_OUTCOMES = {0: "loaded", 3: "incomplete", None: "interrupted or running"}
_MOST_RUNS = 10


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


@dataclass(frozen=True)
class Health:
    """Facts about the loads that a reader must know; times are UTC without a zone.

    Attributes:
        last_load: when the newest completed load began; None if there is none.
        loads: number of completed loads.
        oldest, newest: when the oldest message of an agent was created, and the newest that is not ahead.
        ahead: number of items of agents' messages that are dated in the future.
        rows: number of rows by table, of existing tables.
        runs: the last runs, the newest first.
    """

    last_load: datetime | None
    loads: int
    oldest: datetime | None
    newest: datetime | None
    ahead: int
    rows: Mapping[str, int]
    runs: Sequence[LoadRun] = ()


def health(reader: Reader) -> Health:
    """Return the load's health, queried from the destination.

    Raises:
        ConfigError: agent_messages was not loaded.
    """
    reader.columns_of("agent_messages")
    load_id, status = reader.column("load_id"), reader.column("status")
    finished = f"FROM {reader.table(LOADS)} WHERE {status} = 0"
    loads = _row(
        reader, f"SELECT max({load_id}), count(*) {finished}", text("newest", ""), bigint("loads", "")
    )
    created_at = reader.column("created_at")
    messages = reader.table("agent_messages")
    latest = reader.moment(datetime.now(timezone.utc) + _AHEAD)
    # One message dated 2099 would make the report end there and say nothing about today.
    span = _row(
        reader,
        f"SELECT min({created_at}), max(CASE WHEN {created_at} <= %s THEN {created_at} END),"
        f" count(CASE WHEN {created_at} > %s THEN 1 END) FROM {messages}",
        timestamp("oldest", ""),
        timestamp("newest", ""),
        bigint("ahead", ""),
        values=[latest, latest],
    )
    there = [table.name for table in all_tables() if has_table(reader, table.name)]
    rows = {
        name: _row(reader, f"SELECT count(*) FROM {reader.table(name)}", bigint("rows", ""))["rows"]
        for name in there
    }
    return Health(
        last_load=_began(loads["newest"]),
        loads=loads["loads"],
        oldest=_naive(span["oldest"]),
        newest=_naive(span["newest"]),
        ahead=span["ahead"],
        rows=rows,
        runs=[_run(rows) for rows in last_runs(reader, _MOST_RUNS)],
    )


def _run(rows: Sequence[Mapping[str, Any]]) -> LoadRun:
    def total(name: str) -> int:
        return sum(row.get(name) or 0 for row in rows)

    first = rows[0]
    began, ended = first["began_at"], first.get("ended_at")
    return LoadRun(
        began.replace(tzinfo=None),
        (ended - began).total_seconds() if ended else None,
        ", ".join(dict.fromkeys(row["mode"] for row in rows if row.get("mode"))),
        _OUTCOMES.get(first.get("exit_code"), "failed"),
        total("rows_written"),
        total("requests"),
        total("retries"),
        total("new_problems"),
        total("known_problems"),
    )


def fill_store(
    reader: Reader,
    store: duckdb.DuckDBPyConnection,
    options: PeriodOptions,
    state: Health,
    agents: Sequence[str] | None = None,
) -> Period:
    """Fill the store with the data of the requested period and the one before; return the period.

    Runs and steps are read whole: steps have no date in the API, and an old run can have new messages.

    Args:
        agents: ids of those whose messages are read; by default all.

    Raises:
        ConfigError: the period would end before it starts.
    """
    newest, oldest = state.newest, state.oldest
    period = options.period(newest.replace(tzinfo=timezone.utc) if newest else None)
    since: datetime | None = earlier(period.before.start, _LEAD_IN)
    if oldest and since and since <= oldest.replace(tzinfo=timezone.utc):
        # Not every database supports the year 1.
        since = None
    chosen = {"start_date": since, "agent_ids": agents}
    for table, columns in NEEDED.items():
        if has_table(reader, table):
            fill(store, table, _selected(reader, table, columns, **chosen if table in _DATED else {}))
    fill(store, USER_TEXT, _user_texts(reader, **chosen))
    return period


def _selected(
    reader: Reader, table: str, columns: tuple[str, ...], **filters: Any
) -> Iterator[pa.RecordBatch]:
    selection = select(table, columns, **filters)
    if found := Queries(selection, reader).rows():
        for batch in reader.stream(*found):
            yield widened(batch, selection.schema)


def _user_texts(reader: Reader, **filters: Any) -> Iterator[pa.RecordBatch]:
    """Yield the beginnings of user messages, by which the models recognize those that the server wrote."""
    types = ["user_message"]
    for batch in _selected(reader, "agent_messages", (*KEY, "text"), message_types=types, **filters):
        beginnings = pc.utf8_slice_codeunits(batch["text"], 0, _BEGINNING)
        yield batch.set_column(len(KEY), "text", beginnings)


def _row(reader: Reader, sql: str, *columns: Column, values: Sequence[Any] = ()) -> dict[str, Any]:
    """Return the only row of a query."""
    (row,) = query(reader, sql, columns, values)
    return row


def _began(load_id: str | None) -> datetime | None:
    return _naive(began(load_id)) if load_id else None


def _naive(time: datetime | None) -> datetime | None:
    return time.astimezone(timezone.utc).replace(tzinfo=None) if time else None
