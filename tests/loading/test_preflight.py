"""The first contact with a server, before anything is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from letta_source.api.server import Server
from letta_source.errors import AuthError, NotLetta, Unreachable
from letta_source.loading import preflight
from letta_source.loading.preflight import check_families, check_reachable
from letta_source.schema.resources import RESOURCES
from tests.support.wire import answering, one_by_one, settings

AGENT = "agent-123e4567-e89b-42d3-8456-426614174000"
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


def test_under_masks_an_error_of_letta_is_not_quoted() -> None:
    """It may hold the text of a row that the server cannot render."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, json={"detail": "cannot render SECRET"})

    for asked in (settings(mask={"content": "drop"}), settings(images="drop", agent_ids=[AGENT])):
        for check in (check_reachable, check_families):
            with answering(answer), pytest.raises(Unreachable) as raised:
                check(asked)
            assert "500" in str(raised.value)
            assert "SECRET" not in str(raised.value)
    with answering(answer), pytest.raises(Unreachable, match="500: cannot render SECRET"):
        check_reachable(settings())


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


def test_a_refusal_of_lettas_own_leaves_the_other_families_their_retries() -> None:
    known = Server()
    for detail, given_up in (("detail", False), ("message", True)):
        with answering(one_by_one([httpx.Response(403, json={detail: "no"})] * 99)), pytest.raises(AuthError):
            check_reachable(settings(), known)
        assert ("/v1/runs/" in known.given_up) == given_up


def test_a_failing_family_is_told_once_another_was_read() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500 if request.url.path == "/v1/runs/" else 200, json=[])

    with answering(answer):
        found = check_families(settings())
    assert [family for family, why in found.items() if why] == ["runs"]
    with (
        answering(lambda _: httpx.Response(500)),
        pytest.raises(Unreachable, match="/v1/agents/: returns 500"),
    ):
        check_families(settings())


@pytest.mark.parametrize(("status", "is_there"), [(404, True), (400, False)])
def test_a_list_that_does_not_know_the_cursor_is_there(status: int, is_there: bool) -> None:
    """Tools are asked for after an id that none has, the others from the start."""

    def answer(request: httpx.Request) -> httpx.Response:
        if "after" in request.url.params:
            return httpx.Response(status, json={"detail": "Tool not found" if is_there else "no"})
        return httpx.Response(200, json=[])

    with answering(answer):
        found = check_families(settings())
    assert [family for family, why in found.items() if why] == ([] if is_there else ["tools"])


NEW, OLD = "2026-05-05T12:00:00Z", "2026-05-04T12:00:00Z"


@pytest.mark.parametrize(
    ("dates", "newest", "obeys", "ignores"),
    [
        ((OLD, NEW), [], True, False),
        ((NEW, OLD), [{"id": "0"}], False, True),
        # The first was stored later, with an older date.
        ((NEW, OLD), [{"id": "1"}], False, False),
        ((NEW, OLD), [], False, False),
        ((NEW, NEW), [{"id": "0"}], False, False),
        ((None, NEW), [{"id": "0"}], False, False),
        ((NEW, None), [{"id": "0"}], False, False),
        ((OLD,), [{"id": "0"}], False, False),
        (("text", OLD, NEW), [], False, False),
        (None, [], False, False),
    ],
)
def test_two_dates_tell_whether_the_order_arrives(
    dates: Sequence[str | None] | None, newest: list[Any], obeys: bool, ignores: bool
) -> None:
    async def get(path: str, params: Mapping[str, object], **_: object) -> list[Any]:
        assert params == {"limit": 1, "order": "desc"}
        return newest

    client: Any = SimpleNamespace(server=Server(), get=get)
    items = (
        None
        if dates is None
        else [one if one == "text" else {"id": str(at), "created_at": one} for at, one in enumerate(dates)]
    )
    asyncio.run(preflight._note_order(client, RESOURCES["agents"], items))
    assert (client.server.obeys_order, client.server.ignores_order) == (obeys, ignores)


def test_it_works_in_a_notebook_with_a_running_event_loop() -> None:
    async def cell() -> None:
        check_reachable(settings())

    with answering(lambda _: httpx.Response(200, json=[])) as requests:
        asyncio.run(cell())
    assert len(requests) == 1
