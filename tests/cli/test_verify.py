"""`letta-source verify`: what differs is named by agent and kind, and repaired only where that is safe."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest

from letta_source.demo import Letta, Server
from letta_source.destinations.text_limits import LONGEST_TEXT
from tests.support.command import SOME, Command, Said, messages, one_of

QUIET = {"missing": 0, "edited": 0, "gone": 0, "extra": 0, "newer": 0, "unreadable": 0, "not_comparable": 0}


def asked(letta_source: Command, server: Server, *options: str) -> Said:
    return letta_source("verify", "--base-url", server.base_url, *options)


def told(letta_source: Command, server: Server, code: int, *options: str) -> dict[str, Any]:
    said = asked(letta_source, server, "--json", *options)
    assert said.code == code, said
    found: dict[str, Any] = json.loads(said.out)
    return found


def change(letta_source: Command, *statements: str) -> None:
    with duckdb.connect(str(letta_source.folder / "letta_db.duckdb")) as connection:
        connection.execute("SET schema = 'letta'")
        for statement in statements:
            connection.execute(statement)


def ids_of_messages(letta: Letta, agent: str) -> list[str]:
    return list(letta.list_of("agent", agent).ids())


def kinds(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    """By table of the only agent that differs, what is not 0."""
    (agent,) = found["agents"]
    return {
        name: {kind: count for kind, count in table.items() if kind in QUIET and count}
        for name, table in agent["tables"].items()
    }


def test_a_fresh_load_has_no_differences(letta_source: Command, letta: Letta, server: Server) -> None:
    letta.add_conversation(one_of(letta))
    resources = "agents,runs,steps,conversations,agent_messages,step_messages,conversation_messages"
    letta_source.load(server, "--resources", resources)
    found = told(letta_source, server, 0)["found"]
    assert (found["agents_compared"], found["agents"], found["counts"]) == (2, [], QUIET)


def test_each_kind_of_difference_is_named_and_repaired(
    letta_source: Command, letta: Letta, server: Server
) -> None:
    for text in ("one", "two", "three"):
        for agent in letta.tables["agents"].rows:
            letta.talk(agent, text, tools=["roll_dice"])
    letta_source.load(server)
    agent = one_of(letta)
    lost, changed, deleted, called = ids_of_messages(letta, agent)[:4]
    ((call,),) = letta_source.rows(
        "SELECT message_id FROM letta.agent_messages__tool_calls ORDER BY ALL LIMIT 1"
    )
    change(
        letta_source,
        f"DELETE FROM agent_messages WHERE id = '{lost}'",
        f"UPDATE agent_messages SET text = 'another', seq_id = 7 WHERE id = '{changed}' AND position = 0",
        "INSERT INTO agent_messages BY NAME SELECT * REPLACE (9 AS position) FROM agent_messages"
        f" WHERE id = '{changed}' AND position = 0",
        "INSERT INTO agent_messages BY NAME SELECT * REPLACE ('message-none' AS id) FROM agent_messages"
        f" WHERE id = '{changed}' AND position = 0",
        "UPDATE agents SET name = 'another', updated_at = NULL",
        f"UPDATE agent_messages__tool_calls SET arguments_json = '{{}}' WHERE message_id = '{call}'",
    )
    letta.delete_message(deleted)
    found = told(letta_source, server, 3)["found"]
    assert found["agents_compared"] == 2
    by_agent = {one["agent_id"]: one["tables"] for one in found["agents"]}
    table = by_agent[agent]["agent_messages"]
    assert {kind: table[kind] for kind in ("edited", "extra")} == {"edited": 1, "extra": 1}
    assert table["edited_columns"] == ["seq_id", "text"]
    assert {one.split()[0] for one in table["examples"]["missing"]} == {lost}
    assert {one.split()[0] for one in table["examples"]["gone"]} == {deleted, "message-none"}
    assert table["examples"]["extra"] == [f"{changed} 9"]
    assert all(one["agents"]["edited_columns"] == ["name", "updated_at"] for one in by_agent.values())
    calls = [one.get("agent_messages__tool_calls") for one in by_agent.values()]
    assert [one["edited_columns"] for one in calls if one] == [["arguments_json"]]

    said = asked(letta_source, server, "--repair", "--yes")
    assert (said.code, said.err) == (0, "")
    assert "2 agents read again" in said.out
    marked = letta_source.rows(
        "SELECT DISTINCT id FROM letta.agent_messages WHERE _letta_deleted_at IS NOT NULL"
    )
    assert {one for (one,) in marked} == {deleted, "message-none"}
    kept = letta_source.count("agent_messages WHERE _letta_deleted_at IS NULL")
    assert kept == messages(letta)
    # What is marked is no news the next time, and a whole load leaves it marked.
    letta_source.load(server, "--refresh")
    assert told(letta_source, server, 0)["found"]["counts"] == QUIET
    assert called


def test_what_is_marked_and_there_again_differs(letta_source: Command, letta: Letta, server: Server) -> None:
    letta_source.load(server)
    change(letta_source, "UPDATE agents SET _letta_deleted_at = now()")
    (one, _) = told(letta_source, server, 0, "--resources", "agents", "--repair")["found"]["agents"]
    assert one["tables"]["agents"]["edited_columns"] == ["_letta_deleted_at"]
    assert letta_source.count("agents WHERE _letta_deleted_at IS NULL") == 2
