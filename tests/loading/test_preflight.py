"""The first contact with a server, before anything is loaded."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from letta_source.errors import AuthError, NotLetta, Unreachable
from letta_source.loading.preflight import check_families, check_reachable
from tests.support.wire import answering, settings

pytestmark = pytest.mark.usefixtures("waits")


@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), httpx.Response(502), httpx.Response(503)])
def test_a_load_waits_for_a_starting_server(failure: httpx.Response | Exception, waits: list[float]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if len(requests) > 7:
            return httpx.Response(200, json=[])
        if isinstance(failure, Exception):
            raise failure
        return failure

    with answering(answer) as requests:
        check_reachable(settings())
    assert 20 < sum(waits) < 40
    with answering(answer) as requests, pytest.raises(Unreachable):
        check_families(settings())
    assert len(requests) == 2


def test_another_server_is_recognized_at_once() -> None:
    with answering(lambda _: httpx.Response(200, html="<html>Hi</html>")) as requests:
        with pytest.raises(NotLetta, match="answers with a web page"):
            check_reachable(settings())
        assert len(requests) == 1
    with answering(lambda _: httpx.Response(404)), pytest.raises(NotLetta, match="none of Letta's endpoints"):
        check_reachable(settings())


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(403, json={"detail": "Agents are not part of your plan"}),
        httpx.Response(403, json={"message": "Forbidden"}),
        httpx.Response(403, html="<h1>403 Forbidden</h1>"),
    ],
    ids=lambda answer: answer.text,
)
def test_if_one_family_refuses_the_others_are_tried(refusal: httpx.Response, waits: list[float]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return refusal if request.url.path == "/v1/agents/" else httpx.Response(200, json=[])

    with answering(answer):
        check_reachable(settings())
    waits.clear()
    with answering(lambda _: refusal), pytest.raises(AuthError, match="403"):
        check_reachable(settings())
    # If a gateway refuses everything, the retries are not repeated for each family.
    assert sum(waits) < 60


def test_it_works_in_a_notebook_with_a_running_event_loop() -> None:
    async def cell() -> None:
        check_reachable(settings())

    with answering(lambda _: httpx.Response(200, json=[])) as requests:
        asyncio.run(cell())
    assert len(requests) == 1
