"""Loads of blocks, tools, identities and steps' metrics, also while the server changes or fails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from socket import socket

import pytest

from letta_source.demo import Server, lists, serve
from letta_source.demo.filters import all_rows
from letta_source.demo.lists import lister
from letta_source.demo.pages import Listing
from letta_source.demo.server import Reply
from letta_source.errors import ConfigError
from letta_source.loading.preflight import check_families
from letta_source.schema.resources import RESOURCES
from letta_source.settings import make_settings
from tests.support.full_letta import FullLetta
from tests.support.library_loads import Merged, columns_of

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
NEW = ("blocks", "step_metrics", "tools", "identities")


@pytest.fixture
def letta() -> FullLetta:
    return FullLetta(seed=1)


@pytest.fixture
def server(letta: FullLetta) -> Iterator[Server]:
    with serve(letta) as server:
        yield server


def values(merged: Merged, table: str, *columns: str) -> list[tuple[object, ...]]:
    places = [columns_of(table).index(column) for column in columns]
    return sorted(tuple(row[place] for place in places) for row in merged.rows(table))


def test_memory_is_loaded_only_on_request(letta: FullLetta, server: Server) -> None:
    merged = Merged()
    merged.load(server)
    assert all(RESOURCES[name].on_request for name in NEW)
    assert not set(NEW) & merged.tables.keys()


@pytest.mark.parametrize("page_size", [1, 2, 100])
def test_blocks_include_unused_hidden_and_template_blocks(
    letta: FullLetta, server: Server, page_size: int
) -> None:
    agents = [letta.add_agent(), letta.add_agent()]
    letta.add_block("shared", "human", agents)
    letta.add_block("free", "notes")
    letta.add_block("unseen", "secret", hidden=True)
    letta.add_block("a persona", "persona", template=True)
    letta.add_block("another", "persona", template=True, hidden=True)
    merged = Merged()
    merged.load(server, "blocks", page_size=page_size)
    assert values(merged, "blocks", "value", "label", "is_template", "hidden", "char_limit") == [
        ("a persona", "persona", True, None, 100_000),
        ("another", "persona", True, True, 100_000),
        ("free", "notes", False, None, 100_000),
        ("shared", "human", False, None, 100_000),
        ("unseen", "secret", False, True, 100_000),
    ]
    assert values(merged, "blocks", "extra") == [(None,)] * 5


def test_edited_blocks_are_loaded_even_if_only_changes_are_requested(
    letta: FullLetta, server: Server
) -> None:
    block, tool = letta.add_block("old"), letta.add_tool("roll")
    identity = letta.add_identity("k", "Ada")
    merged = Merged()
    for _ in range(2):
        merged.load(server, *NEW, changes="on")
    letta.edit_block(block, "new")
    letta.replace_row("tools", tool, description="Rolls two dice.")
    letta.replace_row("identities", identity, name="Ada Lovelace")
    merged.load(server, *NEW, changes="on")
    assert values(merged, "blocks", "id", "value") == [(block, "new")]
    assert values(merged, "tools", "id", "description") == [(tool, "Rolls two dice.")]
    assert values(merged, "identities", "id", "name") == [(identity, "Ada Lovelace")]


def test_a_block_deleted_between_two_pages_loses_no_other(letta: FullLetta) -> None:
    blocks = [letta.add_block(str(number)) for number in range(6)]
    pages = []

    def between(path: str, reply: Reply, connection: socket) -> Reply:
        pages.append(path)
        if len(pages) == 2:
            # The next page's cursor is this block, so the server starts from the beginning.
            letta.tables["blocks"].remove([blocks[3]])
        return reply

    merged = Merged()
    with serve(letta, between=between) as server:
        merged.load(server, "blocks", page_size=2)
    assert set(merged.ids("blocks")) >= set(blocks) - {blocks[3]}


def test_reading_tools_does_not_store_them_again(letta: FullLetta, server: Server) -> None:
    own = [
        letta.add_tool(name, own=True) for name in ("archival_memory_search", "send_message", "web_search")
    ]
    tools = [*own, *(letta.add_tool(f"mine_{number}") for number in range(3))]
    check_families(make_settings({"base_url": server.base_url}))
    merged = Merged()
    merged.load(server, "tools", page_size=2)
    assert merged.ids("tools") == sorted(tools)
    assert letta.tools_stored == 0
    codes = values(merged, "tools", "id", "source_code")
    assert [tool for tool, code in codes if code is None] == sorted(own)
    assert values(merged, "tools", "extra") == [(None,)] * 6


def test_tools_are_read_even_if_the_host_refuses_an_unknown_cursor(
    letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = [letta.add_tool(f"mine_{number}") for number in range(3)]
    strict = lister("tools", Listing(50, "desc", "relative"), all_rows, (404, "No Tool found with id {}"))
    monkeypatch.setattr(lists, "_tools", strict)
    assert check_families(make_settings({"base_url": server.base_url}))["tools"] is None
    merged = Merged()
    merged.load(server, "tools", page_size=2)
    assert merged.ids("tools") == sorted(tools)


def test_identities_have_the_users_properties(letta: FullLetta, server: Server) -> None:
    letta.add_identity("k-1", "Ada")
    letta.add_identity("k-2", "Grace")
    merged = Merged()
    merged.load(server, "identities", page_size=1)
    assert values(merged, "identities", "identifier_key", "name", "identity_type") == [
        ("k-1", "Ada", "user"),
        ("k-2", "Grace", "user"),
    ]
    assert values(merged, "identities", "extra") == [(None,)] * 2


@pytest.mark.parametrize("dialect", ["self-hosted", "cloud"])
def test_each_successful_step_has_metrics(letta: FullLetta, dialect: str) -> None:
    agent = letta.add_agent()
    for number in range(3):
        letta.talk(agent, "hi", tools=["roll"] * number, date=OLD)
    failed = letta.talk(agent, "bad", date=OLD, finished=False)
    letta.finish_run(failed, "failed")
    with serve(letta, dialect) as server:  # type: ignore[arg-type]
        merged = Merged()
        session = merged.load(server, "step_metrics")
    steps = {row["id"]: row for row in letta.tables["steps"].rows.values() if row["status"] == "success"}
    assert merged.ids("step_metrics") == sorted(steps)
    assert {(one["id"], one["run_id"], one["agent_id"]) for one in steps.values()} == set(
        values(merged, "step_metrics", "id", "run_id", "agent_id")
    )
    assert all(
        model and tools and whole > model + tools  # type: ignore[operator]
        for model, tools, whole in values(
            merged, "step_metrics", "llm_request_ns", "tool_execution_ns", "step_ns"
        )
    )
    assert session.problems == 0


def metrics_asked(server: Server) -> int:
    found = sum(request.path.endswith("/metrics") for request in server.requests)
    server.requests.clear()
    return found


def test_metrics_are_requested_for_new_steps_only(letta: FullLetta, server: Server) -> None:
    agent = letta.add_agent()
    for hours in range(4):
        letta.talk(agent, "hi", tools=["roll"], date=OLD + timedelta(hours=hours))
    going = letta.talk(agent, "wait", date=OLD + timedelta(hours=5), finished=False)
    merged = Merged()
    merged.load(server, "step_metrics")
    steps = len(letta.tables["steps"])
    assert metrics_asked(server) == steps
    merged.load(server, "step_metrics")
    # The step of the unfinished run.
    assert metrics_asked(server) == 1
    letta.finish_run(going)
    letta.talk(agent, "again", date=OLD + timedelta(hours=6))
    merged.load(server, "step_metrics")
    assert metrics_asked(server) == 2
    assert merged.ids("step_metrics") == sorted(letta.tables["steps"].ids())


def test_unreadable_metrics_are_reported_and_affect_no_other_step(letta: FullLetta) -> None:
    agent = letta.add_agent()
    run = letta.talk(agent, "hi", tools=["roll", "shout"], date=OLD)
    bad, *good = letta.list_of("run steps", run).ids()
    broken = {f"/v1/steps/{bad}/metrics"}

    def between(path: str, reply: Reply, connection: socket) -> Reply:
        return (
            Reply(500, b'{"detail": "An unknown error occurred"}', reply.headers) if path in broken else reply
        )

    merged = Merged()
    with serve(letta, between=between) as server:
        session = merged.load(server, "step_metrics", retries=0)
        assert merged.ids("step_metrics") == sorted(good)
        assert session.problems == 1
        broken.clear()
        merged.load(server, "step_metrics")
    assert merged.ids("step_metrics") == sorted([bad, *good])


@pytest.mark.parametrize("name", ["blocks", "tools", "identities"])
def test_resources_without_agents_cannot_be_limited_to_agents(
    letta: FullLetta, server: Server, name: str
) -> None:
    agent = letta.add_agent()
    with pytest.raises(ConfigError, match=f"{name} cannot be limited to agents"):
        Merged().load(server, name, agent_ids=[agent])


def test_metrics_of_some_agents_steps(letta: FullLetta, server: Server) -> None:
    agents = [letta.add_agent(), letta.add_agent()]
    for agent in agents:
        letta.talk(agent, "hi", date=OLD)
    merged = Merged()
    merged.load(server, "step_metrics", agent_ids=agents[:1])
    assert {one for (one,) in values(merged, "step_metrics", "agent_id")} == {agents[0]}


@pytest.mark.parametrize("page_size", [1, 100])
def test_shared_blocks_and_passages_have_rows_for_each_agent(
    letta: FullLetta, server: Server, page_size: int
) -> None:
    one, two, _ = (letta.add_agent() for _ in range(3))
    shared, own = letta.add_block("ours", agent_ids=[one, two]), letta.add_block("mine", agent_ids=[one])
    letta.add_block("nobody's")
    both, first = letta.add_archive("both", [one, two]), letta.add_archive("first", [one])
    nobodys = letta.add_archive("nobody's")
    passages = [
        letta.add_passage(archive, text) for archive, text in ((both, "a"), (first, "b"), (both, "c"))
    ]
    letta.add_passage(nobodys, "d")
    merged = Merged()
    session = merged.load(server, "agent_blocks", "archives", "passages", page_size=page_size)
    assert values(merged, "agent_blocks", "agent_id", "id", "value") == sorted(
        [(one, shared, "ours"), (two, shared, "ours"), (one, own, "mine")]
    )
    assert merged.ids("archives") == sorted([both, first, nobodys])
    a, b, c = passages
    of_one = [(one, a, "a", both), (one, b, "b", first), (one, c, "c", both)]
    of_two = [(two, a, "a", both), (two, c, "c", both)]
    assert values(merged, "passages", "agent_id", "id", "text", "archive_id") == sorted([*of_one, *of_two])
    assert session.problems == 0


def test_vectors_of_passages_are_not_stored(letta: FullLetta, server: Server) -> None:
    agent = letta.add_agent()
    letta.add_passage(letta.add_archive("notes", [agent]), "was in Rome")
    assert letta.tables["passages"].rows[letta.tables["passages"].ids()[0]]["embedding"]
    merged = Merged()
    merged.load(server, "passages", validate=True)
    assert values(merged, "passages", "text", "extra") == [("was in Rome", None)]
    assert "embedding" not in columns_of("passages")


def test_a_passage_behind_a_deleted_one_is_loaded(letta: FullLetta, server: Server) -> None:
    """For a deleted cursor its list is empty, so no load continues from a cursor."""
    agent = letta.add_agent()
    archive = letta.add_archive("notes", [agent])
    last = [letta.add_passage(archive, text, OLD) for text in ("a", "b")][-1]
    merged = Merged()
    merged.load(server, "passages", lag=0)
    letta.delete_passage(last)
    later = letta.add_passage(archive, "c", OLD + timedelta(hours=1))
    merged.load(server, "passages", lag=0)
    assert (later, "c") in values(merged, "passages", "id", "text")


def test_blocks_and_passages_of_some_agents(letta: FullLetta, server: Server) -> None:
    agents = [letta.add_agent() for _ in range(3)]
    for agent in agents:
        letta.add_block("mine", agent_ids=[agent])
        letta.add_passage(letta.add_archive("notes", [agent]), "a")
    merged = Merged()
    merged.load(server, "agent_blocks", "archives", "passages", agent_ids=agents[:2])
    for table in ("agent_blocks", "passages"):
        assert {one for (one,) in values(merged, table, "agent_id")} == set(agents[:2])
    assert len(merged.ids("archives")) == 2


def test_memory_of_quiet_agents_is_read_even_if_only_changes_are_requested(
    letta: FullLetta, server: Server
) -> None:
    talkative, quiet = letta.add_agent(), letta.add_agent()
    block = letta.add_block("old", agent_ids=[quiet])
    every = ("agents", "agent_messages", "agent_blocks")
    merged = Merged()
    for _ in range(2):
        merged.load(server, *every, changes="on")
    letta.talk(talkative, "hi")
    letta.edit_block(block, "new")
    merged.load(server, *every, changes="on")
    assert values(merged, "agent_blocks", "agent_id", "value") == [(quiet, "new")]


def test_an_agent_deleted_meanwhile_does_not_affect_others(letta: FullLetta) -> None:
    agents = [letta.add_agent() for _ in range(3)]
    for agent in agents:
        letta.add_block("mine", agent_ids=[agent])
        letta.add_passage(letta.add_archive("notes", [agent]), "a")

    def between(path: str, reply: Reply, connection: socket) -> Reply:
        if path == "/v1/agents/" and agents[0] in letta.tables["agents"].rows:
            letta.delete_agent(agents[0])
        return reply

    merged = Merged()
    with serve(letta, between=between) as server:
        session = merged.load(server, "agent_blocks", "passages")
    for table in ("agent_blocks", "passages"):
        assert {one for (one,) in values(merged, table, "agent_id")} == set(agents[1:])
    assert session.problems == 0
