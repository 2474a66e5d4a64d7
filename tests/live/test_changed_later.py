"""Later changes on the real server are loaded: relations at once, edits with the sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.conftest import Letta
from tests.support.loaded_duckdb import LoadedDuckDB
from tests.support.seed import Api
from tests.support.server_rows import Tables

pytestmark = pytest.mark.live

RESOURCES = "agents,conversations,agent_messages,conversation_messages,steps"
EDITED = [{"type": "text", "text": "Edited in place."}]
FAILED = [{"type": "text", "text": "Of a failed step."}]


def test_later_changes_are_loaded(letta: Letta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(letta.server, letta.client)
    agent = api.create_agent("changed", "letta_v1_agent", list(letta.ids.tools.values()))
    conversation, untouched = api.create_conversation(agent), api.create_conversation(agent)
    api.turn(agent, "Hello there.")
    api.converse(conversation, "Hello in a thread.")
    warehouse = LoadedDuckDB(tmp_path, letta.server.base_url)
    # Without an overlap, only explicit rereads read anything twice.
    some = ("--agent-id", agent, "--resources", RESOURCES, "--lag", "0")
    loaded = warehouse.run(*some)
    assert loaded.returncode == 0, loaded.stderr
    # All conversations are requested; this server has no archived ones.
    assert warehouse.ids("conversations") == {conversation, untouched}
    [(step, edited)] = warehouse.rows(
        "SELECT step_id, id FROM agent_messages WHERE message_type = 'user_message' AND text = 'Hello there.'"
    )
    [in_thread] = warehouse.rows("SELECT id FROM conversation_messages WHERE message_type = 'user_message'")

    api.set_agent(agent, tags=["vip"])
    api.attach(agent, "identities", identity := api.create_identity("changed later"))
    api.change(f"/v1/steps/{step}/feedback", feedback="negative")
    api.change(f"/v1/conversations/{conversation}", summary="About a greeting.")
    api.change(f"/v1/agents/{agent}/core-memory/blocks/human", value="A person who was edited.")
    with Tables(letta.server.database_url) as tables:
        for message in (edited, *in_thread):
            # The pinned server answers 405 to the call that edits a message; earlier ones accepted it.
            tables.change_message(message, content=EDITED)
        failed = tables.add_message("user", FAILED, agent_id=agent, is_err=True)

    at_once = warehouse.run(*some)
    assert at_once.returncode == 0, at_once.stderr
    [(tags, identities, ids)] = warehouse.rows("SELECT tags, identities, identity_ids FROM agents")
    assert (tags, ids) == ('["vip"]', f'["{identity}"]')
    assert "changed later" in identities
    assert warehouse.rows("SELECT summary FROM conversations ORDER BY 1") == [("About a greeting.",), (None,)]
    assert warehouse.rows(f"SELECT text, is_err FROM agent_messages WHERE id = '{failed}'") == [
        ("Of a failed step.", True)
    ]
    later: dict[str, list[tuple[str, ...]]] = {"feedback": [], "edited": [], "system": []}
    # A conversation's messages of its cursor's second come again in each load.
    assert {name: rows for name, rows in found(warehouse).items() if name in later} == later

    monkeypatch.setenv("SOURCES__LETTA__SWEEP_INTERVAL", "0")
    swept = warehouse.run(*some)
    assert swept.returncode == 0, swept.stderr
    assert found(warehouse) == {
        "feedback": [(step,)],
        "edited": sorted([(edited,), in_thread]),
        "edited in the thread": [in_thread],
        "system": [(agent,)],
    }
    assert warehouse.doubled_keys() == []


def found(warehouse: LoadedDuckDB) -> dict[str, list[tuple[str, ...]]]:
    """Return the loaded values of everything that changed in place."""
    queries = {
        "feedback": "SELECT id FROM steps WHERE feedback = 'negative'",
        "edited": "SELECT id FROM agent_messages WHERE text = 'Edited in place.'",
        "edited in the thread": "SELECT id FROM conversation_messages WHERE text = 'Edited in place.'",
        "system": "SELECT agent_id FROM agent_messages WHERE message_type = 'system_message'"
        " AND text LIKE '%A person who was edited.%'",
    }
    return {name: sorted(warehouse.rows(query)) for name, query in queries.items()}
