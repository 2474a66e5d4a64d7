"""`letta-source verify` names differences by agent and kind, and repairs them only where that is safe."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import duckdb
import pytest

from letta_source.demo import Server
from letta_source.destinations.capabilities import LONGEST_TEXT
from tests.support.command import SOME, Command, Said, ago, messages, one_of
from tests.support.first_loads import Loaded
from tests.support.full_letta import FullLetta

pytestmark = pytest.mark.whole

NONE = "group-00000000-0000-4000-8000-000000000000"
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


def ids_of_messages(letta: FullLetta, agent: str) -> list[str]:
    return list(letta.list_of("agent", agent).ids())


def kinds(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return by table the counts that are not 0, of the only agent that differs."""
    (agent,) = found["agents"]
    return {
        name: {kind: count for kind, count in table.items() if kind in QUIET and count}
        for name, table in agent["tables"].items()
    }


def test_a_fresh_load_has_no_differences(letta_source: Command, letta: FullLetta, server: Server) -> None:
    letta.add_conversation(one_of(letta))
    resources = "agents,runs,steps,conversations,agent_messages,step_messages,conversation_messages"
    letta_source.load(server, "--resources", resources)
    found = told(letta_source, server, 0)["found"]
    assert (found["agents_compared"], found["agents"], found["counts"]) == (2, [], QUIET)


