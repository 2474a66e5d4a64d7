"""A conversation as a person reads it: who said what when, in order, and what the tools did."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from letta_source.demo import Server, recorded_letta, serve
from letta_source.errors import ConfigError
from letta_source.export import conversation, to_arrow
from letta_source.export.transcript import Conversation, _quoted
from tests.support.command import one_of
from tests.support.library_loads import Warehouse, quiet_agent, small_letta


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("recorded"))
    with serve(recorded_letta()) as server:
        warehouse.load(server, "agents", "agent_messages", "runs")
    return warehouse


def every(recorded: Warehouse) -> list[Conversation]:
    return [conversation(recorded.pipeline, agent_id) for agent_id in recorded.ids("agents")]


def test_every_message_and_what_tools_did_is_in_it(recorded: Warehouse) -> None:
    said = every(recorded)
    rows = [row for one in said for row in one.rows]
    assert len(rows) == len(recorded.rows("agent_messages"))
    for one in said:
        text = str(one)
        for row in one.rows:
            if row["message_type"] in ("assistant_message",):
                assert row["text"] in text
            for call in row["tool_calls"]:
                assert f"`{call['name']}`\n\n```\n{call['arguments']}" in text
            for answer in row["tool_returns"]:
                assert f": {answer['status']}\n\n```" in text
                assert answer["tool_return"] in text


def test_what_nobody_said_is_no_users_message(recorded: Warehouse) -> None:
    text = "\n".join(map(str, every(recorded)))
    assert "**System event, login** · " in text
    assert "**System event, system_alert** · " in text
    assert "**User** · 2026-11-21 08:10:30 UTC\n\nhello sleepy" in text


def test_failures_thoughts_and_approvals_are_named(recorded: Warehouse) -> None:
    text = "\n".join(map(str, every(recorded)))
    assert "`explode`: error\n\n" in text
    assert "**Thought** · " in text
    assert "**Approval asked** · " in text
    assert "` approved" in text or "` denied" in text


def test_the_order_is_that_of_the_table_and_needs_no_sequence(tmp_path: Path, server: Server) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.load(server, "agents", "agent_messages")
    agent_id = warehouse.ids("agents")[0]
    ids = to_arrow(warehouse.pipeline, "agent_messages", agent_ids=[agent_id], columns=["id"])[
        "id"
    ].to_pylist()
    assert [row["id"] for row in conversation(warehouse.pipeline, agent_id).rows] == ids
    with warehouse.pipeline.sql_client() as client:
        client.execute_sql("UPDATE agent_messages SET sequence = NULL")
    assert sorted(row["id"] for row in conversation(warehouse.pipeline, agent_id).rows) == sorted(ids)


def test_one_conversation_and_what_is_in_none(tmp_path: Path) -> None:
    letta = small_letta()
    agent_id = one_of(letta)
    other = letta.add_conversation(agent_id)
    letta.talk(agent_id, "only here", date=datetime(2024, 6, 1, tzinfo=timezone.utc), conversation_id=other)
    warehouse = Warehouse(tmp_path)
    with serve(letta) as server:
        warehouse.load(server, "agents", "agent_messages", "runs")
    everything = conversation(warehouse.pipeline, agent_id)
    inside = conversation(warehouse.pipeline, agent_id, other)
    outside = conversation(warehouse.pipeline, agent_id, "default")
    assert "only here" in str(inside)
    assert str(inside).startswith(f"# agent 1 ({agent_id})\n\nConversation: {other}\n\n**User** · ")
    assert "only here" not in str(outside)
    assert len(inside.rows) + len(outside.rows) == len(everything.rows)
    with pytest.raises(
        ConfigError, match=f"no conversation nowhere of {agent_id} was loaded: there are .*{other}"
    ):
        conversation(warehouse.pipeline, agent_id, "nowhere")


def test_an_agent_without_messages_is_no_error(tmp_path: Path) -> None:
    letta = small_letta()
    silent = quiet_agent(letta)
    warehouse = Warehouse(tmp_path)
    with serve(letta) as server:
        warehouse.load(server, "agents", "agent_messages")
    assert str(conversation(warehouse.pipeline, silent)).endswith("No messages.")


def test_unknown_agents_are_named_with_what_to_do(recorded: Warehouse) -> None:
    with pytest.raises(
        ConfigError, match=r"no agent agent-x was loaded: .* `letta-source run --agent-id agent-x`"
    ):
        conversation(recorded.pipeline, "agent-x")
    with pytest.raises(ConfigError, match="agent_id is empty"):
        conversation(recorded.pipeline, " ")


def test_no_text_ends_its_block() -> None:
    assert _quoted("a\n```\nb") == "````\na\n```\nb\n````"
