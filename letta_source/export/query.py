"""The SQL of an export, for every database: names are escaped, values are parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from letta_source.errors import ConfigError
from letta_source.export import pairing
from letta_source.export.selection import Selection, Via, agent_of, child_columns, date_of
from letta_source.export.values import utc
from letta_source.schema.columns import LOAD_ID, Column
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES, Table

LOADS = "_dlt_loads"
Query = tuple[str, list[Any]]
"""SQL, and the values for each `%s` in it."""


class Reader(ABC):
    """One open destination, whose tables and columns have the names that dlt gives them.

    Args:
        client: dlt's SQL client, which qualifies and escapes names.
        appends: True if it is append-only: rows of earlier loads remain.
    """

    def __init__(self, client: Any, appends: bool) -> None:
        self._client = client
        self.appends = appends
        self._columns: dict[str, frozenset[str]] = {}

    def table(self, name: str) -> str:
        """Return a table's name in SQL."""
        return str(self._client.make_qualified_table_name(name))

    def column(self, name: str) -> str:
        """Return a column's name in SQL."""
        return str(self._client.escape_column_name(name))

    def selected(self, expression: str, column: Column) -> str:
        """Return SQL that selects the column in a form that `stream` can read."""
        return expression

    def sorted(self, expression: str) -> str:
        """Return SQL that sorts a text by its bytes, even if the database would sort by a language."""
        return expression

    def moment(self, time: datetime) -> Any:
        """Return a time in the form that the database compares."""
        return utc(time)

    def columns_of(self, table: str) -> frozenset[str]:
        """Return the existing columns; empty for a missing table that is only made once it has rows.

        Raises:
            ConfigError: the table is missing because it was never loaded.
        """
        if table not in self._columns:
            self._columns[table] = frozenset(name.lower() for name in self._found_columns(table))
        return self._columns[table]

    @abstractmethod
    def _found_columns(self, table: str) -> list[str]:
        """Return the columns of a table as the destination has them; see `columns_of`."""

    @abstractmethod
    def row(self, sql: str) -> tuple[Any, ...]:
        """Return the only row of a query."""

    @abstractmethod
    def stream(self, query: Query, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the columns' types while the database sends them."""


class Queries:
    """The queries of one selection; child rows are in the order of their parent rows."""

    def __init__(self, selection: Selection, reader: Reader) -> None:
        self._what = selection
        self._reader = reader

    def rows(self) -> tuple[Query, list[Column]] | None:
        """Return the query and the columns that the destination has; None if it lacks the table."""
        table = self._what.table
        wanted = {column.name: column for column in (*self._what.columns, *_key(table))}
        return self._child(table, wanted) if self._what.is_child else self._root(wanted)

    def loads(self) -> str:
        """Return a query that counts completed loads and rows of others: each load changes the result."""
        root, name = self._reader.table(self._what.root.name), self._reader.column
        finished = f"SELECT count(*) FROM {self._reader.table(LOADS)} WHERE {name('status')} = 0"
        unfinished = f"SELECT count(*) FROM {root} r WHERE NOT {self._finished('r')}"
        return f"SELECT ({finished}) AS finished, ({unfinished}) AS unfinished"

    def child(self, name: str) -> tuple[Query, list[Column]] | None:
        """Return the query of a child table and its columns that the destination has, or None."""
        table = self._what.children[name]
        return self._child(table, {column.name: column for column in (*child_columns(table), *_key(table))})

    def _root(self, wanted: dict[str, Column]) -> tuple[Query, list[Column]] | None:
        there = self._columns()
        if not there:
            return None
        columns = [column for name, column in wanted.items() if name in there]
        source, conditions, values = self._source()
        sql = f"SELECT {self._listed('r', columns)} FROM {source} WHERE {conditions} ORDER BY {self._order()}"
        return (sql, values), columns

    def _child(self, table: Table, wanted: dict[str, Column]) -> tuple[Query, list[Column]] | None:
        if not self._reader.columns_of(self._what.root.name):
            return None
        there = self._reader.columns_of(table.name)
        if not there:
            return None
        columns = [column for name, column in wanted.items() if name in there]
        source, conditions, values = self._source()
        name = self._reader.column
        # The parent, the message and the position, in the same order in both.
        pairs = zip(_key(table)[:-1], self._what.root.primary_key, strict=True)
        on = " AND ".join(f"c.{name(mine.name)} = r.{name(its)}" for mine, its in pairs)
        if self._reader.appends:
            conditions += f" AND {self._finished('c')}"
        sql = (
            f"SELECT {self._listed('c', columns)}"
            f" FROM {self._reader.table(table.name)} c JOIN {source} ON {on}"
            f" WHERE {conditions} ORDER BY {self._order()}, c.{name('idx')}"
        )
        return (sql, values), columns

    def _listed(self, alias: str, columns: Sequence[Column]) -> str:
        return ", ".join(
            f"{self._reader.selected(f'{alias}.{self._reader.column(one.name)}', one)}"
            f" AS {self._reader.column(one.name)}"
            for one in columns
        )

    def _source(self) -> tuple[str, str, list[Any]]:
        """Return SQL for the root's rows as `r`, conditions on them, and the conditions' values."""
        if self._what.root is pairing.TOOL_CALLS:
            conditions, values = self._filtered()
            return f"({self._tool_calls()}) r", " AND ".join(conditions or ["1 = 1"]), values
        table = self._reader.table(self._what.root.name)
        if not (self._reader.appends and self._what.is_entity):
            conditions, values = self._filtered()
            return f"{table} r", " AND ".join([self._finished("r"), *conditions]), values
        # Each change added a row: the newest is the current state.
        load_id, id_ = self._reader.column(LOAD_ID.name), self._reader.column("id")
        newest = f"row_number() OVER (PARTITION BY a.{id_} ORDER BY a.{load_id} DESC)"
        source = f"(SELECT a.*, {newest} AS newest FROM {table} a WHERE {self._finished('a')}) r"
        conditions, values = self._filtered()
        return source, " AND ".join(["r.newest = 1", *conditions]), values

    def _columns(self) -> frozenset[str]:
        """Return the root's existing columns; empty if the table is missing."""
        if self._what.root is not pairing.TOOL_CALLS:
            return self._reader.columns_of(self._what.root.name)
        there = self._reader.columns_of(pairing.ROOT)
        return frozenset(column.name for column in self._what.root.columns) if there else there

    def _tool_calls(self) -> str:
        reader = self._reader
        messages = reader.table(pairing.ROOT)
        tables = {pairing.ROOT: messages}
        for child in pairing.CHILDREN:
            _, _, name = child.partition("__")
            if not reader.columns_of(child):
                columns = (RESOURCES[pairing.ROOT].children or {})[name].columns
                tables[name] = pairing.absent(messages, columns)
            elif reader.appends:
                tables[name] = f"(SELECT * FROM {reader.table(child)} f WHERE {self._finished('f')})"
            else:
                tables[name] = reader.table(child)
        return pairing.query(tables, self._loads())

    def _finished(self, alias: str) -> str:
        """Return the condition for rows of completed loads: others have written only some of the tables."""
        return f"{alias}.{self._reader.column(LOAD_ID.name)} IN ({self._loads()})"

    def _loads(self) -> str:
        name = self._reader.column
        return f"SELECT {name('load_id')} FROM {self._reader.table(LOADS)} WHERE {name('status')} = 0"

    def _filtered(self) -> tuple[list[str], list[Any]]:
        root, filters = self._what.root, self._what.filters
        conditions: list[str] = []
        values: list[Any] = []
        if filters.agent_ids:
            conditions.append(self._through(agent_of(root), _one_of(filters.agent_ids)))
            values += filters.agent_ids
        dates = [(">=", filters.start_date), ("<", filters.end_date)]
        for sign, date in dates:
            if date:
                conditions.append(self._through(date_of(root), f"{sign} %s"))
                values.append(self._reader.moment(date))
        if filters.message_types:
            conditions.append(f"r.{self._reader.column('message_type')} {_one_of(filters.message_types)}")
            values += filters.message_types
        assert root is not LOAD_ISSUES or not conditions
        return conditions, values

    def _through(self, place: str | Via | None, condition: str) -> str:
        """Return a condition on a column of the root, or of the table that its rows refer to."""
        name = self._reader.column
        assert place, "checked when the selection was made"
        if isinstance(place, str):
            return f"r.{name(place)} {condition}"
        key, other, column = place
        if not self._reader.columns_of(other):
            raise ConfigError(
                f"{self._what.root.name} cannot be filtered this way without {other}: load it, too"
            )
        others = f"SELECT {name('id')} FROM {self._reader.table(other)} WHERE {name(column)} {condition}"
        return f"r.{name(key)} IN ({others})"

    def _order(self) -> str:
        """Return the order by parent, date, sequence and key, which is always the same."""
        root = self._what.root
        there = self._columns()
        parent = root.primary_key[:1] if root.merge_key and root.primary_key[0] != "id" else ()
        names = dict.fromkeys([*parent, "created_at", "sequence", *root.primary_key])
        if root is pairing.TOOL_CALLS:
            # The order of their messages.
            names = dict.fromkeys(["agent_id", "called_at", "sequence", *root.primary_key])
        by_name = {column.name: column for column in root.columns}
        return ", ".join(self._sorted(by_name[name]) for name in names if name in by_name and name in there)

    def _sorted(self, column: Column) -> str:
        name = f"r.{self._reader.column(column.name)}"
        by = self._reader.sorted(name) if column.type == "text" else name
        # Databases differ in whether null comes first.
        return f"CASE WHEN {name} IS NULL THEN 0 ELSE 1 END, {by}" if column.nullable else by


def _key(table: Table) -> list[Column]:
    by_name = {column.name: column for column in table.columns}
    return [by_name[name] for name in table.primary_key]


def _one_of(values: Sequence[str]) -> str:
    return f"IN ({', '.join(['%s'] * len(values))})"
