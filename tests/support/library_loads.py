"""Loads with the source as a library: with dlt into DuckDB, or merged in memory; and their tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
import orjson

from letta_source import letta
from letta_source.demo import Letta, Server
from letta_source.extract.collect import extract
from letta_source.loading.preflight import check_reachable
from letta_source.schema.columns import DELETED, LOAD_ID, SEQUENCE
from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.schema.tables import LOAD_ISSUES, Table
from letta_source.settings import make_settings
from letta_source.state.host import Host
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session
from tests.support.full_letta import FullLetta

Row = tuple[Any, ...]

EVERY_RESOURCE = [name for name in RESOURCES if name != "message_search"]
TABLES = {table.name: table for table in all_tables()}


def columns_of(table: str) -> list[str]:
    """Return all columns except those that differ in every load."""
    return [column.name for column in TABLES[table].columns if column not in (LOAD_ID, SEQUENCE)]


def in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=repr)


class Warehouse:
    """A dlt pipeline with its own state and DuckDB file, both in `folder`."""

    def __init__(self, folder: Path) -> None:
        # DuckDB confuses a schema with a database file of the same name.
        file = str(folder / "warehouse.duckdb")
        folder.mkdir(parents=True, exist_ok=True)
        # DuckDB takes 14 ms to open a file, which dlt does for each client, but 0.3 ms if it is open already.
        self._open = duckdb.connect(file)
        self.pipeline = dlt.pipeline(
            "letta",
            pipelines_dir=str(folder / "pipelines"),
            destination=dlt.destinations.duckdb(file),
            dataset_name="letta",
        )

    def close(self) -> None:
        """Have DuckDB write everything into the file, so that it can be moved."""
        self._open.close()

    def load(self, server: Server, *resources: str, **settings: Any) -> Session:
        """Load some resources, by default all except those on request."""
        session = Session()
        source = letta(**{"base_url": server.base_url, "session": session, **settings})
        self.pipeline.run(source.with_resources(*resources) if resources else source)
        return session

    def tables(self) -> list[str]:
        """Return the names of the source's tables, without dlt's own."""
        return sorted(self.pipeline.default_schema.data_table_names())

    def rows(self, table: str, *columns: str) -> list[Row]:
        """Return the sorted rows: the named columns, or all but the load's id."""
        with self.pipeline.sql_client() as client:
            chosen = ", ".join(f'"{name}"' for name in columns or columns_of(table))
            return in_order(map(tuple, client.execute_sql(f"SELECT {chosen} FROM {table}") or ()))

    def ids(self, table: str, column: str = "id") -> list[str]:
        """Return one column, sorted."""
        return [row[0] for row in self.rows(table, column)]

    def everything(self) -> dict[str, list[Row]]:
        return {table: self.rows(table) for table in self.tables()}


