"""Remove all that a dataset holds of some agents or conversations, and keep it from coming back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb

from letta_source.destinations.dlt_internals import (
    database_file,
    is_kind,
    sql_client_of,
)
from letta_source.destinations.dlt_storage import add_table, stored_columns
from letta_source.destinations.tables import make_tables
from letta_source.errors import ConfigError
from letta_source.export.selection import agent_of
from letta_source.loading.load_log import dlt_columns
from letta_source.loading.lock import held
from letta_source.loading.target import Target
from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.schema.tables import ERASED, LOAD_ISSUES, Table

FILES = (
    "erase needs a destination that takes SQL. Of files: delete the agent's rows with a tool of your own, or"
    " delete the dataset's folder, take the agent out by agent_ids, and load again"
)


# The table that the columns with this name refer to.
_CONVERSATIONS = {
    column.references
    for table in all_tables()
    for column in table.columns
    if column.name == "conversation_id" and column.references
}


@dataclass(frozen=True)
class Erasure:
    """The rows that were erased, or would be.

    Attributes:
        rows: by table.
        unknown: tables that do not say whose their rows are.
    """

    rows: Mapping[str, int]
    unknown: Sequence[str]


@dataclass(frozen=True)
class _Part:
    """Rows of one table, by a condition in SQL."""

    table: str
    condition: str
    values: list[str] = field(default_factory=list)


def erase(
    target: Target, agent_ids: Sequence[str], conversation_ids: Sequence[str], dry_run: bool = False
) -> Erasure:
    """Erase from every table that is there, in one transaction; loads leave out what was erased.

    Args:
        dry_run: only count.

    Raises:
        ConfigError: the destination takes no SQL, a load is running, or its package is not loaded yet.
    """
    with held(target) as leased:
        pipeline = leased.pipeline()
        if pipeline.has_pending_data:
            raise ConfigError("a load was left unfinished: `letta-source run` first, then erase")
        client: Any = pipeline.destination_client()
        if sql_client_of(client) is None:
            raise ConfigError(FILES)
        pipeline.sync_destination()
        with client:
            there = stored_columns(client, [table.name for table in all_tables()])
            sql = client.sql_client
            eraser = _Eraser(sql, {name for name, columns in there.items() if columns})
            parts, unknown = eraser.parts(agent_ids, conversation_ids)
            rows = {part.table: eraser.count(part) for part in parts}
        if dry_run:
            return Erasure(rows, unknown)
        # First: should the rest fail, nothing comes back meanwhile.
        if add_table(pipeline, ERASED.name, ERASED.description, dlt_columns(ERASED)):
            make_tables(pipeline, target.shard)
        client = pipeline.destination_client()
        with client:
            eraser = _Eraser(client.sql_client, eraser.there)
            staged = [name for name, columns in stored_columns(client, eraser.there, True).items() if columns]
            with client.sql_client.begin_transaction():
                if leased.lease:
                    leased.lease.hold(client.sql_client)
                runs = eraser.run_ids(conversation_ids)
                eraser.forbid({"agent": agent_ids, "conversation": conversation_ids, "run": runs})
                for part in parts:
                    eraser.delete(part)
                # A merge leaves there what it merged last.
                eraser.empty_staging(staged)
        file = database_file(client) if is_kind("duckdb", pipeline) else None
        if file:
            rewrite(file)
    return Erasure(rows, unknown)


class _Eraser:
    """Says which rows of which table, children before what they hang from."""

    def __init__(self, client: Any, there: set[str]) -> None:
        self._client = client
        self.there = there

    def parts(
        self, agent_ids: Sequence[str], conversation_ids: Sequence[str]
    ) -> tuple[list[_Part], list[str]]:
        roots: list[_Part] = []
        children: list[_Part] = []
        unknown = []
        for resource in RESOURCES.values():
            root = resource.root
            if root.name not in self.there:
                continue
            found = [*self._of_agents(root, agent_ids), *self._of_conversations(root, conversation_ids)]
            if not found:
                unknown.append(root.name)
                continue
            conditions = " OR ".join(condition for condition, _ in found)
            values = [value for _, of_condition in found for value in of_condition]
            roots.append(_Part(root.name, conditions, values))
            for child in (resource.children or {}).values():
                if child.name in self.there:
                    children.append(_Part(child.name, self._hanging(child, root, conditions), values))
        if LOAD_ISSUES.name in self.there:
            ids = [*agent_ids, *conversation_ids]
            children.append(_Part(LOAD_ISSUES.name, self._in(LOAD_ISSUES.name, "parent_id", ids), ids))
        # What is found through another table goes before that one.
        roots.reverse()
        roots.sort(key=lambda part: "SELECT" not in part.condition)
        return [*children, *roots], unknown

    def _of_agents(self, root: Table, ids: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        place = agent_of(root)
        if not ids or place is None:
            return
        if isinstance(place, str):
            yield self._in(root.name, place, ids), [*ids]
        elif place[1] in self.there:
            key, other, column = place
            within = self._in(other, column, ids)
            id_, table = self._column(other, "id"), self._table(other)
            yield f"{self._column(root.name, key)} IN (SELECT {id_} FROM {table} WHERE {within})", [*ids]

    def _of_conversations(self, root: Table, ids: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        columns = {column.name: column for column in root.columns}
        name = "id" if f"{root.name}.id" in _CONVERSATIONS else "conversation_id"
        if ids and name in columns:
            yield self._in(root.name, name, ids), [*ids]
        elif ids and "run_id" in columns and (runs := self._runs(columns["run_id"].references)):
            # An agent's messages say of which run they are, and the run of which conversation.
            within, id_ = self._in(runs, "conversation_id", ids), self._column(runs, "id")
            found = f"SELECT {id_} FROM {self._table(runs)} WHERE {within}"
            yield f"{self._column(root.name, 'run_id')} IN ({found})", [*ids]

    def _runs(self, references: str | None) -> str | None:
        name = (references or "").partition(".")[0]
        return name if name in self.there else None

    def run_ids(self, conversation_ids: Sequence[str]) -> list[str]:
        """Return the runs of conversations: their messages do not name the conversation."""
        columns = (column for table in all_tables() for column in table.columns)
        named = next(one.references for one in columns if one.name == "run_id" and one.references)
        runs = self._runs(named)
        if not (runs and conversation_ids):
            return []
        within = self._in(runs, "conversation_id", conversation_ids)
        sql = f"SELECT {self._column(runs, 'id')} FROM {self._table(runs)} WHERE {within}"
        return [row[0] for row in self._client.execute_sql(sql, *conversation_ids) or ()]

    def _hanging(self, child: Table, root: Table, conditions: str) -> str:
        pairs = zip(child.merge_key, root.merge_key, strict=True)
        on = " AND ".join(
            f"{self._column(root.name, its)} = {self._column(child.name, mine)}" for mine, its in pairs
        )
        return f"EXISTS (SELECT 1 FROM {self._table(root.name)} WHERE {on} AND ({conditions}))"

    def _in(self, table: str, column: str, ids: Sequence[str]) -> str:
        return f"{self._column(table, column)} IN ({', '.join(['%s'] * len(ids))})"

    def _table(self, name: str) -> str:
        return str(self._client.make_qualified_table_name(name))

    def _column(self, table: str, name: str) -> str:
        return f"{self._table(table)}.{self._client.escape_column_name(name)}"

    def count(self, part: _Part) -> int:
        sql = f"SELECT count(*) FROM {self._table(part.table)} WHERE {part.condition}"
        return int(self._client.execute_sql(sql, *part.values)[0][0])

    def delete(self, part: _Part) -> None:
        self._client.execute_sql(
            f"DELETE FROM {self._table(part.table)} WHERE {part.condition}", *part.values
        )

    def empty_staging(self, tables: Sequence[str]) -> None:
        with self._client.with_staging_dataset():
            for name in tables:
                self._client.execute_sql(f"DELETE FROM {self._table(name)} WHERE 1 = 1")

    def forbid(self, ids: Mapping[str, Sequence[str]]) -> None:
        table = self._table(ERASED.name)
        id_, kind, at = map(self._client.escape_column_name, ("id", "kind", "erased_at"))
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        for of_kind, wanted in ids.items():
            for one in wanted:
                self._client.execute_sql(f"DELETE FROM {table} WHERE {id_} = %s", one)
                self._client.execute_sql(
                    f"INSERT INTO {table} ({kind}, {id_}, {at}) VALUES (%s, %s, %s)",
                    of_kind,
                    one,
                    now.strftime("%Y-%m-%d %H:%M:%S"),
                )


def rewrite(file: Path) -> None:
    """Write a DuckDB file anew: deleted rows stay in its free blocks, and in its log."""
    new = file.with_name(f".{file.name}.new")
    for one in (new, new.with_name(f"{new.name}.wal")):
        one.unlink(missing_ok=True)
    with closing(duckdb.connect()) as connection:
        old_name, new_name = (str(one).replace("'", "''") for one in (file, new))
        # Views name their tables with the file's name.
        connection.execute(f"ATTACH '{old_name}' AS \"{file.stem}\"")
        connection.execute(f"ATTACH '{new_name}' AS letta_source_new")
        connection.execute(f'COPY FROM DATABASE "{file.stem}" TO letta_source_new')
        connection.execute(f'DETACH "{file.stem}"')
        connection.execute("DETACH letta_source_new")
    os.chmod(new, file.stat().st_mode & 0o777)
    new.replace(file)
    file.with_name(f"{file.name}.wal").unlink(missing_ok=True)
