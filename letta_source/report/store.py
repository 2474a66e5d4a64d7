"""The columns that a report needs, in a DuckDB file of its own: the same whatever the destination."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from letta_source.tables import all_tables

NEEDED: Mapping[str, tuple[str, ...]] = {
    "agents": ("id", "name"),
    "runs": ("id", "agent_id", "conversation_id", "status", "created_at", "completed_at", "stop_reason",
             "total_duration_ns"),
    "steps": ("id", "run_id", "agent_id", "status", "stop_reason", "model", "model_handle", "prompt_tokens",
              "completion_tokens", "total_tokens", "cached_input_tokens", "cache_write_tokens",
              "reasoning_tokens", "error_type"),
    "agent_messages": ("agent_id", "id", "position", "sequence", "created_at", "message_type", "run_id",
                       "step_id"),
    "agent_messages__tool_calls": ("agent_id", "message_id", "position", "idx", "tool_call_id", "name"),
    "agent_messages__tool_returns": ("agent_id", "message_id", "position", "idx", "tool_call_id", "status"),
    "agent_messages__approvals": ("agent_id", "message_id", "position", "idx", "tool_call_id", "type",
                                  "approve", "status"),
    "load_issues": ("load_started_at", "resource", "parent_id", "kind"),
}  # fmt: skip
_TYPES = {"text": "VARCHAR", "bigint": "BIGINT", "timestamp": "TIMESTAMP", "bool": "BOOLEAN"}


@contextmanager
def opened() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty store, gone afterwards; times in it are UTC, without a zone."""
    # A file is compressed, and what does not fit into memory can leave it.
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(str(Path(folder) / "report.duckdb")) as store,
    ):
        store.execute("SET TimeZone = 'UTC'")
        types = {table.name: {c.name: c.type for c in table.columns} for table in all_tables()}
        for table, columns in NEEDED.items():
            typed = ", ".join(f"{name} {_TYPES[types[table][name]]}" for name in columns)
            store.execute(f"CREATE TABLE {table} ({typed})")
        # Letta's own user messages; see `own_messages`.
        store.execute("CREATE TABLE own_message (agent_id VARCHAR, id VARCHAR, position BIGINT)")
        yield store


def fill(store: duckdb.DuckDBPyConnection, table: str, batches: Iterable[pa.RecordBatch]) -> None:
    """Adds rows of a table; columns that they lack are null."""
    for batch in batches:
        rows = pa.table(batch)
        chosen = ", ".join(name if name in rows.column_names else "NULL" for name in NEEDED[table])
        store.from_arrow(rows).query("rows", f"INSERT INTO {table} SELECT {chosen} FROM rows")