def test_each_kind_of_difference_is_named_and_repaired(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    for text in ("one", "two", "three"):
        for agent in letta.tables["agents"].rows:
            letta.talk(agent, text, tools=["roll_dice"], date=ago(hours=1))
    letta_source.load(server)
    agent = one_of(letta)
    lost, changed, deleted = ids_of_messages(letta, agent)[:3]
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
    # Marked rows are no difference the next time, and a full load leaves them marked.
    letta_source.load(server, "--refresh")
    assert told(letta_source, server, 0)["found"]["counts"] == QUIET


def test_items_of_no_single_agent_are_compared_as_a_whole(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    agents = list(letta.tables["agents"].rows)
    group = letta.add_group(agents, "supervisor")
    manager = letta.tables["groups"].rows[group]["manager_agent_id"]
    lost, edited, _ = (letta.add_message(manager, group_ids=[group], date=ago(hours=1)) for _ in range(3))
    open_batch, finished = letta.add_batch(agents[0]), letta.add_batch(agents[1])
    resources = ("--resources", "groups,batches,group_messages,batch_messages,messages")
    letta_source.load(server, *resources)
    letta.finish_batch(finished)
    letta_source.load(server, *resources)
    found = told(letta_source, server, 0)["found"]
    assert (found["agents_compared"], found["counts"], found["others"]["tables"]) == (0, QUIET, {})
    assert list(found["not_compared"]) == ["messages"]
    change(
        letta_source,
        f"DELETE FROM group_messages WHERE id = '{lost}'",
        f"UPDATE group_messages SET text = 'another' WHERE id = '{edited}'",
        f"INSERT INTO groups BY NAME SELECT * REPLACE ('{NONE}' AS id) FROM groups",
        f"UPDATE batches SET callback_url = 'another' WHERE id = '{finished}'",
        f"DELETE FROM batch_messages WHERE batch_id = '{open_batch}'",
    )
    found = told(letta_source, server, 3)["found"]
    assert found["agents"] == []
    tables = found["others"]["tables"]
    assert {name: [kind for kind in QUIET if table[kind]] for name, table in tables.items()} == {
        "groups": ["gone"],
        "group_messages": ["missing", "edited"],
        "batches": ["edited"],
        "batch_messages": ["missing"],
    }
    assert tables["group_messages"]["edited_columns"] == ["text"]
    said = asked(letta_source, server, "--repair", "--yes")
    assert (said.code, said.err) == (0, "")
    assert "of no single agent" in said.out
    assert "Not compared: messages, as it is one list of everything" in said.out
    assert told(letta_source, server, 0)["found"]["counts"] == QUIET


def test_tables_that_are_not_compared_are_named(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    letta.add_group(list(letta.tables["agents"].rows), "supervisor")
    letta_source.load(server, "--resources", "agents,groups,step_messages")
    agent = one_of(letta)
    without = told(letta_source, server, 0)["found"]
    assert list(without["not_compared"]) == ["step_messages"]
    assert without["others"] is not None
    limited = told(letta_source, server, 0, "--agent-id", agent)["found"]
    assert sorted(limited["not_compared"]) == ["groups", "step_messages"]
    assert limited["others"] is None
    for options, says in (
        (("--resources", "step_messages"), "step_messages cannot be compared: its agents are found by steps"),
        (("--resources", "groups", "--sample", "1"), "groups cannot be compared: it is of no single agent"),
    ):
        said = asked(letta_source, server, *options)
        assert (said.code, says in said.err) == (2, True), said.err


def test_a_marked_row_that_is_back_differs(loaded: Loaded) -> None:
    letta_source, _, server = loaded
    change(letta_source, "UPDATE agents SET _letta_deleted_at = now()")
    (one, _) = told(letta_source, server, 0, "--resources", "agents", "--repair")["found"]["agents"]
    assert one["tables"]["agents"]["edited_columns"] == ["_letta_deleted_at"]
    assert letta_source.count("agents WHERE _letta_deleted_at IS NULL") == 2


def mask(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.delenv("SOURCES__LETTA__MASK", raising=False)
    if said:
        monkeypatch.setenv("SOURCES__LETTA__MASK", said)
        monkeypatch.setenv("SOURCES__LETTA__MASK_KEY", "0123456789abcdef")


@pytest.mark.parametrize(
    ("then", "now", "logged"),
    [
        ("content=redact", "content=redact", True),
        ("text=hash", "", True),
        ("", "agent_messages.text=drop", True),
        ("content=drop", "", False),
    ],
)
def test_masked_values_are_no_difference(
    letta_source: Command,
    letta: FullLetta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    then: str,
    now: str,
    logged: bool,
) -> None:
    if not logged:
        # As a version without load_log would leave it.
        monkeypatch.setattr("letta_source.loading.load_log.write", lambda *of_run: None)
    mask(monkeypatch, then)
    letta_source.load(server)
    mask(monkeypatch, now)
    found = told(letta_source, server, 0)["found"]
    assert found["counts"]["not_comparable"] > 0
    assert "agent_messages.text" in found["hidden_columns"]
    assert "agent_messages.run_id" not in found["hidden_columns"]
    # Columns that are not hidden are compared.
    change(letta_source, "UPDATE agent_messages SET run_id = 'run-0'")
    found = told(letta_source, server, 3)["found"]
    assert all(one["tables"]["agent_messages"]["edited_columns"] == ["run_id"] for one in found["agents"])


def test_truncated_texts_are_no_difference(
    letta_source: Command, letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LONGEST_TEXT, "duckdb", 400)
    agent = one_of(letta)
    letta.talk(agent, "long " * 200, date=ago(hours=1))
    letta_source.load(server)
    found = told(letta_source, server, 0)["found"]
    assert "agent_messages.text" in found["hidden_columns"]
    change(letta_source, "UPDATE agent_messages SET text = left(text, 399) WHERE length(text) = 400")
    assert told(letta_source, server, 0)["found"]["counts"]["edited"] == 0
    change(letta_source, "UPDATE agent_messages SET text = left(text, 300) WHERE length(text) > 300")
    assert told(letta_source, server, 3)["found"]["counts"]["edited"] == 2


def test_plain_files_are_not_repaired(
    letta_source: Command, letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = letta_source.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", lake.as_uri())
    files = ("--destination", "filesystem")
    letta_source("run", "--base-url", server.base_url, *SOME, *files)
    assert told(letta_source, server, 0, *files)["found"]["counts"] == QUIET
    agent = one_of(letta)
    letta.delete_message(ids_of_messages(letta, agent)[0])
    letta.change_agent(agent, name="another")
    before = letta_source.files()
    assert kinds(told(letta_source, server, 3, *files)["found"])["agent_messages"] == {"gone": 1}
    said = asked(letta_source, server, "--repair", *files)
    assert said.code == 2
    assert "impossible in plain files: differences are only reported" in said.err
    assert letta_source.files() == before


@pytest.mark.parametrize("form", ["delta", "iceberg"])
def test_delta_and_iceberg_tables_are_repaired(
    letta_source: Command, letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    pytest.importorskip({"delta": "deltalake", "iceberg": "pyiceberg"}[form])
    lake = letta_source.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", lake.as_uri())
    files = ("--destination", "filesystem", "--table-format", form)
    load = ("run", "--base-url", server.base_url, "--resources", "agent_messages", *files)
    letta_source(*load)
    deleted = ids_of_messages(letta, one_of(letta))[-1]
    letta.delete_message(deleted)
    repaired = told(letta_source, server, 0, "--repair", *files)
    assert repaired["repaired"] == {"read_again": [], "marked": 1}
    assert letta_source(*load).code == 0
    assert told(letta_source, server, 0, *files)["found"]["counts"] == QUIET
    said = asked(letta_source, server, *files[:2])
    assert (said.code, "give --table-format" in said.err) == (2, True)


def test_many_gone_rows_are_marked_only_with_yes(loaded: Loaded) -> None:
    letta_source, letta, server = loaded
    agent = one_of(letta)
    held = letta_source.rows(f"SELECT count(*) FROM letta.agent_messages WHERE agent_id = '{agent}'")[0][0]
    letta.delete_agent(agent)
    said = asked(letta_source, server, "--repair")
    assert said.code == 2
    assert f"{agent}: gone from the server" in said.out
    assert "rows are gone from the server: nothing was repaired" in said.err
    assert letta_source.count("agents WHERE _letta_deleted_at IS NOT NULL") == 0
    server.requests.clear()
    repaired = told(letta_source, server, 0, "--repair", "--yes")
    assert kinds(repaired["found"]) == {"agents": {"gone": 1}, "agent_messages": {"gone": held}}
    assert repaired["repaired"] == {"read_again": [], "marked": int(str(held)) + 1}
    # Each of the two comparisons asks twice before it treats the agent as gone.
    assert sum(request.path == f"/v1/agents/{agent}" for request in server.requests) == 4
    assert letta_source.count(f"agent_messages WHERE _letta_deleted_at IS NULL AND agent_id = '{agent}'") == 0


def test_gone_rows_are_requested_twice(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    letta_source, letta, server = loaded
    agent = one_of(letta)
    letta.delete_message(ids_of_messages(letta, agent)[0])
    answers = iter([True, *[False] * 9])
    monkeypatch.setattr("letta_source.operate.server.is_gone", lambda error: next(answers))
    assert kinds(told(letta_source, server, 3)["found"]) == {"agent_messages": {"extra": 1}}


def test_changes_since_the_last_load_are_no_difference(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    resources = ("--resources", "agents,runs,steps,agent_messages")
    letta_source.load(server, *resources)
    # On the wire, its messages have the second in which the load began.
    [(began,)] = letta_source.rows("SELECT max(began_at) FROM letta.load_log")
    assert isinstance(began, datetime)
    letta.talk(one_of(letta), "after the load", tools=["roll_dice"], date=began)
    found = told(letta_source, server, 0)["found"]
    assert found["counts"]["newer"] >= 5
    assert "the next one brings" in asked(letta_source, server).out
    letta_source.load(server, *resources)
    assert told(letta_source, server, 0)["found"]["counts"] == QUIET


def test_a_table_of_an_older_version_gets_the_column(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    for _ in range(3):
        for agent in letta.tables["agents"].rows:
            letta.talk(agent, "more")
    letta_source.load(server)
    change(letta_source, "ALTER TABLE agent_messages DROP COLUMN _letta_deleted_at")
    letta.delete_message(ids_of_messages(letta, one_of(letta))[-1])
    assert asked(letta_source, server, "--repair").code == 0
    assert letta_source.count("agent_messages WHERE _letta_deleted_at IS NOT NULL") == 1


def test_it_takes_agents_and_a_sample(loaded: Loaded) -> None:
    letta_source, letta, server = loaded
    one, other = letta.tables["agents"].rows
    change(letta_source, f"DELETE FROM agents WHERE id = '{one}'")
    assert told(letta_source, server, 0, "--agent-id", other)["found"]["agents_compared"] == 1
    assert kinds(told(letta_source, server, 3, "--agent-id", f"{one},{other}")["found"]) == {
        "agents": {"missing": 1}
    }
    assert (
        told(letta_source, server, 0, "--sample", "1", "--agent-id", other)["found"]["agents_compared"] == 1
    )
    assert asked(letta_source, server, "--sample", "1").out.count("1 agents compared") == 1


def test_contradictory_options_are_refused(loaded: Loaded) -> None:
    letta_source, _, server = loaded
    for options, says in (
        ("--agent-id agent-00000000-0000-4000-8000-000000000000", "neither the server nor the warehouse"),
        ("--agent-id agent-mistyped", "does not accept this id: agent agent-mistyped; ids look like agent-"),
        ("--resources groups", "groups cannot be verified here: there are agents, agent_messages"),
        ("--sample 0", "must be a number, 1 or more"),
        ("--yes", "--yes needs --repair"),
    ):
        said = asked(letta_source, server, *options.split())
        assert (said.code, said.out.splitlines()[1:], says in said.err) == (2, [], True), said


def test_memory_is_compared_and_detached_memory_is_marked(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    agent = one_of(letta)
    blocks = [letta.add_block(value, agent_ids=[agent]) for value in ("likes tea", "polite")]
    archive = letta.add_archive("notes", [agent])
    passages = [letta.add_passage(archive, text) for text in ("was in Rome", "was in Oslo")]
    letta.add_tool("roll")
    letta.add_identity("k-1", "Ada")
    what = "blocks,agent_blocks,archives,passages,tools,identities,step_metrics"
    letta_source.load(server, "--resources", what)
    assert told(letta_source, server, 0)["found"]["counts"] == QUIET
    letta.detach_block(agent, blocks[0])
    letta.delete_passage(passages[0])
    found = told(letta_source, server, 3)["found"]
    assert kinds(found) == {"agent_blocks": {"gone": 1}, "passages": {"gone": 1}}
    told(letta_source, server, 0, "--repair", "--yes")
    for table, gone in (("agent_blocks", blocks[0]), ("passages", passages[0])):
        marked = f"SELECT id FROM letta.{table} WHERE _letta_deleted_at IS NOT NULL"
        assert letta_source.rows(marked) == [(gone,)]


@pytest.mark.parametrize("option", [("--mask", "text=redact"), ("--images", "drop")])
def test_a_repair_stores_nothing_that_the_last_load_masked(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, option: tuple[str, str]
) -> None:
    letta_source.load(server, "--resources", "agents,agent_messages", *option)
    change(letta_source, "DELETE FROM agent_messages WHERE text IS NOT NULL")
    left = letta_source.count("agent_messages")
    said = asked(letta_source, server, "--repair", "--yes")
    assert said.code == 2
    assert f"the last load masked {'images' if 'drop' in option else 'agent_messages.extra'}" in said.err
    assert letta_source.count("agent_messages") == left
    assert asked(letta_source, server).code == 3
    monkeypatch.setenv(f"SOURCES__LETTA__{option[0].removeprefix('--').upper()}", option[1])
    assert asked(letta_source, server, "--repair").code == 0
    assert letta_source.count("agent_messages") > left
