"""One request: where it is sent, what its response becomes, and what is logged."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

from letta_source.api.bodies import parse_body
from letta_source.api.client import Client
from letta_source.api.responses import BadBody, RequestFailed, StatusError
from letta_source.api.server import Server
from letta_source.demo import Letta, serve
from letta_source.errors import NotLetta
from tests.support.wire import HOST, Answer, answering, client_of, get, one_by_one, settings

pytestmark = pytest.mark.usefixtures("waits")

KEY = "sk-let-0123456789abcdef"


@pytest.mark.parametrize("body", [b"", b"[1", b"OK", b"\xff", b"[" * 100_000], ids=len)
def test_a_body_that_is_not_json(body: bytes) -> None:
    with pytest.raises(BadBody):
        parse_body(body)


def test_integers_beyond_64_bits_are_kept() -> None:
    assert parse_body(b"[123456789012345678901234567890]") == [123456789012345678901234567890]


def test_lone_surrogates_are_json() -> None:
    assert parse_body(rb'["\ud83d"]') == ["\ud83d"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"detail": "gone"}', "gone"),
        (b'{"error": "gone"}', "{'error': 'gone'}"),
        (b'["gone"]', "['gone']"),
        (b'{"detail": "one line\\n  and another"}', "one line and another"),
        (b"no json", "Not Found: not Letta's own response"),
        (b'"' + b"x" * 999 + b'"', "x" * 300),
    ],
)
def test_error_details_are_reported(body: bytes, detail: str) -> None:
    with answering(lambda _: httpx.Response(404, content=body)), pytest.raises(StatusError) as caught:
        get()
    assert caught.value.detail == detail


def test_headers_and_body() -> None:
    async def main() -> None:
        async with Client(settings(api_key=KEY, project="zoo")) as client:
            await client.post("/v1/messages/search", {"query": "ä"})
        async with Client(settings()) as client:
            await client.get("/v1/agents/", {"limit": 5})

    with answering(lambda _: httpx.Response(200, json=[])) as requests:
        asyncio.run(main())
    first, second = requests
    assert (first.headers["authorization"], first.headers["x-project"]) == (f"Bearer {KEY}", "zoo")
    assert (first.method, first.content) == ("POST", '{"query":"ä"}'.encode())
    assert not {"authorization", "x-project"} & set(second.headers)
    assert str(second.url) == f"{HOST}/v1/agents/?limit=5"


def test_a_redirect_for_a_slash_is_followed_with_the_key() -> None:
    letta = Letta()
    agent = letta.add_agent()
    with serve(letta, api_key=KEY) as server:
        assert [found["id"] for found in get(server.base_url, "/v1/agents", api_key=KEY)] == [agent]
        assert get(server.base_url, "/v1/messages/batches/", api_key=KEY) == []
    assert [request.path for request in server.requests][:2] == ["/v1/agents", "/v1/agents/"]


def redirect(there: str) -> httpx.Response:
    return httpx.Response(307, headers={"location": there})


@pytest.mark.parametrize(
    "there", ["/v1/groups/", "/v1/agents/agent-1", "/v1/agents/agent-1/messages", "/", ""]
)
def test_no_redirect_leads_to_another_list(there: str) -> None:
    """Its items would be stored as those that were asked for."""
    with (
        answering(lambda _: redirect(there)) as requests,
        pytest.raises(NotLetta, match=r"another path|circle"),
    ):
        get(HOST, "/v1/agents/")
    assert {request.url.path for request in requests} == {"/v1/agents/"}


@pytest.mark.parametrize("there", ["/v1/agents", "/letta/v1/agents/", f"{HOST}/v1/agents?limit=1"])
def test_a_redirect_that_drops_the_query_keeps_it(there: str) -> None:
    """Some proxies do that when they add a slash."""
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        return redirect(there) if len(asked) == 1 else httpx.Response(200, json=[])

    with client_of(answer) as ask:
        assert ask("/v1/agents/", {"limit": 1}) == []
    assert asked == [{"limit": "1"}] * 2


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (HOST, "http://elsewhere.test/v1/agents/"),
        (HOST, "//elsewhere.test/v1/agents/"),
        (HOST, f"{HOST}.elsewhere.test/"),
        (HOST, f"{HOST}:8283/v1/agents/"),
        ("https://letta.test", f"{HOST}:8283/v1/agents/"),
    ],
)
def test_the_key_is_sent_to_no_other_host(here: str, there: str) -> None:
    with answering(lambda _: redirect(there)) as requests, pytest.raises(NotLetta, match="redirects to"):
        get(here, api_key=KEY)
    assert len(requests) == 1


def test_an_invalid_redirect_url_is_a_failed_request() -> None:
    with answering(lambda _: redirect("mailto:nobody")), pytest.raises(RequestFailed, match="InvalidURL on"):
        get()
    with pytest.raises(RequestFailed, match="InvalidURL on"):
        get(path="/v1/agents/a\nb")


def test_the_same_host_is_followed_to_https() -> None:
    answers = [redirect("https://letta.test/v1/agents/"), httpx.Response(200, json=[])]
    with answering(one_by_one(answers)) as requests:
        get(api_key=KEY)
    assert [request.headers["authorization"] for request in requests] == [f"Bearer {KEY}"] * 2


def test_a_redirect_loop_ends() -> None:
    with answering(lambda _: redirect("/v1/agents/")) as requests, pytest.raises(NotLetta, match="circle"):
        get()
    assert len(requests) <= 5


def test_every_request_is_counted() -> None:
    server = Server()

    async def main() -> None:
        async with Client(settings(), server) as client:
            await client.get("/v1/agents")

    answers = [httpx.Response(503), redirect("/v1/agents/"), httpx.Response(200, json=[])]
    with answering(one_by_one(answers)) as requests:
        asyncio.run(main())
    assert server.traffic.requests == len(requests) == 3


def test_retries_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "letta_source")
    failures: list[Answer] = [httpx.Response(503, json={"detail": "busy"}), httpx.ReadTimeout("slow")]
    with answering(one_by_one([*failures, httpx.Response(200, json=[])])):
        get()
    said = [record.getMessage() for record in caplog.records if record.name == "letta_source.api.retries"]
    assert said == ["GET /v1/agents/: 503; try 2", "GET /v1/agents/: ReadTimeout; try 3"]
