"""If everything that earlier loads read is gone at once, the exit code is not 0, and cursors stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from letta_source.demo import Letta
from letta_source.demo.api import Answer
from letta_source.errors import NotLetta
from letta_source.loading.outcome import exit_code, why_failed
from letta_source.state.session import Session
from tests.loads.test_run import before_answers
from tests.support.command import ago
from tests.support.library_loads import Merged, quiet_agent
from tests.support.socketless import serve_without_sockets

pytestmark = pytest.mark.usefixtures("waits")

READ = ("agents", "agent_messages", "groups", "group_messages", "runs", "conversations")
FAMILIES = {"agents", "groups", "runs", "steps", "conversations", "batches", "messages"}


def code(session: Session) -> int:
    return 1 if why_failed(session) else int(exit_code(session))


@pytest.fixture
def letta() -> Letta:
    letta = Letta(seed=0)
    agents = [quiet_agent(letta) for _ in range(3)]
    for agent in agents:
        letta.talk(agent, "hi", date=ago(days=2))
        letta.add_conversation(agent)
    letta.add_group(agents[:2])
    return letta


NOTHING_LEFT = "agents: nothing is left of what was read before"


@pytest.mark.parametrize(
    "settings", [{}, {"sweep_interval": 0}, {"lag": 0}, {"changes": "on", "lag": 0}], ids=str
)
def test_another_server_is_reported_once_and_the_cursors_stay(letta: Letta, settings: dict[str, Any]) -> None:
    told = NOTHING_LEFT.replace("agents", "agent_messages" if "changes" in settings else "agents")
    merged = Merged()
    with serve_without_sockets(letta) as server:
        assert code(merged.load(server, *READ, **settings)) == 0
    before = merged.states["agent_messages"]["cursors"]
    with serve_without_sockets(Letta(seed=1)) as empty:
        session = merged.load(empty, *READ, **settings)
        assert why_failed(session) == f"{told}: is it the same server and project?"
        # From then on the issue is known.
        assert [code(merged.load(empty, *READ, **settings)) for _ in range(2)] == [0, 0]
        assert merged.states["agent_messages"]["cursors"] == before
    with serve_without_sockets(letta) as server:
        assert code(merged.load(server, *READ, **settings)) == 0
    rows = [(row["resource"], row["resolved"]) for row in of_issues(merged) if row["kind"] == "not_found"]
    assert rows.count(("agent_messages", True)) == 1


def of_issues(merged: Merged) -> list[dict[str, Any]]:
    return [row for rows in merged.tables["load_issues"].values() for row in rows.values()]


def test_an_empty_list_of_agents_is_reported_if_there_were_some(letta: Letta) -> None:
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, "agents")
    with serve_without_sockets(Letta()) as empty:
        assert why_failed(merged.load(empty, "agents"))
        # A first load misses nothing.
        assert code(Merged().load(empty, *READ)) == 0


def test_a_few_remaining_parents_are_enough(letta: Letta) -> None:
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, *READ)
        for agent in letta.tables["agents"].ids()[1:]:
            letta.delete_agent(agent)
        assert code(merged.load(server, *READ, sweep_interval=0)) == 0
        assert len(merged.states["agent_messages"]["cursors"]) == 1


@pytest.mark.parametrize("settings", [{"refresh": True}, {"start_date": "2024-01-01"}], ids=str)
def test_a_refresh_or_a_window_reports_nothing(letta: Letta, settings: dict[str, Any]) -> None:
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, *READ)
    with serve_without_sockets(Letta()) as empty:
        assert code(merged.load(empty, *READ, **settings)) == 0


@pytest.mark.parametrize("kept", [0, 1])
def test_parents_that_are_listed_and_gone(letta: Letta, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    agents = letta.tables["agents"].ids()
    gone = Answer(404, {"detail": "Agent not found"})
    paths = {f"/v1/agents/{agent}/messages" for agent in agents[kept:]}
    before_answers(monkeypatch, lambda path: gone if path in paths else None)
    with serve_without_sockets(letta) as server:
        session = Merged().load(server, "agents", "agent_messages")
    told = why_failed(session)
    assert told is None if kept else told and "all 3 were gone from the server" in told


def test_parents_with_news_that_are_all_gone(letta: Letta) -> None:
    """Young messages cause their agents to be read without a list."""
    merged = Merged()
    agents = letta.tables["agents"].ids()
    for agent in agents:
        letta.add_message(agent)
    with serve_without_sockets(letta) as server:
        merged.load(server, "agents", "agent_messages", changes="on")
        for agent in agents[:2]:
            letta.delete_agent(agent)
        assert code(merged.load(server, "agents", "agent_messages", changes="on")) == 0
        letta.delete_agent(agents[2])
        assert code(merged.load(server, "agents", "agent_messages", changes="on")) == 1


def test_deleted_unfinished_runs_do_not_count_as_vanished(letta: Letta) -> None:
    agent = letta.tables["agents"].ids()[0]
    letta.talk(agent, "hi", finished=False)
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, "runs", "steps", lag=0)
        letta.delete_agent(agent)
        session = merged.load(server, "runs", "steps", lag=0)
    assert code(session) == 0


def test_steps_of_listed_runs_that_come_back_are_loaded(
    letta: Letta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists and objects may come from two replicas, of which one is behind."""

    def lags(path: str) -> Answer | None:
        return Answer(404, {"detail": "Run not found"}) if path.endswith("/steps") else None

    merged = Merged()
    with serve_without_sockets(letta) as server:
        with monkeypatch.context() as patch:
            before_answers(patch, lags)
            assert code(merged.load(server, "runs", "steps")) == 1
        assert code(merged.load(server, "runs", "steps")) == 0
    assert merged.ids("steps") == sorted(letta.tables["steps"].ids())


