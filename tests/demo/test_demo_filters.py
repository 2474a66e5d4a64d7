"""The list filters of the small Letta select the same items as the real server's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import httpx
import pytest

from letta_source.demo import Letta, recorded_letta, serve

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def letta() -> Letta:
    return Letta(seed=0)


@pytest.fixture
def client(letta: Letta) -> Iterator[httpx.Client]:
    with serve(letta) as server, httpx.Client(base_url=server.base_url) as client:
        yield client


@pytest.fixture
def cloud(letta: Letta) -> Iterator[httpx.Client]:
    with serve(letta, dialect="cloud") as server, httpx.Client(base_url=server.base_url) as client:
        yield client


def listed(client: httpx.Client, path: str, **params: str | int) -> list[str]:
    """Return the ids of a list, oldest first."""
    response = client.get(path, params={"order": "asc", **params})
    assert response.status_code == 200, response.text
    return [row["id"] for row in response.json()]


def step_of(letta: Letta, run_id: str) -> str:
    (step_id,) = letta.list_of("run steps", run_id).ids()
    return step_id


def add_run(letta: Letta, agent_id: str) -> str:
    return letta.talk(agent_id, "hi")


def add_step(letta: Letta, agent_id: str) -> str:
    return step_of(letta, letta.talk(agent_id, "hi"))


def add_conversation(letta: Letta, agent_id: str) -> str:
    return letta.add_conversation(agent_id)


@pytest.mark.parametrize(
    ("path", "add"),
    [("/v1/runs/", add_run), ("/v1/steps/", add_step), ("/v1/conversations/", add_conversation)],
)
def test_the_rows_of_one_agent(letta: Letta, cloud: httpx.Client, path: str, add: Callable[..., str]) -> None:
    mine, other, idle = letta.add_agent(), letta.add_agent(), letta.add_agent()
    rows = [add(letta, agent) for agent in (mine, other, mine, other, mine, mine)]
    expected = [rows[0], rows[2], rows[4], rows[5]]
    assert listed(cloud, path) == rows
    assert listed(cloud, path, agent_id=mine) == expected
    assert listed(cloud, path, agent_id=mine, order="desc") == expected[::-1]
    assert listed(cloud, path, agent_id=mine, limit=2) == expected[:2]
    assert listed(cloud, path, agent_id=mine, limit=2, after=expected[0]) == expected[1:3]
    assert listed(cloud, path, agent_id=mine, limit=2, after=rows[1]) == expected[1:3]
    assert listed(cloud, path, agent_id=idle) == []


def test_runs_of_one_agent_keep_their_swapped_cursors(letta: Letta, client: httpx.Client) -> None:
    mine, other = letta.add_agent(), letta.add_agent()
    first, _, second, third = (letta.talk(agent, "hi") for agent in (mine, other, mine, mine))
    assert listed(client, "/v1/runs/", agent_id=mine, before=first) == [second, third]
    assert listed(client, "/v1/runs/", agent_id=mine, after=third) == [first, second]


def test_both_ends_of_a_span_of_steps_are_exclusive(letta: Letta, cloud: httpx.Client) -> None:
    agent = letta.add_agent()
    times = [NOON, NOON + MICROSECOND, NOON + timedelta(hours=1)]
    first, second, third = (step_of(letta, letta.talk(agent, "hi", date=time)) for time in times)

    def between(start: datetime | None, end: datetime | None, **params: str) -> list[str]:
        span = {"start_date": start, "end_date": end}
        dates = {name: date.isoformat() for name, date in span.items() if date}
        return listed(cloud, "/v1/steps/", **dates, **params)

    assert between(None, None) == [first, second, third]
    assert between(times[0], None) == [second, third]
    assert between(times[0] - MICROSECOND, None) == [first, second, third]
    assert between(None, times[2]) == [first, second]
    assert between(None, times[2] + MICROSECOND) == [first, second, third]
    assert between(times[0], times[2]) == [second]
    assert between(times[0], None, agent_id=letta.add_agent()) == []
    in_berlin = times[0].astimezone(timezone(timedelta(hours=2)))
    assert between(in_berlin, None) == [second, third]


def test_a_step_is_dated_by_its_turn_without_showing_the_date(letta: Letta, cloud: httpx.Client) -> None:
    agent = letta.add_agent()
    late = letta.talk(agent, "hi", date=NOON)
    early = letta.talk(agent, "hi", date=NOON - timedelta(days=1))
    assert listed(cloud, "/v1/steps/") == [step_of(letta, early), step_of(letta, late)]
    assert not [name for name in cloud.get("/v1/steps/").json()[0] if "created" in name or "date" in name]
    row = letta.tables["steps"].rows[step_of(letta, early)]
    letta.put("steps", {**row, "id": "step-of-now"})
    assert listed(cloud, "/v1/steps/")[-1] == "step-of-now"


def test_recorded_steps_are_dated_by_their_runs() -> None:
    letta = recorded_letta()
    with serve(letta, dialect="cloud") as server, httpx.Client(base_url=server.base_url) as client:
        runs = client.get("/v1/runs/", params={"order": "asc"}).json()
        steps = client.get("/v1/steps/", params={"order": "asc"}).json()
        cut = next(run for run in runs if run["id"] == steps[len(steps) // 2]["run_id"])
        later = {run["id"] for run in runs if run["created_at"] > cut["created_at"]}
        found = client.get("/v1/steps/", params={"start_date": cut["created_at"]}).json()
    assert {step["id"] for step in found} == {step["id"] for step in steps if step["run_id"] in later}
    assert 0 < len(found) < len(steps)


def test_an_invalid_date_is_refused(cloud: httpx.Client) -> None:
    assert cloud.get("/v1/steps/", params={"start_date": "soon"}).status_code == 400


@pytest.mark.parametrize("dialect", ["self-hosted", "cloud"])
def test_hidden_agents_are_listed_on_request(
    letta: Letta, request: pytest.FixtureRequest, dialect: str
) -> None:
    client = request.getfixturevalue("cloud" if dialect == "cloud" else "client")
    first, hidden, last = letta.add_agent(), letta.add_agent(hidden=True), letta.add_agent()
    path = "/v1/agents/"
    assert listed(client, path) == listed(client, path, show_hidden_agents="false") == [first, last]
    assert listed(client, path, show_hidden_agents="true") == [first, hidden, last]
    assert listed(client, path, limit=2) == [first, last]
    assert listed(client, path, after=hidden) == [last]
    assert client.get(f"{path}{hidden}").json()["hidden"] is True
    assert len(client.get(f"{path}{hidden}/messages").json()) == 1


def test_hidden_groups_are_listed_on_request(letta: Letta, client: httpx.Client) -> None:
    agent = letta.add_agent()
    shown, hidden = letta.add_group([agent]), letta.add_group([agent], hidden=True)
    path = "/v1/groups/"
    assert listed(client, path) == listed(client, path, show_hidden_groups="false") == [shown]
    assert listed(client, path, show_hidden_groups="true") == [shown, hidden]
    assert client.get(f"{path}{hidden}").json()["hidden"] is True
