"""Tables of memory, tools, identities and steps' metrics equal the real server's database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.live.conftest import Letta
from tests.support.language_model import EMBEDDING_DIMENSIONS, EMBEDDING_MODEL
from tests.support.loaded_duckdb import LoadedDuckDB

pytestmark = pytest.mark.live

RESOURCES = "blocks,agent_blocks,archives,passages,tools,identities,step_metrics"
# By table of the warehouse: its columns, and a query for them in the server's database.
STORED = {
    "blocks": (
        "id, label, value, is_template, hidden",
        "select id, label, value, is_template, hidden from block where not is_deleted",
    ),
    "agent_blocks": (
        "agent_id, id, value",
        "select a.agent_id, b.id, b.value from block b join blocks_agents a on a.block_id = b.id",
    ),
    "archives": ("id, name", "select id, name from archives where not is_deleted"),
    "passages": (
        "agent_id, id, text, archive_id",
        "select a.agent_id, p.id, p.text, p.archive_id from archival_passages p"
        " join archives_agents a on a.archive_id = p.archive_id where not p.is_deleted",
    ),
    "tools": (
        "id, name, tool_type, source_code",
        "select id, name, tool_type, source_code from tools where not is_deleted",
    ),
    "identities": (
        "id, identifier_key, name, identity_type",
        "select id, identifier_key, name, identity_type from identities where not is_deleted",
    ),
    "step_metrics": (
        "id, run_id, agent_id, llm_request_ns, tool_execution_ns, step_ns",
        "select id, run_id, agent_id, llm_request_ns, tool_execution_ns, step_ns from step_metrics",
    ),
}


def stored(letta: Letta, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(letta.server.database_url)) as connection:
        connection.set_session(readonly=True)
        with connection.cursor() as cursor:
            cursor.execute(query)
            return sorted(cursor.fetchall(), key=repr)


def send(letta: Letta, method: str, path: str, body: object = None) -> Any:
    answer = letta.client.request(method, path, json=body, timeout=60)
    assert answer.status_code < 300, answer.text
    return answer.json()


def remember(letta: Letta, agents: list[str]) -> str:
    """Give agents memory of every kind; return a block that two of them share."""
    block = {"label": "shared", "value": "likes tea"}
    shared = str(send(letta, "POST", "/v1/blocks/", block)["id"])
    for agent in agents:
        send(letta, "PATCH", f"/v1/agents/{agent}/core-memory/blocks/attach/{shared}")
        for text in ("was in Rome", "speaks 日本語"):
            send(letta, "POST", f"/v1/agents/{agent}/archival-memory", {"text": text, "tags": ["trips"]})
    send(letta, "POST", "/v1/blocks/", {"label": "free", "value": "nobody's"})
    send(letta, "POST", "/v1/blocks/", {"label": "secret", "value": "unseen", "hidden": True})
    send(letta, "POST", "/v1/blocks/", {"label": "persona", "value": "polite", "is_template": True})
    send(
        letta,
        "POST",
        "/v1/archives/",
        {
            "name": "nobody's",
            "embedding_config": {
                "embedding_model": EMBEDDING_MODEL,
                "embedding_endpoint_type": "openai",
                "embedding_endpoint": letta.server.model_url,
                "embedding_dim": EMBEDDING_DIMENSIONS,
            },
        },
    )
    for key in ("k-1", "k-2"):
        identity = {"identifier_key": key, "name": f"Ada {key}", "identity_type": "user"}
        send(letta, "POST", "/v1/identities/", identity)
    return shared


def test_tables_of_memory_equal_the_servers_database(letta: Letta, tmp_path: Path) -> None:
    agents = [letta.ids.agents["v1"], letta.ids.agents["memgpt"]]
    shared = remember(letta, agents)
    written = stored(letta, "select id, updated_at from tools")
    warehouse = LoadedDuckDB(tmp_path, letta.server.base_url)
    # The small page size gives several pages of each.
    loaded = warehouse.run("--resources", RESOURCES, "--page-size", "3")
    assert loaded.returncode == 0, loaded.stderr
    for table, (columns, query) in STORED.items():
        expected = stored(letta, query)
        assert expected, table
        found = sorted(warehouse.rows(f"SELECT {columns} FROM {table}"), key=repr)
        assert found == expected, table
        assert warehouse.rows(f"SELECT DISTINCT extra FROM {table}") == [(None,)], table
    assert warehouse.doubled_keys() == []
    assert warehouse.rows("SELECT * FROM load_issues") == []
    # The server rewrites its own tools when they are listed without a cursor.
    assert stored(letta, "select id, updated_at from tools") == written

    send(letta, "PATCH", f"/v1/blocks/{shared}", {"value": "likes coffee"})
    again = warehouse.run("--resources", RESOURCES)
    assert again.returncode == 0, again.stderr
    assert warehouse.rows(f"SELECT value FROM blocks WHERE id = '{shared}'") == [("likes coffee",)]
    send(letta, "PATCH", f"/v1/agents/{agents[1]}/core-memory/blocks/detach/{shared}")
    repaired = warehouse.command("verify", "--repair", "--yes")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    marked = warehouse.rows("SELECT agent_id, id FROM agent_blocks WHERE _letta_deleted_at IS NOT NULL")
    assert marked == [(agents[1], shared)]
