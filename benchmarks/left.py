"""`python -m benchmarks.left`: print what loads of a fleet left in a warehouse, as JSON.

It runs in its own process: a child's memory is never counted as less than its parent's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import dlt

_KEYS = {
    "agents": "id",
    "agent_messages": "agent_id, id, position",
    "agent_messages__content": "agent_id, message_id, position, idx",
    "agent_messages__tool_calls": "agent_id, message_id, position, idx",
    "agent_messages__tool_returns": "agent_id, message_id, position, idx",
    "agent_messages__approvals": "agent_id, message_id, position, idx",
}


def left(destination: str, dataset: str) -> dict[str, Any]:
    """Return rows and keys by table, and by pipeline the bytes of its newest state and of all states."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "left", pipelines_dir=folder, destination=dlt.destination(destination), dataset_name=dataset
        )
        with pipeline.sql_client() as client:

            def asked(query: str, table: str) -> list[tuple[Any, ...]]:
                name = client.make_qualified_table_name(table)
                return [tuple(row) for row in client.execute_sql(query.format(name)) or ()]

            rows = {
                table: asked(
                    f"SELECT (SELECT count(*) FROM {{0}}),"
                    f" (SELECT count(*) FROM (SELECT DISTINCT {key} FROM {{0}}) AS one)",
                    table,
                )[0]
                for table, key in _KEYS.items()
            }
            states = asked(
                "SELECT pipeline_name, length(state) FROM {0} ORDER BY pipeline_name, version",
                "_dlt_pipeline_state",
            )
    newest = dict(states)
    sent = {name: sum(size for of, size in states if of == name) for name in newest}
    return {"rows": rows, "newest": newest, "sent": sent}


if __name__ == "__main__":
    print(json.dumps(left(*sys.argv[1:])))
