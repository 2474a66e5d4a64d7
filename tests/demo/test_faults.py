"""On the wire, the faults of the small Letta are what their names say."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import httpx
import pytest

from letta_source.demo import Letta, Server, serve
from tests.support.faults import FAULTS, Fault, Faults, route_of

AGENTS = "/v1/agents/"
LIMITED = {"detail": "Too many requests"}


@dataclass(frozen=True)
class Heard:
    """The bytes received, and how the connection ended: closed, reset, or still open."""

    head: bytes
    body: bytes
    end: str

    @property
    def promised(self) -> int:
        [line] = [line for line in self.head.split(b"\r\n") if line.startswith(b"Content-Length:")]
        return int(line.split(b":")[1])


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    address = ("127.0.0.1", httpx.URL(server.base_url).port or 0)
    with socket.create_connection(address, timeout=0.1) as connection:
        yield connection


def send(connection: socket.socket, path: str = AGENTS) -> None:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())


def ask(connection: socket.socket, path: str = AGENTS) -> Heard:
    send(connection, path)
    heard, end = b"", "open"
    try:
        while chunk := connection.recv(65536):
            heard += chunk
        end = "closed"
    except ConnectionResetError:
        end = "reset"
    except TimeoutError:
        pass
    head, blank, body = heard.partition(b"\r\n\r\n")
    return Heard(head + blank, body, end)


def hear(letta: Letta, fault: Fault, path: str = AGENTS) -> Heard:
    """Return the response to a request with this fault, after checking that the next one is right."""
    with serve(letta, between=Faults.of(fault)) as server, connected(server) as first:
        heard = ask(first, path)
        with connected(server) as second:
            assert ask(second).head == right(letta).head
        assert len(server.requests) == 2
    return heard


def right(letta: Letta) -> Heard:
    with serve(letta) as server, connected(server) as connection:
        return ask(connection)


@pytest.fixture(scope="module")
def letta() -> Letta:
    letta = Letta(seed=0)
    letta.add_agent()
    return letta


def test_without_faults_the_connection_stays_open(letta: Letta) -> None:
    heard = right(letta)
    assert heard.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert heard.promised == len(heard.body)
    assert [agent["id"] for agent in json.loads(heard.body)] == letta.tables["agents"].ids()
    assert heard.end == "open"


def heard_before_reset(letta: Letta, fault: Fault) -> Heard:
    """Return a response before the reset; a reset may overtake what was sent, so this tries again."""
    heard = (hear(letta, fault) for _ in range(20))
    return next((one for one in heard if one.head), Heard(b"", b"", "reset"))


def test_resets(letta: Letta) -> None:
    whole = right(letta)
    assert hear(letta, "reset") == Heard(b"", b"", "reset")
    assert heard_before_reset(letta, "reset_after_head") == Heard(whole.head, b"", "reset")
    within = heard_before_reset(letta, "reset_in_head")
    assert within == Heard(whole.head[: len(within.head)], b"", "reset")
    assert 0 < len(within.head) < len(whole.head)


def test_half_of_the_body_closes_gracefully(letta: Letta) -> None:
    whole = right(letta)
    assert hear(letta, "half_body") == Heard(whole.head, whole.body[: len(whole.body) // 2], "closed")


def test_half_of_an_empty_body_is_truncated_too(letta: Letta) -> None:
    redirect = hear(letta, "half_body", "/v1/agents")
    assert redirect.head.startswith(b"HTTP/1.1 307 ")
    assert (redirect.promised, redirect.body, redirect.end) == (1, b"", "closed")


def test_a_stall_sends_nothing(letta: Letta) -> None:
    assert hear(letta, "stall") == Heard(b"", b"", "open")


def test_a_drip_sends_the_right_response_byte_by_byte(letta: Letta) -> None:
    whole = right(letta)
    with serve(letta, between=Faults.of("drip", pause=0.01)) as server, connected(server) as connection:
        started = time.monotonic()
        send(connection)
        assert whole.head.startswith(b"".join(connection.recv(1) for _ in range(10)))
        assert time.monotonic() - started >= 9 * 0.01
    with serve(letta, between=Faults.of("drip", pause=0)) as server, connected(server) as connection:
        assert ask(connection) == Heard(whole.head, whole.body, "closed")


@pytest.mark.parametrize("fault", ["stall", "drip"])
def test_endless_responses_end_with_the_client_or_the_server(letta: Letta, fault: Fault) -> None:
    _until(lambda: _handlers() == 0)
    with ExitStack() as staying:
        with serve(letta, between=Faults.of(fault, times=2, pause=60)) as server:
            with connected(server) as leaves:
                send(leaves)
                _until(lambda: len(server.requests) == _handlers() == 1)
            _until(lambda: _handlers() == 0)
            stays = staying.enter_context(connected(server))
            send(stays)
            _until(lambda: len(server.requests) == 2 and _handlers() == 1)
        _until(lambda: _handlers() == 0)


def _handlers() -> int:
    """Return the number of connections that are being handled."""
    return sum("process_request" in thread.name for thread in threading.enumerate())


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


def test_429_asks_to_wait_in_seconds_or_until_a_date(letta: Letta) -> None:
    begun = datetime.now(timezone.utc).replace(microsecond=0)
    faults = Faults.of("429_seconds", "429_date", retry_after=7)
    with serve(letta, between=faults) as server, httpx.Client(base_url=server.base_url) as client:
        seconds, date = client.get(AGENTS), client.get(AGENTS)
    assert [(answer.status_code, answer.json()) for answer in (seconds, date)] == [(429, LIMITED)] * 2
    assert seconds.headers["retry-after"] == "7"
    assert parsedate_to_datetime(date.headers["retry-after"]) - begun in (
        timedelta(seconds=7),
        timedelta(seconds=8),
    )


def test_a_500_breaks_its_connection_and_gateway_errors_are_pages(letta: Letta) -> None:
    faults = Faults.of("502", "503", "500")
    with serve(letta, between=faults) as server, httpx.Client(base_url=server.base_url) as client:
        for status in (502, 503):
            answer = client.get(AGENTS)
            assert (answer.status_code, answer.headers["content-type"][:9]) == (status, "text/html")
            assert "<html>" in answer.text
        answer = client.get(AGENTS)
        assert (answer.status_code, answer.json()) == (500, {"detail": "An unknown error occurred"})
        with pytest.raises(httpx.ReadError):
            client.get(AGENTS)
        assert client.get(AGENTS).status_code == 200


def test_faults_that_look_like_valid_responses(letta: Letta) -> None:
    whole = right(letta)
    faults = Faults.of("html", "no_json", "cut_json")
    with serve(letta, between=faults) as server, httpx.Client(base_url=server.base_url) as client:
        html, no_json, cut_json = (client.get(AGENTS) for _ in range(3))
    assert (html.status_code, html.headers["content-type"][:9]) == (200, "text/html")
    for answer in (no_json, cut_json):
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    assert cut_json.content == whole.body[: len(whole.body) // 2]


def test_cut_json_hides_an_error() -> None:
    faults = Faults.of("cut_json")
    with serve(Letta(), between=faults) as server, httpx.Client(base_url=server.base_url) as client:
        assert [client.get("/v1/steps/").status_code for _ in range(2)] == [200, 400]


def test_every_route_gets_every_fault_before_it_gets_one_twice(letta: Letta) -> None:
    faults = Faults(rate=1)
    agent = f"/v1/agents/{letta.tables['agents'].ids()[0]}/messages"
    for times in (1, 2):
        for _ in FAULTS:
            faults.next(AGENTS)
            faults.next(agent)
        routes = (AGENTS, "/v1/agents/{id}/messages")
        assert faults.played == {(route, fault): times for route in routes for fault in FAULTS}


def test_the_fault_rate_is_kept_and_repeatable_by_seed() -> None:
    first, again, other = (
        [faults.next(AGENTS) for _ in range(1000)]
        for faults in (Faults(rate=0.3, seed=1), Faults(rate=0.3, seed=1), Faults(rate=0.3, seed=2))
    )
    assert first == again != other
    mixed = Faults(rate=0.3, seed=1)
    assert first == [(mixed.next("/v1/runs/"), mixed.next(AGENTS))[1] for _ in range(1000)]
    assert 250 < sum(fault is not None for fault in first) < 350
    assert not any(Faults(rate=0).next(AGENTS) for _ in range(100))
    assert {Faults(rate=1, kinds=["502"]).next(AGENTS) for _ in range(20)} == {"502"}


def test_planned_faults_come_in_order_at_their_endpoints(letta: Letta) -> None:
    faults = Faults.of("502", "503", on="/v1/agents/{id}/messages", times=2)
    paths = [AGENTS, *(f"/v1/agents/{agent}/messages" for agent in letta.tables["agents"].ids() * 5)]
    with serve(letta, between=faults) as server, httpx.Client(base_url=server.base_url) as client:
        assert [client.get(path).status_code for path in paths] == [200, 502, 503, 502, 503, 200]
        assert [request.path for request in server.requests] == paths
    assert faults.played == {(route_of(paths[1]), "502"): 2, (route_of(paths[1]), "503"): 2}
    one_path = Faults.of("html", on=paths[1])
    assert [one_path.next(path) for path in (AGENTS, "/v1/agents/agent-0/messages", paths[1])] == [
        None,
        None,
        "html",
    ]
