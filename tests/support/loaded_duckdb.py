"""A load into DuckDB with the command line, and the tables it leaves."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from letta_source.schema.resources import all_tables
from letta_source.schema.tables import Table
from tests.support.processes import ran
from tests.support.truth import Items


@dataclass(frozen=True)
class LoadedDuckDB:
    """A folder with a pipeline's state and its DuckDB file."""

    folder: Path
    base_url: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `letta-source run` with this warehouse's own state."""
        return self.command("run", *arguments)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `letta-source` with this warehouse's own state."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LETTA_")},
            "LETTA_BASE_URL": self.base_url,
            "DLT_DATA_DIR": str(self.folder / "dlt"),
        }
        return ran(self.folder, arguments, environment)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "letta_db.duckdb"), read_only=True) as connection:
            connection.execute("SET schema = 'letta'")
            return connection.execute(query).fetchall()

    def ids(self, table: str) -> set[str]:
        return {row[0] for row in self.rows(f"SELECT id FROM {table}")}

    def pairs(self, table: str, parent: str) -> set[tuple[str, str]]:
        return {(row[0], row[1]) for row in self.rows(f"SELECT DISTINCT {parent}, id FROM {table}")}

    def items(self, table: str, parent: str) -> Items:
        """Return the message types of each message's items, by position."""
        found: Items = {}
        for parent_id, message_id, kind in self.rows(
            f"SELECT {parent}, id, message_type FROM {table} ORDER BY {parent}, id, position"
        ):
            key = (parent_id, message_id)
            found[key] = (*found.get(key, ()), kind)
        return found

    def calls(self, child: str) -> dict[str, tuple[str, ...]]:
        """Return the tool call ids of each agent's message, in order."""
        found: dict[str, tuple[str, ...]] = {}
        for message_id, call_id in self.rows(
            f"SELECT message_id, tool_call_id FROM agent_messages__{child} ORDER BY message_id, position, idx"
        ):
            found[message_id] = (*found.get(message_id, ()), call_id)
        return found

    def doubled_keys(self) -> list[str]:
        """Return the tables in which a primary key occurs twice."""
        loaded = self.counts()
        return [table.name for table in all_tables() if table.name in loaded and self._doubled(table)]

    def _doubled(self, table: Table) -> list[tuple[Any, ...]]:
        keys = ", ".join(table.primary_key)
        return self.rows(f"SELECT 1 FROM {table.name} GROUP BY {keys} HAVING count(*) > 1")

    def counts(self) -> dict[str, int]:
        """Return the number of rows by table."""
        tables = self.rows("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'letta'")
        return {
            name: self.rows(f"SELECT count(*) FROM {name}")[0][0]
            for (name,) in tables
            if not name.startswith("_dlt")
        }
