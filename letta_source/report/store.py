"""The columns that a report needs, in a DuckDB file of its own: the same whatever the destination."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import duckdb
import pyarrow as pa

from letta_source.schema.resources import all_tables

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
# More goes to disk.
_MEMORY = "512MB"
_TYPES = {"text": "VARCHAR", "bigint": "BIGINT", "timestamp": "TIMESTAMP", "bool": "BOOLEAN"}


@contextmanager
def opened() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """An empty store, and a folder, both gone afterwards; times in it are UTC, without a zone."""
    # A file is compressed, and what does not fit into memory can leave it.
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(str(Path(folder) / "report.duckdb")) as store,
    ):
        store.execute("SET TimeZone = 'UTC'")
        store.execute(f"SET memory_limit = '{_MEMORY}'")
        types = {table.name: {c.name: c.type for c in table.columns} for table in all_tables()}
        for table, columns in NEEDED.items():
            typed = ", ".join(f"{name} {_TYPES[types[table][name]]}" for name in columns)
            store.execute(f"CREATE TABLE {table} ({typed})")
        # Letta's own user messages; see `own_messages`.
        store.execute("CREATE TABLE own_message (agent_id VARCHAR, id VARCHAR, position BIGINT)")
        yield store, Path(folder)


def fill(store: duckdb.DuckDBPyConnection, table: str, batches: Iterable[pa.RecordBatch]) -> None:
    """Adds rows of a table while they are read; their columns are those of `NEEDED`."""
    rest = iter(batches)
    if (first := next(rest, None)) is None:
        return
    rows = pa.RecordBatchReader.from_batches(first.schema, chain([first], rest))
    store.from_arrow(rows).insert_into(table)
