"""Quirks of the real server, each reproduced on the small one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from letta_source.demo import Letta, serve
from letta_source.demo.shapes import recorded
from tests.support.full_letta import FullLetta

LOSSLESS = {"use_assistant_message": "false"}
NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


class Client:
    """Sends requests, and repeats one whose connection was reset after a 500."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def ask(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> httpx.Response:
        try:
            return self.http.request(method, path, params=params, json=body)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            return self.http.request(method, path, params=params, json=body)

    def get(self, path: str, **params: Any) -> Any:
        response = self.ask("GET", path, params)
        assert response.status_code == 200, response.text
        return response.json()

    def status(self, path: str, **params: Any) -> int:
        return self.ask("GET", path, params).status_code


@pytest.fixture
def letta() -> FullLetta:
    return FullLetta(seed=0)


@pytest.fixture
def client(letta: Letta) -> Iterator[Client]:
    with serve(letta) as server, httpx.Client(base_url=server.base_url, timeout=5) as http:
        yield Client(http)


@pytest.fixture
def cloud(letta: Letta) -> Iterator[Client]:
    with serve(letta, dialect="cloud") as server, httpx.Client(base_url=server.base_url, timeout=5) as http:
        yield Client(http)


def ids(items: list[dict[str, Any]]) -> list[str]:
    """Return the ids of the items, each once, in order."""
    return list(dict.fromkeys(item["id"] for item in items))


@pytest.mark.parametrize("agent_type", ["letta_v1_agent", "memgpt_v2_agent"])
def test_a_turn_is_several_items_of_one_id(letta: Letta, client: Client, agent_type: Any) -> None:
    agent = letta.add_agent(agent_type)
    run = letta.talk(agent, "hi", tools=["roll", "look"], reasoning=True)
    items = client.get(f"/v1/runs/{run}/messages")
    steps = client.get(f"/v1/runs/{run}/steps", order="asc")
    stored = client.get(f"/v1/agents/{agent}/messages", order="asc", **LOSSLESS)
    answer = next(
        item["id"] for item in stored if item["message_type"] == "tool_call_message" and item["run_id"]
    )
    parts = [item for item in stored if item["id"] == answer]
    text = "assistant_message" if agent_type == "letta_v1_agent" else "reasoning_message"
    assert [part["message_type"] for part in parts] == ["reasoning_message", text, "tool_call_message"]
    assert [part["otid"][-1] for part in parts] == ["0", "1", "2"]
    assert len({part["date"] for part in parts}) == 1
    assert items[-1]["message_type"] == "assistant_message"
    assert items[-1]["content"] == "Reply to: hi"
    assert len(steps) == (2 if agent_type == "letta_v1_agent" else 3)
    assert {item["step_id"] for item in stored if item["run_id"]} == {step["id"] for step in steps}


