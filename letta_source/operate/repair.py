"""Repair what verify found: read agents again, and mark rows that the server no longer has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import dlt

from letta_source.destinations.dlt_internals import sql_client_of
from letta_source.destinations.dlt_storage import add_column, damage_explained, make_tables_again
from letta_source.destinations.open_tables import set_time
from letta_source.errors import ConfigError
from letta_source.loading.error_text import in_one_line
from letta_source.loading.lock import pipeline_lock
from letta_source.loading.run import Load, load
from letta_source.loading.target import Target
from letta_source.operate.compare import Key
from letta_source.operate.verify import Agent, GoneRows, Totals
from letta_source.schema.columns import GONE
from letta_source.schema.resources import RESOURCES

MOST_GONE = 0.1
"""Fraction of the rows that may be gone without confirmation."""
# Ids per statement; agents per load.
_IDS, _AGENTS = 500, 50
FILES = (
    "--repair changes rows, which is impossible in plain files: differences are only reported."
    " Load the dataset again instead"
)


def assert_few_gone(totals: Totals) -> None:
    """Refuse a repair if so many rows are gone that this may be another server.

    Raises:
        ConfigError: more than MOST_GONE of the compared rows are gone.
    """
    if totals.gone > MOST_GONE * totals.rows:
        raise ConfigError(
            f"{totals.gone:,} of {totals.rows:,} rows are gone from the server: nothing was repaired. If it"
            " is the right server and project, add --yes"
        )


def read_again(
    target: Target, settings: Mapping[str, Any], agents: Sequence[Agent], batch_ids: Sequence[str] = ()
) -> list[str]:
    """Reload all agents that differ, and whatever belongs to no single agent; return the agents' ids.

    Args:
        settings: arguments of `letta_source.letta`, without agents.
        batch_ids: batches in the warehouse, as the server lists no finished batch.

    Raises:
        LettaError: a load failed.
    """
    wanted = {
        agent.agent_id: resources
        for agent in agents
        if not agent.is_gone and (resources := agent.resources(("missing", "edited", "extra")))
    }
    if others := wanted.pop("", None):
        by_batch = any(RESOURCES[name].is_of_batches for name in others)
        _load(target, {**settings, "batch_ids": [*batch_ids] if by_batch else None}, others)
    ids = sorted(wanted)
    for begin in range(0, len(ids), _AGENTS):
        part = ids[begin : begin + _AGENTS]
        resources = set().union(*(wanted[agent_id] for agent_id in part))
        _load(target, {**settings, "agent_ids": part}, resources)
    return ids


def _load(target: Target, settings: Mapping[str, Any], resources: Collection[str]) -> None:
    load(
        Load(
            {**settings, "refresh": True},
            [name for name in RESOURCES if name in resources],
            target.destination,
            target.dataset_name,
            target.pipeline_name,
            target.destination_name,
            target.database,
        )
    )


def mark_gone(target: Target, agents: Iterable[Agent], now: datetime, moment: Any) -> int:
    """Set `_letta_deleted_at` in rows that are gone; return how many.

    Args:
        moment: `now` in the destination's form.

    Raises:
        ConfigError: a load is running, or its package is not loaded yet.
    """
    rows: GoneRows = {}
    for agent in agents:
        for table, keys in agent.gone_rows.items():
            rows.setdefault(table, []).extend(keys)
    if not rows:
        return 0
    with in_one_line("repair again"), pipeline_lock(target) as leased:
        pipeline = leased.pipeline()
        if pipeline.has_pending_data:
            raise ConfigError("a load was left unfinished: `letta-source run` first, then repair")
        with damage_explained(pipeline):
            pipeline.sync_destination()
        parts = {table: _parts(table, keys) for table, keys in rows.items()}
        client: Any = pipeline.destination_client()
        if sql_client_of(client) is None:
            for table, meant in parts.items():
                set_time(pipeline, RESOURCES[table].root, GONE.name, now, meant)
        else:
            _add_column(pipeline, rows)
            client = pipeline.destination_client()
            with client, client.sql_client.begin_transaction():
                if leased.lease:
                    leased.lease.hold(client.sql_client)
                for table, meant in parts.items():
                    _mark(client.sql_client, table, meant, moment)
    return sum(map(len, rows.values()))


def _add_column(pipeline: dlt.Pipeline, tables: Iterable[str]) -> None:
    """Add the column to tables of older versions, which lack it."""
    names = list(tables)
    for name in names:
        add_column(pipeline, name, GONE)
    make_tables_again(pipeline, names)


def _parts(table: str, keys: Sequence[Key]) -> list[dict[str, list[str]]]:
    """Return filters that match these rows: values by column, of one parent and some of its ids each."""
    columns = RESOURCES[table].root.primary_key
    at = columns.index("id")
    by_parent: dict[Key, dict[str, None]] = {}
    for key in keys:
        by_parent.setdefault(key[:at], {})[key[at]] = None
    parts: list[dict[str, list[str]]] = []
    for parent, found in by_parent.items():
        own = {name: [value] for name, value in zip(columns, parent, strict=False)}
        ids = list(found)
        parts += [{**own, "id": ids[begin : begin + _IDS]} for begin in range(0, len(ids), _IDS)]
    return parts


def _mark(client: Any, table: str, parts: Sequence[Mapping[str, Sequence[str]]], moment: Any) -> None:
    name, gone = client.make_qualified_table_name(table), client.escape_column_name(GONE.name)
    for part in parts:
        meant = " AND ".join(
            f"{client.escape_column_name(column)} IN ({', '.join(['%s'] * len(values))})"
            for column, values in part.items()
        )
        values = [value for of_column in part.values() for value in of_column]
        sql = f"UPDATE {name} SET {gone} = %s WHERE {meant} AND {gone} IS NULL"
        client.execute_sql(sql, moment, *values)