@pytest.mark.parametrize("dialect", ["self-hosted", "cloud"])
def test_every_family_missing_is_a_failed_load(letta: Letta, dialect: Any) -> None:
    with serve_without_sockets(letta, dialect, missing=FAMILIES) as server:
        said = why_failed(Merged().load(server, *READ, "steps"))
    assert "has none of the requested resources" in (said or "")


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize(
    ("resources", "agent_ids", "failed"),
    [
        (("agents", "agent_messages"), 0, True),
        (("groups", "agents"), 0, True),
        (("agent_messages", "runs"), 1, False),
        (("runs",), 1, True),
    ],
)
def test_missing_and_unreadable_lists_add_up(
    letta: Letta,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    resources: tuple[str, ...],
    agent_ids: int,
    failed: bool,
) -> None:
    """One family is missing and all others fail; only requests by id succeed."""
    absent = Answer(status, {"detail": {404: "Not Found", 405: "Method Not Allowed"}[status]})
    broken = Answer(500, {"detail": "no"})

    def act(path: str) -> Answer | None:
        if path.rstrip("/") in ("/v1/groups", "/v1/runs"):
            return absent
        return broken if path == "/v1/agents/" else None

    before_answers(monkeypatch, act)
    asked_for = letta.tables["agents"].ids()[:agent_ids]
    with serve_without_sockets(letta) as server:
        session = Merged().load(server, *resources, agent_ids=asked_for, retries=0)
    assert bool(why_failed(session)) == failed


@pytest.mark.parametrize("missing", [{"groups"}, {"runs"}, {"conversations"}], ids=str)
def test_a_vanished_family_is_an_issue_once(letta: Letta, missing: set[str]) -> None:
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, *READ)
    with serve_without_sockets(letta, missing=missing) as server:
        first = merged.load(server, *READ)
        assert code(first) == 3
        assert {row["resource"] for row in of_issues(merged) if row["kind"] == "missing"} == {
            name for name, counts in first.counts.items() if counts.skipped
        }
        assert code(merged.load(server, *READ)) == 0
    with serve_without_sockets(letta) as server:
        assert code(merged.load(server, *READ)) == 0
    with serve_without_sockets(letta, missing=missing) as server:
        assert code(merged.load(server, *READ)) == 3
        # In a first load, a missing family is no issue.
        assert code(Merged().load(server, *READ)) == 0


SLASHES = "from a slash to none and back"
CIRCLES: dict[str, Callable[[str, str], str]] = {
    "to itself": lambda asked, path: asked,
    "to https and back, which is the same": lambda asked, path: f"{path}/",
    "to other paths": lambda asked, path: f"{asked}x/"[:40] if len(asked) < 40 else f"{path}/",
    SLASHES: lambda asked, path: path if asked.endswith("/") else f"{path}/",
}


@pytest.mark.parametrize("circle", CIRCLES)
@pytest.mark.parametrize("family", ["groups", "runs", "conversations", "messages/batches"])
def test_a_redirect_loop_does_not_prove_that_a_family_is_missing(
    letta: Letta, monkeypatch: pytest.MonkeyPatch, family: str, circle: str
) -> None:
    path, resource = f"/v1/{family}", family.removeprefix("messages/")
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, "agents", resource)

        def act(asked: str) -> Answer | None:
            if not asked.startswith(path):
                return None
            return Answer(307, None, {"Location": CIRCLES[circle](asked, path)})

        before_answers(monkeypatch, act)
        assert code(merged.load(server, "agents", resource)) == 3
        with pytest.raises(NotLetta, match="another path" if circle == "to other paths" else "circle"):
            Merged().load(server, resource)
        # In a first load, a family that neither path leads to may be missing.
        assert code(Merged().load(server, "agents", resource)) == (0 if circle == SLASHES else 3)
