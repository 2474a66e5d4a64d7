"""Messages, load after load: none is lost, none is doubled, and there are few requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from letta_source import source
from letta_source.api.client import Client
from letta_source.demo import Letta, Server
from letta_source.demo.api import answer
from letta_source.extract import collect as extract
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Event, walk_pages
from letta_source.plan import messages as message_jobs
from letta_source.schema.resources import RESOURCES
from letta_source.state.counts import Counts
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Packages, Session
from tests.support.library_loads import Merged, Warehouse, issues, paths, quiet_agent
from tests.support.socketless import serve_without_sockets

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
AGENTS = ("agents", "agent_messages")
MESSAGES = ("agent_messages", "group_messages", "step_messages", "conversation_messages", "messages")


@pytest.fixture
def letta() -> Letta:
    return Letta(seed=0)


@pytest.fixture(params=["self-hosted", "cloud"])
def server(request: pytest.FixtureRequest, letta: Letta) -> Iterator[Server]:
    with serve_without_sockets(letta, request.param) as server:
        yield server


def stored(letta: Letta, agent_id: str) -> list[str]:
    return letta.list_of("agent", agent_id).ids()


def message_paths(server: Server) -> list[tuple[str, str | None]]:
    return sorted((asked for asked in paths(server) if asked[0].endswith("/messages")), key=repr)


def without_order(letta: Letta, *of_request: Any, **rest: Any) -> Any:
    dialect, method, path, params, *others = of_request
    kept = {name: value for name, value in params.items() if name != "order"}
    return answer(letta, dialect, method, path, kept, *others, **rest)


def test_a_gateway_that_drops_the_order_hides_no_message(
    letta: Letta, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, merged = quiet_agent(letta), Merged()
    for hour in range(3):
        letta.talk(agent, "hi", date=OLD + timedelta(hours=hour))
    monkeypatch.setattr("letta_source.demo.server.answer", without_order)
    with serve_without_sockets(letta, "cloud") as server:
        merged.load(server, *AGENTS)
        letta.talk(agent, "more", date=OLD + timedelta(hours=4))
        assert merged.load(server, *AGENTS).problems == 0
        assert {*merged.ids("agent_messages")} == {*stored(letta, agent)}


@pytest.mark.parametrize("loaded_before", [False, True])
def test_a_first_page_that_does_not_follow_the_cursor_is_reported(
    letta: Letta, monkeypatch: pytest.MonkeyPatch, loaded_before: bool
) -> None:
    """Self-hosted sends, without `order`, the newest page, itself oldest first."""
    agent, merged = quiet_agent(letta), Merged()

    def load() -> Counts:
        with serve_without_sockets(letta, "self-hosted") as server:
            return merged.load(server, *AGENTS, page_size=4).counts["agent_messages"]

    if loaded_before:
        letta.talk(agent, "hi", date=OLD)
        assert load().problems == 0
    for hour in range(1, 4):
        letta.talk(agent, "hi", date=OLD + timedelta(hours=hour))
    with monkeypatch.context() as patch:
        patch.setattr("letta_source.demo.server.answer", without_order)
        assert (load().problems, load().known) == (1, 1)
    assert load().problems == 0
    assert {*merged.ids("agent_messages")} == {*stored(letta, agent)}


def test_only_the_first_of_many_elements_without_an_id_are_known(
    letta: Letta, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_nameless(*of_request: Any, **rest: Any) -> Any:
        found = answer(*of_request, **rest)
        if of_request[3].endswith("/messages"):
            found = replace(found, body=[each for item in found.body for each in (item, None)])
        return found

    agent, merged = quiet_agent(letta), Merged()
    for _ in range(60):
        letta.talk(agent, "hi", date=OLD)
    monkeypatch.setattr("letta_source.demo.server.answer", with_nameless)
    with serve_without_sockets(letta, "self-hosted") as server:
        first = merged.load(server, *AGENTS).counts["agent_messages"]
        again = merged.load(server, *AGENTS, refresh=True).counts["agent_messages"]
    assert (first.known, again.known, again.problems) == (0, 100, first.problems)
    assert first.problems > 110


@pytest.mark.whole
def test_a_second_run_requests_one_page_per_parent_and_changes_nothing(letta: Letta, tmp_path: Path) -> None:
    settled, young = quiet_agent(letta), letta.add_agent()
    old_group, young_group = letta.add_group([settled]), letta.add_group([young])
    letta.talk(settled, "hi", tools=["roll"], date=OLD)
    letta.add_message(settled, date=OLD, group_ids=[old_group])
    letta.add_message(young, group_ids=[young_group])
    warehouse = Warehouse(tmp_path)
    resources = ("agent_messages", "group_messages")
    with serve_without_sockets(letta) as server:
        warehouse.load(server, *resources)
        before = warehouse.everything()
        paths(server)
        warehouse.load(server, *resources)
    last, last_young = stored(letta, settled)[-1], stored(letta, young)[-1]
    assert message_paths(server) == sorted(
        [
            (f"/v1/agents/{settled}/messages", last),
            # All of these are within the overlap: a page, and the empty one that ends the list.
            (f"/v1/agents/{young}/messages", None),
            (f"/v1/agents/{young}/messages", last_young),
            (f"/v1/groups/{old_group}/messages", last),
            (f"/v1/groups/{young_group}/messages", None),
            (f"/v1/groups/{young_group}/messages", last_young),
        ],
        key=repr,
    )
    assert warehouse.everything() == before
    everyone = {*stored(letta, settled), *stored(letta, young)}
    assert {row[1] for row in before["agent_messages"]} == everyone


def test_rows_of_one_second_keep_the_servers_order_across_loads(letta: Letta, server: Server) -> None:
    agent = quiet_agent(letta)
    held = Merged()
    for _ in range(3):
        letta.talk(agent, "hi", tools=["roll", "roll"], date=OLD, reasoning=True)
        held.load(server, *AGENTS, page_size=3)
    rows = [row for kept in held.tables["agent_messages"].values() for row in kept.values()]
    assert {row["created_at"] for row in rows} == {OLD}
    in_order = dict.fromkeys(row["id"] for row in sorted(rows, key=lambda row: (row["sequence"], row["id"])))
    assert [*in_order] == stored(letta, agent)
    assert [row["position"] for row in sorted(rows, key=lambda row: (row["id"], row["sequence"]))] == [
        row["position"] for row in sorted(rows, key=lambda row: (row["id"], row["position"]))
    ]


def test_new_messages_and_new_agents_are_found(letta: Letta, server: Server) -> None:
    agent = quiet_agent(letta)
    letta.talk(agent, "hi", date=OLD)
    merged = Merged()
    merged.load(server, *AGENTS)
    known = stored(letta, agent)
    newcomer = letta.add_agent()
    letta.talk(agent, "hi again", date=OLD)
    paths(server)
    merged.load(server, *AGENTS)
    assert (f"/v1/agents/{agent}/messages", known[-1]) in message_paths(server)
    assert merged.ids("agent_messages") == sorted([*stored(letta, agent), *stored(letta, newcomer)])
    assert merged.ids("agents") == sorted([agent, newcomer])


def test_a_source_can_be_loaded_again(letta: Letta, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with serve_without_sockets(letta) as server:
        again = source.letta(base_url=server.base_url).with_resources("agent_messages")
        for _ in range(2):
            letta.add_agent()
            warehouse.pipeline.run(again)
    assert warehouse.ids("agent_messages", "agent_id") == sorted(letta.tables["agents"].ids())


def test_messages_committed_late_are_found_inside_the_overlap(letta: Letta, server: Server) -> None:
    agent = quiet_agent(letta)
    letta.talk(agent, "hi", date=OLD)
    young = letta.add_message(agent)
    letta.talk(agent, "stored last", date=OLD)
    merged = Merged()
    merged.load(server, "agent_messages")
    late = letta.add_message(agent, text="late", date=OLD + timedelta(days=1), before=young)
    merged.load(server, "agent_messages")
    assert [one for one in stored(letta, agent) if one in merged.ids("agent_messages")] == stored(
        letta, agent
    )
    assert merged.ids("agent_messages").count(late) == 1


def test_rows_of_reset_messages_stay_and_new_ones_are_loaded(letta: Letta, tmp_path: Path) -> None:
    agent = quiet_agent(letta)
    letta.talk(agent, "hi", tools=["roll"], date=OLD)
    warehouse = Warehouse(tmp_path)
    with serve_without_sockets(letta) as server:
        warehouse.load(server, *AGENTS)
        before = warehouse.rows("agent_messages")
        letta.reset_messages(agent)
        letta.delete_message(stored(letta, agent)[0])
        letta.talk(agent, "anew", date=OLD)
        session = warehouse.load(server, *AGENTS)
        paths(server)
        warehouse.load(server, *AGENTS)
    assert session.problems == 0
    rows = warehouse.rows("agent_messages")
    assert set(before) < set(rows)
    assert len(rows) - len(before) == len(stored(letta, agent))
    assert message_paths(server) == [(f"/v1/agents/{agent}/messages", stored(letta, agent)[-1])]


def test_a_vanished_cursor_is_requested_once(letta: Letta, server: Server) -> None:
    agent = quiet_agent(letta)
    letta.talk(agent, "hi", date=OLD)
    merged = Merged()
    merged.load(server, *AGENTS)
    vanished = stored(letta, agent)[-1]
    letta.reset_messages(agent)
    paths(server)
    merged.load(server, *AGENTS)
    assert (f"/v1/agents/{agent}/messages", vanished) in message_paths(server)
    merged.load(server, *AGENTS)
    assert (f"/v1/agents/{agent}/messages", vanished) not in message_paths(server)


def test_a_deleted_agents_rows_stay(letta: Letta, server: Server) -> None:
    doomed, kept = letta.add_agent(), letta.add_agent()
    merged = Merged()
    merged.load(server, *AGENTS)
    before = merged.everything()
    letta.delete_agent(doomed)
    news = letta.add_message(kept)
    session = merged.load(server, *AGENTS)
    assert session.problems == 0
    assert merged.rows("agents") == before["agents"]
    assert set(merged.ids("agent_messages")) - {news} == {row[1] for row in before["agent_messages"]}
    assert merged.rows("load_issues") == []


@pytest.mark.parametrize("known", [True, False])
def test_an_agent_deleted_after_it_was_listed_is_not_an_issue(
    known: bool,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    doomed, kept = quiet_agent(letta), letta.add_agent()
    letta.talk(doomed, "hi", date=OLD)
    merged = Merged()
    if known:
        merged.load(server, *AGENTS)

    async def delete_first(
        client: Client, endpoint: Endpoint, *cursor: Any, **options: Any
    ) -> AsyncIterator[Event]:
        if endpoint.path == f"/v1/agents/{doomed}/messages":
            letta.delete_agent(doomed)
        async for event in walk_pages(client, endpoint, *cursor, **options):
            yield event

    monkeypatch.setattr(message_jobs, "walk_pages", delete_first)
    news = letta.add_message(kept)
    caplog.set_level("INFO")
    session = merged.load(server, *AGENTS)
    assert sum("is gone from the server" in line for line in caplog.messages) == 1
    assert (session.problems, merged.rows("load_issues")) == (0, [])
    assert news in merged.ids("agent_messages")
    assert (doomed in merged.ids("agent_messages", "agent_id")) == known
    assert doomed not in merged.states["agent_messages"]["cursors"]


def test_a_cursor_moves_only_after_its_rows_were_handed_over(letta: Letta) -> None:
    agent = quiet_agent(letta)
    for _ in range(6):
        letta.add_message(agent, date=OLD)
    session = Session(packages=Packages(rows_per_yield=1))
    state: dict[str, Any] = {}
    with serve_without_sockets(letta) as server:
        source.letta(base_url=server.base_url, page_size=2, session=session)
        tracked = ResourceState(session, state)
        handed = extract.extract(RESOURCES["agent_messages"], tracked, Counts(), tombstones=True)
        next(handed)
        assert state == {"cursors": {}}
        tracked.commit()
        assert state["cursors"][agent][1] == stored(letta, agent)[1]
        assert sum(1 for _ in handed) == 3
    assert state["cursors"][agent][1] == stored(letta, agent)[-1]


def test_rows_that_a_shrunken_message_no_longer_has_are_deleted(letta: Letta, tmp_path: Path) -> None:
    agent = letta.add_agent()
    letta.talk(agent, "hi", tools=["roll"], reasoning=True, approval=True)
    warehouse, afresh = Warehouse(tmp_path), Merged()
    with serve_without_sockets(letta) as server:
        warehouse.load(server, "agent_messages")
        before = warehouse.everything()
        calling, returning, other = _message_with(
            letta, agent, "tool_call_message", "tool_return_message", "user_message"
        )
        responding, requesting = _message_with(
            letta, agent, "approval_response_message", "approval_request_message"
        )
        # One loses its call, three keep only a text, and one has other content.
        letta.replace_items(calling, letta.messages.rows[calling].items[:1])
        for changed in (returning, responding, requesting):
            letta.replace_items(changed, [{"message_type": "assistant_message", "content": "no more"}])
        letta.replace_items(other, [{"message_type": "user_message", "content": [_text("a"), _text("b")]}])
        warehouse.load(server, "agent_messages")
        afresh.load(server, "agent_messages")
    after = warehouse.everything()
    for table in after:
        assert after[table] == afresh.rows(table), table
        if table != "load_issues":
            assert after[table] != before[table], table
    assert len(after["agent_messages__approvals"]) == 0 < len(before["agent_messages__approvals"])


def _message_with(letta: Letta, agent: str, *message_types: str) -> list[str]:
    """Return for each type the first message that has an item of it."""
    items = [item for one in stored(letta, agent) for item in letta.messages.rows[one].items]
    return [next(item["id"] for item in items if item["message_type"] == kind) for kind in message_types]


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_every_resource_of_messages_continues_incrementally(letta: Letta, server: Server) -> None:
    agent = quiet_agent(letta)
    conversation, group = letta.add_conversation(agent), letta.add_group([agent])
    merged, afresh = Merged(), Merged()
    for hour in range(3):
        date = OLD + timedelta(hours=hour)
        run = letta.talk(agent, "hi", tools=["roll"], conversation_id=conversation, date=date, finished=False)
        letta.add_message(agent, date=date, group_ids=[group])
        merged.load(server, *MESSAGES, page_size=2)
        letta.finish_run(run)
    merged.load(server, *MESSAGES)
    afresh.load(server, *MESSAGES)
    assert merged.everything() == afresh.everything()
    assert merged.rows("agent_messages__tool_calls") != []


def test_dates_out_of_order_lose_nothing(letta: Letta, server: Server) -> None:
    agent = quiet_agent(letta)
    merged = Merged()
    for days in (3, -2, 0, -1, 2):
        letta.talk(agent, "hi", date=OLD + timedelta(days=days))
        letta.talk(agent, "just now")
        merged.load(server, "agent_messages", page_size=2, lag="10m" if days % 2 else 0)
    assert merged.ids("agent_messages") == sorted(stored(letta, agent))


@pytest.mark.parametrize("lag", [0, "10m"])
@pytest.mark.parametrize("date", [OLD, None])
def test_messages_of_one_second_are_all_loaded(letta: Letta, server: Server, lag: Any, date: Any) -> None:
    agent = quiet_agent(letta)
    merged = Merged()
    for _ in range(3):
        for _ in range(20):
            letta.add_message(agent, date=date)
        merged.load(server, "agent_messages", page_size=7, lag=lag)
        assert merged.ids("agent_messages") == sorted(stored(letta, agent))


def test_messages_without_a_date_are_loaded_once(letta: Letta, server: Server) -> None:
    agent = quiet_agent(letta)
    merged = Merged()
    for _ in range(3):
        undated: dict[str, Any] = {"message_type": "user_message", "content": "when?", "date": None}
        for _ in range(3):
            letta.add_message(agent, [undated])
        letta.add_message(agent, date=OLD)
        merged.load(server, "agent_messages", page_size=2)
        assert merged.ids("agent_messages") == sorted(stored(letta, agent))


def test_an_unreadable_message_is_reported_and_loaded_once_readable(letta: Letta, tmp_path: Path) -> None:
    agent, other = quiet_agent(letta), quiet_agent(letta)
    letta.talk(agent, "hi", tools=["roll"], date=OLD)
    letta.talk(other, "hi", date=OLD)
    first, bad, *_ = stored(letta, agent)
    letta.poison(bad)
    warehouse = Warehouse(tmp_path)
    with serve_without_sockets(letta) as server:
        session = warehouse.load(server, "agent_messages", retries=0)
        assert issues(warehouse.rows("load_issues")) == [("agent_messages", agent, "unreadable")]
        assert session.problems == 1
        everyone = {*stored(letta, agent), *stored(letta, other)}
        assert set(warehouse.ids("agent_messages")) == everyone - {bad}
        assert warehouse.rows("load_issues", "after_id", "before_id") == [(first, stored(letta, agent)[2])]
        letta.cure(bad)
        paths(server)
        session = warehouse.load(server, "agent_messages")
    assert (f"/v1/agents/{agent}/messages", first) in paths(server)
    assert session.problems == 0
    assert set(warehouse.ids("agent_messages")) == everyone


def test_an_unreadable_message_does_not_affect_others(letta: Letta, server: Server) -> None:
    agent = quiet_agent(letta)
    # A group without a manager ignores `order`, so later messages cannot be reached.
    group = letta.add_group([agent, letta.add_agent()], "supervisor")
    conversation = letta.add_conversation(agent)
    run = letta.talk(agent, "hi", conversation_id=conversation, date=OLD)
    [step] = letta.list_of("run steps", run).ids()
    _, bad, _ = (
        letta.add_message(
            agent,
            date=OLD + timedelta(hours=hour),
            run_id=run,
            step_id=step,
            group_ids=[group],
            conversation_ids=[conversation],
        )
        for hour in range(3)
    )
    untouched, merged = Merged(), Merged()
    untouched.load(server, *MESSAGES)
    letta.poison(bad, status=400)
    session = merged.load(server, *MESSAGES)
    for table, rows in untouched.everything().items():
        if table != "load_issues":
            assert merged.rows(table) == [row for row in rows if bad not in row[:2]], table
    named = {resource for resource, _, _ in issues(merged.rows("load_issues"))}
    assert named == {name for name in MESSAGES if not session.counts[name].skipped}
    letta.cure(bad)
    merged.load(server, *MESSAGES)
    for table, rows in untouched.everything().items():
        if table != "load_issues":
            assert merged.rows(table) == rows, table
