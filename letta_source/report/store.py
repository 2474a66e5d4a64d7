"""A DuckDB file with the columns that a report needs, the same for every destination."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import duckdb
import pyarrow as pa

from letta_source.schema.resources import all_tables
from letta_source.schema.tables import Table

NEEDED: Mapping[str, tuple[str, ...]] = {
    "agents": ("id", "name"),
    "runs": ("id", "agent_id", "conversation_id", "status", "created_at", "completed_at", "stop_reason",
             "total_duration_ns"),
    "steps": ("id", "run_id", "agent_id", "status", "stop_reason", "model", "model_handle", "prompt_tokens",
              "completion_tokens", "total_tokens", "cached_input_tokens", "cache_write_tokens",
              "reasoning_tokens", "error_type", "feedback"),
    "agent_messages": ("agent_id", "id", "position", "sequence", "created_at", "message_type", "run_id",
                       "step_id"),
    "agent_messages__tool_calls": ("agent_id", "message_id", "position", "idx", "tool_call_id", "name"),
    "agent_messages__tool_returns": ("agent_id", "message_id", "position", "idx", "tool_call_id", "status"),
    "agent_messages__approvals": ("agent_id", "message_id", "position", "idx", "tool_call_id", "type",
                                  "approve", "status"),
    "load_issues": ("load_started_at", "resource", "parent_id", "kind"),
}  # fmt: skip
KEY = ("agent_id", "id", "position")
USER_TEXT = "user_text"
"""A table of its own, because the texts of other messages are not read."""
# Beyond it, DuckDB spills to disk.
_MEMORY = "512MB"
_TYPES = {
    "text": "VARCHAR", "json": "VARCHAR", "bigint": "BIGINT", "timestamp": "TIMESTAMP", "bool": "BOOLEAN"
}  # fmt: skip


@contextmanager
def open_store() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Yield an empty store and a folder, both deleted afterwards; times in it are UTC, without a zone."""
    # A file is compressed, and data that does not fit into memory can go to disk.
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(str(Path(folder) / "report.duckdb")) as store,
    ):
        store.execute("SET TimeZone = 'UTC'")
        store.execute(f"SET memory_limit = '{_MEMORY}'")
        for table in all_tables():
            if table.name in NEEDED:
                _create(store, table)
        # The models refer to the version of each row, which matters only if they are built again.
        store.execute("CREATE TABLE int_letta__agent_versions (agent_id VARCHAR, agent_version VARCHAR)")
        yield store, Path(folder)


def _create(store: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Create a table of the columns read, and over it the dbt package's staging model with all columns."""
    types = {column.name: _TYPES[column.type] for column in table.columns}
    typed = ", ".join(f"{name} {types[name]}" for name in NEEDED[table.name])
    store.execute(f"CREATE TABLE {table.name} ({typed})")
    source, there = table.name, set(NEEDED[table.name])
    if table.name == "agent_messages":
        key = ", ".join(f"{name} {types[name]}" for name in KEY)
        store.execute(f"CREATE TABLE {USER_TEXT} ({key}, text VARCHAR)")
        source, there = f"{source} LEFT JOIN {USER_TEXT} USING ({', '.join(KEY)})", there | {"text"}
    rest = "".join(f", NULL::{kind} AS {name}" for name, kind in types.items() if name not in there)
    store.execute(f"CREATE VIEW stg_letta__{table.name} AS SELECT *{rest} FROM {source}")


def fill(store: duckdb.DuckDBPyConnection, table: str, batches: Iterable[pa.RecordBatch]) -> None:
    """Add rows to a table while they are read; their columns are those of `NEEDED`."""
    rest = iter(batches)
    if (first := next(rest, None)) is None:
        return
    rows = pa.RecordBatchReader.from_batches(first.schema, chain([first], rest))
    store.from_arrow(rows).insert_into(table)