def test_limit_counts_stored_messages(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    letta.talk(agent, "hi", tools=["roll"], reasoning=True)
    page = client.get(f"/v1/agents/{agent}/messages", order="asc", limit=3, **LOSSLESS)
    assert len(page) == 5
    assert len(ids(page)) == 3
    assert client.get(f"/v1/agents/{agent}/messages", limit=0) == []


@pytest.mark.parametrize(
    ("path", "default"),
    [("agents", 50), ("groups", 50), ("runs", 100), ("conversations", 50), ("messages", 100)],
)
def test_default_limits(letta: Letta, client: Client, path: str, default: int) -> None:
    agents = [letta.add_agent() for _ in range(101)]
    for agent in agents:
        letta.add_group([agent])
        letta.add_conversation(agent)
        letta.talk(agent, "hi")
    assert len(ids(client.get(f"/v1/{path}/"))) == default


def test_dates_are_whole_seconds_and_the_order_is_the_sequence(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    late = letta.add_message(agent, date=NOON + timedelta(microseconds=5))
    old = letta.add_message(agent, date=NOON - timedelta(days=1))
    early = letta.add_message(agent, date=NOON, before=late)
    earlier = letta.add_message(agent, date=NOON, before=early)
    page = client.get(f"/v1/agents/{agent}/messages", order="asc")[1:]
    assert ids(page) == [earlier, early, late, old]
    assert page[2]["date"] == "2026-05-04T12:00:00+00:00"
    assert page[3]["date"] < page[2]["date"]
    assert ids(client.get(f"/v1/agents/{agent}/messages", order="asc", after=early)) == [late, old]


def test_agents_take_cursors_absolutely_in_descending_order(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    stored = [letta.add_message(agent) for _ in range(6)]
    path = f"/v1/agents/{agent}/messages"
    assert ids(client.get(path, order="desc", limit=2)) == stored[4:]
    assert ids(client.get(path, order="desc", limit=2, after=stored[1])) == stored[4:]
    assert ids(client.get(path, order="desc", limit=2, before=stored[4])) == stored[2:4]


def test_cloud_takes_cursors_relative_to_the_order(letta: Letta, cloud: Client) -> None:
    agent = letta.add_agent()
    stored = [letta.add_message(agent) for _ in range(6)]
    path = f"/v1/agents/{agent}/messages"
    assert ids(cloud.get(path, order="asc", limit=2, after=stored[1])) == stored[2:4]
    assert ids(cloud.get(path, order="desc", limit=2, after=stored[4])) == [stored[3], stored[2]]
    assert ids(cloud.get(path, order="desc", limit=2, before=stored[3])) == [stored[5], stored[4]]
    runs = [letta.talk(agent, "hi", date=NOON + timedelta(seconds=n)) for n in range(4)]
    assert ids(cloud.get("/v1/runs/", order="asc", after=runs[1])) == runs[2:]
    assert ids(cloud.get("/v1/runs/", order="desc", after=runs[1])) == runs[:1]
    steps = [cloud.get(f"/v1/runs/{run}/steps")[0]["id"] for run in runs]
    assert ids(cloud.get("/v1/steps/", order="asc", after=steps[0], limit=2)) == steps[1:3]


def test_groups_without_a_manager_ignore_the_order(letta: Letta, client: Client) -> None:
    boss, worker = letta.add_agent(), letta.add_agent()
    flat, led = letta.add_group([boss, worker]), letta.add_group([boss, worker], "supervisor")
    for group in (flat, led):
        stored = [
            letta.add_message(boss, date=NOON + timedelta(seconds=n), group_ids=[group]) for n in range(3)
        ]
        path = f"/v1/groups/{group}/messages"
        assert ids(client.get(path, order="asc", after=stored[0])) == stored[1:]
        assert ids(client.get(path, order="desc", limit=2)) == (stored[:2] if group == flat else stored[1:])
    agents = client.get("/v1/agents/", order="asc", include="agent.managed_group")
    assert [(agent["managed_group"] or {}).get("id") for agent in agents] == [led, None]
    assert client.get("/v1/agents/", order="asc", include="agent.tags")[0]["managed_group"] is None


def test_pending_approvals_come_from_the_newest_message(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    letta.poison(letta.list_of("agent", agent).ids()[-1])
    for path in ("/v1/agents/", f"/v1/agents/{agent}"):
        assert client.status(path, include="agent.pending_approval") == 500
        assert client.status(path, include="agent.tags") == client.status(path) == 200


def test_cursors_of_runs_are_swapped(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    runs = [letta.talk(agent, "hi", date=NOON + timedelta(seconds=n)) for n in range(5)]
    assert ids(client.get("/v1/runs/", order="asc", after=runs[2])) == runs[:2]
    assert ids(client.get("/v1/runs/", order="asc", before=runs[2])) == runs[3:]
    assert client.status("/v1/runs/", limit=1000) == 200
    assert client.status("/v1/runs/", limit=1001) == client.status("/v1/runs/", limit=0) == 422


def test_steps_render_text_as_reasoning_and_reverse_the_items(letta: Letta, client: Client) -> None:
    run = letta.talk(letta.add_agent(), "hi", reasoning=True, date=NOON)
    step = client.get(f"/v1/runs/{run}/steps")[0]["id"]
    parts = client.get(f"/v1/steps/{step}/messages")[1:]
    assert [part["message_type"] for part in parts] == ["reasoning_message", "reasoning_message"]
    assert [part["otid"][-1] for part in parts] == ["1", "0"]
    everywhere = client.get("/v1/messages/", order="asc")[-1]
    assert everywhere["message_type"] == "assistant_message"


def test_batch_messages_cannot_be_paged(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    batch = letta.add_batch(agent, messages=5)
    path = f"/v1/messages/batches/{batch}/messages"
    first = client.get(path, order="asc", limit=2)["messages"]
    assert client.status(path, order="asc", limit=2, after=first[-1]["id"]) == 500
    assert client.get(path, order="asc", limit=2, before=first[0]["id"])["messages"] == first
    letta.add_batch_messages(batch, 1)
    everything = client.get(path, order="asc", limit=100)["messages"]
    assert len(everything) == 6
    assert everything[0].keys() == recorded("batch_messages")[2]["body"]["messages"][0].keys()
    assert [message["role"] for message in everything[:2]] == ["assistant", "tool"]
    assert ids(everything) == ids(client.get(f"/v1/agents/{agent}/messages", order="asc"))[1:]


def test_a_vanished_cursor_and_a_vanished_agent(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    path = f"/v1/agents/{agent}/messages"
    gone, kept = letta.add_message(agent), letta.add_message(agent)
    letta.delete_message(gone)
    assert ids(client.get(path, order="asc"))[1:] == [kept]
    letta.reset_messages(agent)
    assert [item["message_type"] for item in client.get(path)] == ["system_message"]
    for cursor in (gone, kept):
        vanished = client.ask("GET", path, {"order": "asc", "after": cursor})
        text = f"No message found with id '{cursor}' for agent '{agent}'."
        assert (vanished.status_code, vanished.json()["detail"]) == (404, text)
    letta.delete_agent(agent)
    assert client.ask("GET", path).json() == {"detail": "Agent not found"}
    assert client.get("/v1/agents/") == client.get("/v1/messages/") == []


def test_deleting_an_agent_deletes_its_runs_and_conversations(letta: Letta, client: Client) -> None:
    agent, other = letta.add_agent(), letta.add_agent()
    letta.talk(agent, "hi", conversation_id=letta.add_conversation(agent))
    kept = letta.talk(other, "hi")
    letta.delete_agent(agent)
    assert ids(client.get("/v1/runs/")) == [kept]
    assert client.get("/v1/conversations/") == []


def test_unknown_and_malformed_ids(client: Client) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    for path in (f"agents/agent-{unknown}", f"runs/run-{unknown}", f"steps/step-{unknown}"):
        assert client.status(f"/v1/{path}") == 404
    assert (
        client.status("/v1/conversations/nothing/messages")
        == client.status("/v1/groups/nothing/messages")
        == 422
    )
    assert client.get(f"/v1/conversations/conv-{unknown}/messages") == []
    assert client.status("/v1/runs/nothing") == 400


@pytest.mark.parametrize("status", [500, 400])
def test_an_unreadable_message_makes_its_pages_fail(letta: Letta, client: Client, status: int) -> None:
    agent = letta.add_agent()
    conversation = letta.add_conversation(agent)
    stored = [letta.add_message(agent, conversation_ids=[conversation]) for _ in range(3)]
    letta.poison(stored[1], status)
    for path in (
        f"/v1/agents/{agent}/messages",
        f"/v1/conversations/{conversation}/messages",
        "/v1/messages/",
    ):
        assert client.status(path, order="asc") == status
    path = f"/v1/agents/{agent}/messages"
    assert ids(client.get(path, order="asc", before=stored[1]))[-1] == stored[0]
    assert ids(client.get(path, order="asc", after=stored[1])) == [stored[2]]
    letta.cure(stored[1])
    assert stored[1] in ids(client.get(path))


def test_contents_are_returned_unchanged(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    content = [
        {"type": "text", "text": "ö ☠ \ud83d"},
        {"type": "image", "source": {"type": "base64", "data": "aGk="}},
    ]
    message = letta.add_message(agent, [{"message_type": "user_message", "content": content}])
    item = client.get(f"/v1/agents/{agent}/messages")[-1]
    assert item["content"] == content
    letta.replace_items(message, [{"message_type": "brand_new_message", "surprise": 1}])
    changed = client.get(f"/v1/agents/{agent}/messages", **LOSSLESS)[-1]
    assert (changed["id"], changed["message_type"], changed["surprise"]) == (message, "brand_new_message", 1)


def test_a_fork_shares_messages(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    origin = letta.add_conversation(agent)
    letta.talk(agent, "hi", conversation_id=origin)
    fork = letta.fork_conversation(origin)
    first, second = (
        ids(client.get(f"/v1/conversations/{one}/messages", order="asc")) for one in (origin, fork)
    )
    assert first[0] != second[0]
    assert first[1:] == second[1:] != []
    assert set(first) | set(second) < set(ids(client.get(f"/v1/agents/{agent}/messages")))
    assert ids(client.get("/v1/conversations/", order="desc", after=fork)) == [origin]
    assert ids(client.get("/v1/conversations/", order="asc", after=origin)) == [fork]


def test_a_vanished_cursor_of_a_conversation_is_ignored(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    conversation = letta.add_conversation(agent)
    gone = letta.add_message(agent, conversation_ids=[conversation])
    letta.delete_message(gone)
    page = client.get(f"/v1/conversations/{conversation}/messages", order="asc", after=gone)
    assert [item["message_type"] for item in page] == ["system_message"]


def test_unfinished_runs_change_later(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    run, batch = letta.talk(agent, "hi", finished=False), letta.add_batch(agent)

    def states() -> tuple[Any, ...]:
        step = client.get(f"/v1/runs/{run}/steps")[0]
        found = client.get(f"/v1/runs/{run}"), client.get(f"/v1/messages/batches/{batch}")
        listed = batch in ids(client.get("/v1/messages/batches"))
        return *(one["status"] for one in found), found[0]["completed_at"] is None, step["status"], listed

    assert states() == ("running", "running", True, "pending", True)
    letta.finish_run(run)
    letta.finish_batch(batch)
    assert states() == ("completed", "completed", False, "success", False)


def test_finished_batches_do_not_shorten_the_pages(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    batches = [letta.add_batch(agent, 0) for _ in range(5)]
    letta.finish_batch(batches[1])
    assert ids(client.get("/v1/messages/batches", order="asc", limit=2)) == [batches[0], batches[2]]
    assert ids(client.get("/v1/messages/batches", order="asc", limit=2, after=batches[2])) == batches[3:]


def test_an_approval_starts_a_second_run(letta: Letta, client: Client) -> None:
    agent = letta.add_agent()
    run = letta.talk(agent, "hi", approval=True)
    first, second = client.get("/v1/runs/", order="asc")
    assert (first["stop_reason"], second["id"]) == ("requires_approval", run)
    items = client.get(f"/v1/agents/{agent}/messages", order="asc", **LOSSLESS)
    request, response = (
        next(item for item in items if item["message_type"] == f"approval_{kind}_message")
        for kind in ("request", "response")
    )
    assert request["otid"] == request["id"]
    assert response["approval_request_id"] == request["tool_call"]["tool_call_id"]
    assert response["id"] in ids(client.get(f"/v1/steps/{request['step_id']}/messages"))


def test_search(letta: Letta, cloud: Client) -> None:
    agent = letta.add_agent("memgpt_v2_agent")
    letta.talk(agent, "Where is the Zebra?")
    results = cloud.ask("POST", "/v1/messages/search", body={"query": "zeBRA"}).json()
    assert [result["message"]["role"] for result in results] == ["assistant", "user"]
    assert set(results[0]) == {"embedded_text", "message", "rrf_score", "fts_rank", "vector_rank"}
    assert "Zebra" in results[0]["embedded_text"]
    for _ in range(60):
        letta.add_message(agent, text="zebra")
    for limit, count in ((None, 50), (60, 60)):
        found = cloud.ask("POST", "/v1/messages/search", body={"query": "zebra", "limit": limit}).json()
        assert len(found) == count
    for bad in ({"query": "zebra", "limit": 101}, {"limit": 1}, {"query": "a", "start_date": "soon"}):
        assert cloud.ask("POST", "/v1/messages/search", body=bad).status_code == 422


def test_families_that_cloud_lacks(cloud: Client) -> None:
    for path in ("/v1/groups/", "/v1/messages/batches", "/v1/groups"):
        answer = cloud.ask("GET", path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_seeded_ids_repeat() -> None:
    first, second = Letta(seed=1), Letta(seed=1)
    assert first.talk(first.add_agent(), "hi") == second.talk(second.add_agent(), "hi")
    assert Letta(seed=2).add_agent() != Letta(seed=1).add_agent()


def test_the_cost_of_a_page_does_not_grow_with_the_store() -> None:
    letta = Letta()
    agent = letta.add_agent()
    stored = [letta.add_message(agent, date=NOON) for _ in range(20_000)]

    def seconds(after: str) -> float:
        started = time.perf_counter()
        for _ in range(200):
            index = letta.list_of("agent", agent)
            rank = letta.messages.rows[after].sequence
            index.page(newer_than=rank, older_than=None, newest_first=False, limit=10)
        return time.perf_counter() - started

    # Scanning 15,000 messages for each of the 200 pages would take several times as long.
    assert seconds(stored[15_000]) < 0.05


def test_deleted_messages_are_in_no_context(letta: FullLetta) -> None:
    """Neither a fork nor a compaction brings them back; numbers go on from what is left."""
    agent_id = letta.add_agent()
    conversation_id = letta.add_conversation(agent_id)
    first, second = (letta.add_message(agent_id, conversation_ids=[conversation_id]) for _ in range(2))
    letta.delete_message(first)
    third = letta.add_message(agent_id, conversation_ids=[conversation_id])
    assert letta.in_context(conversation_id)[1:] == [second, third]
    assert letta.list_of("conversation", conversation_id).ids()[1:] == [second, third]
    letta.reset_messages(agent_id)
    summary = letta.compact_conversation(conversation_id, kept=3)
    assert letta.in_context(conversation_id) == [summary]
