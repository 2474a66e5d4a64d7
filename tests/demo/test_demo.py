"""The small Letta answers as the real one did in the recordings, quirk for quirk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from letta_source.demo import Letta, recorded_letta, serve
from letta_source.demo.shapes import recorded
from tests.support.socketless import serve_without_sockets

FILES = (
    "agents",
    "agent_messages",
    "agent_messages_default_rendering",
    "group_messages",
    "step_messages",
    "batch_messages",
    "conversations",
    "all_messages",
    "errors",
)
# Conversations were recorded later, in another state of the server: these lists lack their agent.
BEFORE_THE_CONVERSATIONS = {("agents", 3), ("all_messages", 2), ("all_messages", 3)}
REPLAYED = [
    pytest.param(line, id=f"{name}:{number}")
    for name in FILES
    for number, line in enumerate(recorded(name))
    if (name, number) not in BEFORE_THE_CONVERSATIONS
]
LOSSLESS = {"use_assistant_message": "false", "limit": "1000"}


@pytest.fixture(scope="module")
def recording() -> Iterator[httpx.Client]:
    # Each request has a new connection, because the server breaks a connection after a 500.
    limits = httpx.Limits(max_keepalive_connections=0)
    with serve(recorded_letta()) as server, httpx.Client(base_url=server.base_url, limits=limits) as client:
        yield client


@pytest.mark.parametrize("line", REPLAYED)
def test_replay(recording: httpx.Client, line: dict[str, Any]) -> None:
    answer = recording.request(line["method"], line["path"], params=line.get("params"), json=line.get("json"))
    assert answer.status_code == line["status"]
    assert answer.headers["content-type"] == line["content_type"]
    detail = line["body"]["detail"] if line["status"] == 404 else ""
    if "access level" in detail:
        # The rest of this text is the actor's record in the real database.
        assert answer.json()["detail"] == detail[: detail.index(" for actor")]
    else:
        assert answer.json() == line["body"]


def test_recorded_conversations_belong_to_their_agent(recording: httpx.Client) -> None:
    conversation = recording.get("/v1/conversations/", params={"order": "asc"}).json()[0]
    theirs = recording.get(f"/v1/conversations/{conversation['id']}/messages").json()
    mine = recording.get(f"/v1/agents/{conversation['agent_id']}/messages", params=LOSSLESS).json()
    assert len({item["id"] for item in theirs}) == 7
    assert {item["id"] for item in theirs} < {item["id"] for item in mine}


@pytest.mark.parametrize(("limit", "count"), [(1, 119), (3, 118), (1000, 117)])
def test_default_rendering_depends_on_the_pages(recording: httpx.Client, limit: int, count: int) -> None:
    path = "/v1/agents/agent-591fd621-a39f-4f52-8781-fbc2b46db281/messages"
    params: dict[str, str | int] = {"order": "asc", "limit": limit}
    found = 0
    while page := recording.get(path, params=params).json():
        found += len(page)
        params["after"] = page[-1]["id"]
    assert found == count


def test_a_500_breaks_the_connection_unannounced() -> None:
    letta = Letta()
    path = f"/v1/agents/{letta.add_agent()}/messages"
    with serve(letta) as server, httpx.Client(base_url=server.base_url) as client:
        answer = client.get(path, params={"limit": -1})
        assert answer.status_code == 500
        assert "connection" not in answer.headers
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            client.get("/v1/health/")
        assert client.get("/v1/health/").json() == {"version": "0.16.7", "status": "ok"}


def test_without_sockets_answers_and_broken_connections_are_the_same() -> None:
    letta = Letta()
    path = f"/v1/agents/{letta.add_agent()}/messages"

    async def get(client: httpx.AsyncClient, url: str, **params: Any) -> Any:
        try:
            answer = await client.get(url, params=params)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            return "reset"
        return answer.status_code, answer.content, answer.headers.multi_items()

    async def found(base_url: str) -> list[Any]:
        async with httpx.AsyncClient(base_url=base_url) as client:
            asked = [path, "/v1/agents", "/v1/groups/", "/v1/nothing"]
            answers = [await get(client, url) for url in asked]
            broken = [await get(client, path, limit=-1)]
            answers += broken + [await get(client, "/v1/health/") for _ in range(2)]
            searched = await client.post("/v1/messages/search", json={"query": "x"})
            return [*answers, searched.content]

    with serve(letta, "cloud") as server, serve_without_sockets(letta, "cloud") as same:
        of_sockets, of_none = (asyncio.run(found(one.base_url)) for one in (server, same))
        # Redirects name the host.
        host = same.base_url.removeprefix("http://"), server.base_url.removeprefix("http://")
        assert repr(of_none).replace(*host) == repr(of_sockets)
        assert of_none[-3] == "reset"
        asked = [[(one.method, one.path, one.params) for one in each.requests] for each in (server, same)]
        assert asked[0] == asked[1]


@pytest.mark.parametrize(
    ("asked", "right"),
    [
        ("/v1/agents?limit=2&after=a%20b", "/v1/agents/?limit=2&after=a+b"),
        ("/v1/messages/batches/", "/v1/messages/batches"),
    ],
)
def test_a_wrong_slash_is_redirected(recording: httpx.Client, asked: str, right: str) -> None:
    answer = recording.get(asked)
    assert answer.status_code == 307
    assert httpx.URL(answer.headers["location"]) == recording.base_url.join(right)


def test_the_key_is_asked_for() -> None:
    with serve(Letta(), api_key="secret") as server:
        refused = httpx.get(f"{server.base_url}/v1/agents/")
        assert (refused.status_code, refused.json()) == (401, {"detail": "Unauthorized"})
        assert httpx.get(f"{server.base_url}/v1/health/").status_code == 200
        key = {"Authorization": "Bearer secret"}
        assert httpx.get(f"{server.base_url}/v1/agents/", headers=key).json() == []


def test_missing_families_and_the_request_log() -> None:
    with serve(Letta(), missing=("runs", "messages")) as server:
        with httpx.Client(base_url=server.base_url) as client:
            client.get("/v1/health/")
            server.requests.clear()
            paths = ("/v1/agents/", "/v1/messages/batches", "/v1/runs/", "/v1/messages/")
            answers = [client.get(path, params={"limit": 1}, headers={"X-Project": "p"}) for path in paths]
        assert [answer.status_code for answer in answers] == [200, 200, 404, 404]
        assert [request.path for request in server.requests] == list(paths)
        first = server.requests[0]
        assert (first.method, first.params, first.headers["x-project"]) == ("GET", {"limit": "1"}, "p")


def test_delay_and_end_of_service() -> None:
    with httpx.Client() as client:
        with serve(Letta(), delay=0.05) as server:
            started = time.perf_counter()
            client.get(f"{server.base_url}/v1/health/")
            assert time.perf_counter() - started >= 0.05
        with pytest.raises(httpx.TransportError):
            client.get(f"{server.base_url}/v1/health/")