class Merged:
    """The same without dlt and DuckDB: the source's rows, merged in memory by their keys.

    Takes milliseconds instead of a second, for tests that need hundreds of loads. It uses the resources'
    state directly, without a dlt source: settings are those of `letta_source.letta`.

    Args:
        upserts: merge by the primary key only: rows that a message no longer has stay.
    """

    def __init__(self, upserts: bool = False) -> None:
        self._upserts = upserts
        self.tables: dict[str, dict[Row, dict[Row, dict[str, Any]]]] = {}
        self.states: dict[str, dict[str, Any]] = {}

    def copy(self) -> Merged:
        """Return the same, to be loaded into apart: loads replace rows and states, and change none."""
        other = Merged(self._upserts)
        other.states = dict(self.states)
        other.tables = {
            name: {key: dict(rows) for key, rows in held.items()} for name, held in self.tables.items()
        }
        return other

    def load(
        self,
        server: Server,
        *resources: str,
        host: Host | None = None,
        checks: bool = False,
        **settings: Any,
    ) -> Session:
        """Load some resources, by default all except those on request.

        Args:
            checks: check the server first, as `letta_source.load` does.
        """
        session = Session(host=host or Host())
        # As `letta_source.letta` does, without the time that dlt takes to look up its configuration.
        session.settings = make_settings({"base_url": server.base_url, **settings}, {})
        if checks:
            check_reachable(session.settings, session.server)
        session.enter("load")
        for name in resources or [name for name, each in RESOURCES.items() if not each.on_request]:
            counts = session.begin(name)
            state = orjson.loads(orjson.dumps(self.states.get(name, {})))
            tracked = ResourceState(session, state)
            staged: dict[str, list[dict[str, Any]]] = {}
            for tables in extract(RESOURCES[name], tracked, counts, tombstones=not self._upserts):
                for table, arrow in tables:
                    staged.setdefault(table, []).extend(arrow.to_pylist())
                tracked.commit()
            # A failed load keeps neither rows nor state.
            self.states[name] = state
            for table, rows in staged.items():
                self._merge(TABLES[table], rows)
        return session

    def _merge(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        held = self.tables.setdefault(table.name, {})
        merge_key = (not self._upserts and table.merge_key) or table.primary_key
        for row in rows:
            held.pop(tuple(row[name] for name in merge_key), None)
        for row in rows:
            if not row.get(DELETED.name):
                key, merged = (tuple(row[name] for name in names) for names in (table.primary_key, merge_key))
                held.setdefault(merged, {})[key] = row

    def rows(self, table: str) -> list[Row]:
        """Return the sorted rows; null where an older version had no such column."""
        return in_order(
            tuple(row.get(name) for name in columns_of(table))
            for rows in self.tables.get(table, {}).values()
            for row in rows.values()
        )

    def ids(self, table: str, column: str = "id") -> list[str]:
        """Return one column, sorted."""
        return sorted(row[column] for rows in self.tables.get(table, {}).values() for row in rows.values())

    def everything(self) -> dict[str, list[Row]]:
        return {name: self.rows(name) for name in TABLES}


def small_letta(agents: int = 1) -> FullLetta:
    """Return agents with a turn, a conversation, a group, a batch and memory each; always the same ids."""
    letta = FullLetta(seed=0)
    for hour in range(agents):
        agent_id = letta.add_agent()
        letta.talk(agent_id, "hi", tools=["roll"], date=datetime(2024, 5, 4, hour, tzinfo=timezone.utc))
        letta.add_message(agent_id, group_ids=[letta.add_group([agent_id])])
        letta.add_conversation(agent_id)
        letta.add_batch(agent_id)
    add_memory(letta)
    return letta


def add_memory(letta: FullLetta) -> None:
    """Give each agent a block and a passage; add one block, tool, identity and archive."""
    agents = letta.tables["agents"].ids()
    for agent_id in agents:
        letta.add_block("likes tea", agent_ids=[agent_id])
        letta.add_passage(letta.add_archive("notes", [agent_id]), "was in Rome")
    letta.add_block("polite", "persona", template=True)
    letta.add_tool("core_memory_append", own=True)
    letta.add_tool("roll")
    letta.add_identity("k-1", "Ada")


def quiet_agent(letta: Letta) -> str:
    """Return a new agent without its system message: its messages have only the dates that the test sets."""
    agent_id = letta.add_agent()
    letta.delete_message(letta.list_of("agent", agent_id).ids()[0])
    return agent_id


def paths(server: Server) -> list[tuple[str, str | None]]:
    """Return the path and cursor of each request, in order, and clear the server's record."""
    asked = [(request.path, request.params.get("after")) for request in server.requests]
    server.requests.clear()
    return asked


def issues(rows: Iterable[Row]) -> list[tuple[str, str, str]]:
    """Return the resource, parent and kind of rows of load_issues."""
    names = columns_of(LOAD_ISSUES.name)
    places = [names.index(name) for name in ("resource", "parent_id", "kind")]
    return [(row[places[0]], row[places[1]], row[places[2]]) for row in rows]
