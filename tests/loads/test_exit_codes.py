"""The exit code reflects how much was unreadable, and which requested resources are missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from letta_source.demo import Letta, Server, serve
from letta_source.demo.api import Answer
from letta_source.loading import run
from tests.loads.test_run import before_answers
from tests.support.command import Command, one_of
from tests.support.first_loads import Loaded
from tests.support.library_loads import Merged, quiet_agent

pytestmark = pytest.mark.whole

BROKEN = Answer(500, {"detail": "column messages.x does not exist"})
UNKNOWN = "agent-123e4567-e89b-42d3-8456-426614174000"


def breaks(pattern: str) -> Callable[[str], Answer | None]:
    """Return a function that answers 500 for matching paths."""
    return lambda path: BROKEN if re.fullmatch(pattern, path) else None


@pytest.fixture(autouse=True)
def _few_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__LETTA__RETRIES", "0")


def test_most_parents_unreadable_is_a_failed_load(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        quiet_agent(letta)
    readable = one_of(letta)
    before_answers(monkeypatch, breaks(f"/v1/agents/(?!{readable})[^/]+/messages"))
    said = letta_source.load(server)
    assert (said.code, said.errors[-1]) == (
        1,
        "letta-source: agent_messages: 4 of 5 could not be read: see load_issues",
    )
    assert letta_source.rows("SELECT DISTINCT agent_id FROM letta.agent_messages") == [(readable,)]


def test_parents_that_were_read_before_count_as_well(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    letta_source, _, server = loaded
    before_answers(monkeypatch, breaks("/v1/agents/[^/]+/messages"))
    assert letta_source.load(server).code == 1


def test_parents_with_one_unreadable_message_are_not_unreadable(
    letta_source: Command, letta: Letta, server: Server
) -> None:
    """The rest of a parent is loaded; nothing lies beyond an unreadable newest message."""
    for agent in letta.tables["agents"].ids():
        letta.poison(letta.list_of("agent", agent).ids()[-1])
    # Known issues do not change the exit code.
    for options, code in (((), 3), ((), 0), (("--strict",), 3), ((), 0)):
        assert letta_source.load(server, *options).code == code
    assert letta_source.count("agent_messages")


@pytest.mark.parametrize(
    ("broken", "resources", "code"),
    [
        ("/v1/agents/", "agent_messages", 1),
        ("/v1/(agents|groups)/", "agents,groups", 1),
        ("/v1/agents/", "agents,groups", 3),
        ("/v1/groups/", "agents,groups", 3),
        ("/v1/groups/", "agents,group_messages", 3),
        ("/v1/runs/", "runs", 1),
    ],
)
def test_every_list_unreadable_is_a_failed_load(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, broken: str, resources: str, code: int
) -> None:
    letta_source, _, server = loaded
    without_check = replace(run.PARTS, check_server=lambda *_: None)
    monkeypatch.setattr(run, "PARTS", without_check)
    before_answers(monkeypatch, breaks(broken))
    said = letta_source("run", "--base-url", server.base_url, "--resources", resources)
    assert said.code == code
    if code == 1:
        assert said.errors[-1] == "letta-source: none of the lists could be read: see load_issues"


@pytest.mark.parametrize(
    "option",
    [
        ("--agent-id", "agent-1/../agent-2"),
        ("--agent-id", ".."),
        ("--agent-id", "agent-1?limit=1"),
        ("--agent-id", "agent-1#x"),
        ("--agent-id", "agent-%2e%2e"),
        ("--agent-id", "agent 1"),
        ("--agent-id", "agent-\N{WAVING HAND SIGN}"),
        ("--agent-id", "agent-1\\..\\x"),
        ("--agent-id", "a" * 256),
        ("--batch-id", "batches/job-1"),
        ("--batch-id", "job-1\r\nx"),
    ],
)
def test_a_malformed_id_is_wrong_usage_before_any_request(
    letta_source: Command, server: Server, option: tuple[str, str]
) -> None:
    said = letta_source.load(server, *option)
    assert (said.code, len(said.errors)) == (2, 1)
    assert f"{option[0][2:].replace('-', '_')}s: one is not an id" in said.err
    assert server.requests == []
    assert letta_source.files() == []


@pytest.mark.parametrize(
    ("option", "what"),
    [
        (("--agent-id", UNKNOWN), f"agent {UNKNOWN}"),
        (("--batch-id", f"job-{UNKNOWN[6:]}"), f"batch job-{UNKNOWN[6:]}"),
    ],
)
def test_an_unknown_id_is_wrong_usage_after_one_request(
    letta_source: Command, server: Server, option: tuple[str, str], what: str
) -> None:
    said = letta_source.load(server, "--resources", "agents,agent_messages,batches", *option)
    assert (said.code, len(said.errors)) == (2, 1)
    assert f"does not know {what}" in said.err
    assert len(server.requests) == 1
    assert not [file for file in letta_source.files() if file.endswith((".duckdb", ".parquet"))]


@pytest.mark.parametrize(
    ("option", "what", "form"),
    [
        (("--agent-id", "agent-1"), "agent agent-1", "agent-123e"),
        (("--agent-id", UNKNOWN[6:]), f"agent {UNKNOWN[6:]}", "agent-123e"),
        (("--agent-id", UNKNOWN.upper()), f"agent {UNKNOWN.upper()}", "agent-123e"),
        (("--batch-id", "job-7"), "batch job-7", "job-123e"),
        (("--batch-id", f"batch-{UNKNOWN[6:]}"), f"batch batch-{UNKNOWN[6:]}", "job-123e"),
    ],
)
def test_an_id_that_the_server_refuses_is_one_short_line(
    letta_source: Command, server: Server, option: tuple[str, str], what: str, form: str
) -> None:
    said = letta_source.load(server, "--resources", "agents,agent_messages,batches", *option)
    assert (said.code, len(said.errors)) == (2, 1)
    assert f"does not accept this id: {what}; ids look like {form}" in said.err
    assert "pattern" not in said.err
    assert len(server.requests) == 1


def test_a_run_that_could_not_be_read_stays_unfinished(letta: Letta, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = one_of(letta)
    unfinished = letta.talk(agent, "hi", finished=False)
    batch = letta.add_batch(agent)
    names = ("runs", "steps", "step_messages", "batches", "batch_messages")
    merged = Merged()
    with serve(letta) as server:
        merged.load(server, *names, lag=0)
        letta.finish_run(unfinished)
        letta.finish_batch(batch)
        with monkeypatch.context() as patch:
            before_answers(patch, breaks(f".*({unfinished}|{batch}).*"))
            session = merged.load(server, *names, lag=0, retries=0)
            assert session.problems
        assert {
            name: unfinished in str(merged.states[name]["unsettled"]) for name in names[:3]
        } == dict.fromkeys(names[:3], True)
        assert all(batch in merged.states[name]["unsettled"][""] for name in names[3:])
        merged.load(server, *names, lag=0)
    assert unfinished in merged.ids("runs")
    assert set(merged.ids("runs", "status")) == {"completed"}
    assert set(merged.ids("batches", "status")) == {"completed"}
