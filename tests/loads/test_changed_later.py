"""Later changes are loaded: at once where the server reports them, else with the next sweep."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.demo import Server
from tests.extract.test_append_only import Added
from tests.support.full_letta import FullLetta
from tests.support.library_loads import Merged, columns_of, paths, quiet_agent
from tests.support.socketless import serve_without_sockets

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
MESSAGES = ("agent_messages", "group_messages", "conversation_messages")
SWEEP: dict[str, Any] = {"sweep_interval": 0}


@pytest.fixture
def letta() -> FullLetta:
    return FullLetta(seed=0)


@pytest.fixture(params=["self-hosted", "cloud"])
def server(request: pytest.FixtureRequest, letta: FullLetta) -> Iterator[Server]:
    with serve_without_sockets(letta, request.param) as server:
        yield server


def ago(**span: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(**span)


def by_hand_or_not(agent: str) -> list[dict[str, Any]]:
    return [{}, {"agent_ids": [agent]}]


def said(text: str) -> list[dict[str, Any]]:
    return [{"message_type": "user_message", "content": text}]


def texts(merged: Merged, table: str = "agent_messages") -> set[Any]:
    return values(merged, table, "text")


def values(merged: Merged, table: str, column: str) -> set[Any]:
    return {row[column] for rows in merged.tables[table].values() for row in rows.values()}


def feedback(merged: Merged) -> list[str]:
    place = columns_of("steps").index("feedback")
    return sorted(str(row[place]) for row in merged.rows("steps"))


def aged_agent(letta: FullLetta, text: str = "You are an agent.") -> str:
    """Return an agent that was created long ago."""
    agent = quiet_agent(letta)
    letta.add_message(agent, [{"message_type": "system_message", "content": text}], date=OLD)
    return agent


def test_relations_of_agents_are_requested(letta: FullLetta, server: Server) -> None:
    agent = letta.add_agent(tags=["vip"])
    asked_for: dict[str, Any] = {"tool_call_id": "call-1", "id": "message-1"}
    letta.change_agent(
        agent, identity_ids=["identity-1"], identities=[{"id": "identity-1"}], pending_approval=asked_for
    )
    for settings in by_hand_or_not(agent):
        merged = Merged()
        merged.load(server, "agents", **settings)
        [[row]] = [list(rows.values()) for rows in merged.tables["agents"].values()]
        assert "vip" in row["tags"]
        assert "identity-1" in row["identity_ids"]
        assert "identity-1" in row["identities"]
        assert "call-1" in row["pending_approval"]


def test_archived_conversations_are_loaded(letta: FullLetta, server: Server) -> None:
    agent = quiet_agent(letta)
    kept, archived = letta.add_conversation(agent), letta.add_conversation(agent)
    letta.talk(agent, "hi", conversation_id=archived, date=OLD)
    letta.archive_conversation(archived)
    for settings in by_hand_or_not(agent):
        merged = Merged()
        merged.load(server, "conversations", "conversation_messages", **settings)
        assert merged.ids("conversations") == sorted([kept, archived])
        assert archived in merged.ids("conversation_messages", "conversation_id")


def test_messages_of_failed_steps_are_loaded(letta: FullLetta, server: Server) -> None:
    agent = quiet_agent(letta)
    conversation = letta.add_conversation(agent)
    failed = letta.add_message(
        agent, [{**said("no")[0], "is_err": True}], date=OLD, conversation_ids=[conversation]
    )
    merged = Merged()
    merged.load(server, "agent_messages", "conversation_messages")
    assert failed in merged.ids("agent_messages")
    assert failed in merged.ids("conversation_messages")


def test_feedback_arrives_at_once_if_the_host_lists_it(letta: FullLetta) -> None:
    agent = quiet_agent(letta)
    run = letta.talk(agent, "hi", date=ago(days=2))
    letta.talk(agent, "later", date=ago(days=1))
    [step] = letta.list_of("run steps", run).ids()
    merged = Merged()
    with serve_without_sockets(letta, "cloud") as server:
        for _ in range(2):
            merged.load(server, "steps", lag=0)
        letta.give_feedback(step)
        merged.load(server, "steps", lag=0)
        assert feedback(merged) == ["None", "positive"]


def test_feedback_on_an_old_step_arrives_with_the_sweep(letta: FullLetta) -> None:
    agent = quiet_agent(letta)
    run = letta.talk(agent, "hi", date=OLD)
    letta.talk(agent, "later", date=OLD + timedelta(days=1))
    [step] = letta.list_of("run steps", run).ids()
    merged = Merged()
    with serve_without_sockets(letta, "cloud") as server:
        merged.load(server, "steps", lag=0)
        letta.give_feedback(step, "negative")
        merged.load(server, "steps", lag=0)
        assert set(feedback(merged)) == {"None"}
        merged.load(server, "steps", lag=0, **SWEEP)
        assert feedback(merged) == ["None", "negative"]


def test_without_a_list_of_steps_feedback_arrives_with_the_sweep(letta: FullLetta) -> None:
    agent = quiet_agent(letta)
    runs = [letta.talk(agent, "hi", date=ago(days=days)) for days in (30, 6, 2)]
    steps = [letta.list_of("run steps", run).ids()[0] for run in runs]
    merged = Merged()
    with serve_without_sockets(letta, "self-hosted") as server:
        merged.load(server, "steps")
        for step in steps:
            letta.give_feedback(step)
        merged.load(server, "steps")
        assert set(feedback(merged)) == {"None"}
        paths(server)
        merged.load(server, "steps", **SWEEP)
        asked = [path for path, _ in paths(server)]
    # The step of a month ago is beyond the sweep's window; `--refresh` would read it.
    assert feedback(merged) == ["None", "positive", "positive"]
    assert not any(runs[0] in path for path in asked)


def test_edits_within_the_window_arrive_with_the_sweep(letta: FullLetta, server: Server) -> None:
    agent = quiet_agent(letta)
    group, conversation = letta.add_group([agent], "supervisor"), letta.add_conversation(agent)
    letta.delete_message(letta.list_of("conversation", conversation).ids()[0])
    about: dict[str, Any] = {"group_ids": [group], "conversation_ids": [conversation]}
    by_age = {days: letta.add_message(agent, date=ago(days=days), **about) for days in (30, 8, 6, 1)}
    merged, afresh = Merged(), Merged()
    for _ in range(2):
        merged.load(server, *MESSAGES)
    for days, message in by_age.items():
        letta.replace_items(message, said(f"edited {days}"))
    merged.load(server, *MESSAGES)
    assert texts(merged).isdisjoint({"edited 8", "edited 6", "edited 1"})
    merged.load(server, *MESSAGES, **SWEEP)
    names = [name for name in MESSAGES if merged.rows(name)]
    assert len(names) >= 2
    for name in names:
        assert {"edited 6", "edited 1"} <= texts(merged, name)
        assert "edited 30" not in texts(merged, name)
    merged.load(server, *MESSAGES, **SWEEP, refresh=True)
    afresh.load(server, *MESSAGES)
    assert merged.everything() == afresh.everything()


@pytest.mark.parametrize("window", ["1d", "3d", "40d", "999999d"])
def test_the_reread_window_can_be_set(letta: FullLetta, server: Server, window: str) -> None:
    agent = quiet_agent(letta)
    messages = {days: letta.add_message(agent, date=ago(days=days, hours=1)) for days in (35, 20, 2, 0)}
    merged = Merged()
    merged.load(server, "agent_messages", reread_window=window)
    for days, message in messages.items():
        letta.replace_items(message, said(f"edited {days}"))
    merged.load(server, "agent_messages", reread_window=window, **SWEEP)
    days_back = int(window[:-1])
    assert texts(merged) == {f"edited {days}" if days < days_back else "hello" for days in messages}


def test_nothing_is_read_again_before_the_interval_is_over(letta: FullLetta, server: Server) -> None:
    agent = quiet_agent(letta)
    for days in (6, 3):
        letta.add_message(agent, date=ago(days=days))
    merged = Merged()
    merged.load(server, *MESSAGES)
    counts = [merged.load(server, *MESSAGES).counts["agent_messages"].items for _ in range(2)]
    assert counts == [0, 0]
    assert merged.load(server, *MESSAGES, **SWEEP).counts["agent_messages"].items == 2
    assert merged.load(server, *MESSAGES).counts["agent_messages"].items == 0


def test_a_state_without_a_sweep_starts_the_interval(letta: FullLetta, server: Server) -> None:
    """An earlier version left such a state: its first sweep is an interval after the first load since."""
    agent = quiet_agent(letta)
    letta.add_message(agent, date=ago(days=3))
    merged = Merged()
    merged.load(server, "agent_messages")
    for field in ("swept", "reread"):
        del merged.states["agent_messages"][field]
    assert merged.load(server, "agent_messages", **SWEEP).counts["agent_messages"].items == 0
    assert "swept" in merged.states["agent_messages"]


def test_each_agents_system_message_arrives_with_the_sweep(letta: FullLetta, server: Server) -> None:
    agents = [aged_agent(letta) for _ in range(3)]
    letta.add_message(agents[1], date=OLD)
    letta.add_message(agents[2], date=ago(days=1))
    merged, afresh = Merged(), Merged()
    merged.load(server, "agent_messages")
    for agent in agents:
        letta.edit_system_message(agent, f"You remember {agent}.")
    merged.load(server, "agent_messages")
    assert not any("You remember" in str(text) for text in texts(merged))
    merged.load(server, "agent_messages", **SWEEP)
    afresh.load(server, "agent_messages")
    assert {f"You remember {agent}." for agent in agents} <= texts(merged)
    assert merged.everything() == afresh.everything()


def test_an_unreadable_system_message_does_not_stop_the_sweep(letta: FullLetta, server: Server) -> None:
    agent = aged_agent(letta)
    news = letta.add_message(agent, date=OLD)
    merged = Merged()
    merged.load(server, "agent_messages")
    letta.poison(letta.list_of("agent", agent).ids()[0])
    later = letta.add_message(agent)
    assert merged.load(server, "agent_messages", retries=0, **SWEEP).problems == 0
    assert {news, later} <= set(merged.ids("agent_messages"))


def test_a_gap_within_the_window_is_stored_once(letta: FullLetta, server: Server) -> None:
    agent = quiet_agent(letta)
    _, bad, _, _ = [letta.add_message(agent, date=ago(days=days)) for days in (4, 3, 2, 1)]
    letta.poison(bad)
    merged = Merged()
    for settings in ({}, SWEEP, SWEEP, {}):
        merged.load(server, "agent_messages", retries=0, **settings)
        assert len(merged.states["agent_messages"]["gaps"][agent]) == 1
    letta.cure(bad)
    merged.load(server, "agent_messages", **SWEEP)
    assert bad in merged.ids("agent_messages")


def test_a_sweep_after_the_marked_message_was_deleted_reads_from_the_start(
    letta: FullLetta, server: Server
) -> None:
    agent = quiet_agent(letta)
    old, *recent = [letta.add_message(agent, date=ago(days=days)) for days in (9, 3, 2)]
    merged = Merged()
    merged.load(server, "agent_messages")
    letta.delete_message(old)
    letta.replace_items(recent[0], said("edited"))
    assert merged.load(server, "agent_messages", **SWEEP).problems == 0
    assert "edited" in texts(merged)


def test_a_sweep_forgets_parents_that_are_gone(letta: FullLetta, server: Server) -> None:
    kept, gone = quiet_agent(letta), quiet_agent(letta)
    for agent in (kept, gone):
        letta.add_message(agent, date=ago(days=1))
    merged = Merged()
    merged.load(server, "agent_messages")
    letta.delete_agent(gone)
    merged.load(server, "agent_messages")
    assert set(merged.states["agent_messages"]["cursors"]) == {kept, gone}
    merged.load(server, "agent_messages", **SWEEP)
    assert set(merged.states["agent_messages"]["cursors"]) == {kept}
    assert gone not in str(merged.states["agent_messages"])


def test_append_only_destinations_are_not_reread(letta: FullLetta, server: Server) -> None:
    agent = quiet_agent(letta)
    run = letta.talk(agent, "hi", date=ago(days=2))
    added = Added()
    added.load(server, "steps", "agent_messages")
    letta.replace_items(letta.list_of("agent", agent).ids()[0], said("edited"))
    letta.give_feedback(letta.list_of("run steps", run).ids()[0])
    for _ in range(2):
        added.load(server, "steps", "agent_messages", **SWEEP)
    assert added.twice() == []
