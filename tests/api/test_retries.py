"""Retries: which failures and when, what a failure is blamed on, and what ends the load."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError, WebPage
from letta_source.api.retries import retry_after
from letta_source.demo import Letta, serve
from letta_source.errors import AuthError, QuotaExceeded, Unreachable
from tests.support.wire import Answer, answering, client_of, get, one_by_one, settings, web_page

pytestmark = pytest.mark.usefixtures("waits")

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "failure",
    [
        *(
            pytest.param(httpx.Response(status), id=str(status))
            for status in (408, 425, 429, 500, 502, 503, 504)
        ),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.WriteError("reset"),
        httpx.PoolTimeout("busy"),
        httpx.RemoteProtocolError("hung up"),
        httpx.DecodingError("no gzip"),
        httpx.Response(200, content=b'[{"id": "agent-'),
        web_page(502),
    ],
    ids=repr,
)
def test_transient_failures_are_retried(failure: Answer) -> None:
    with answering(one_by_one([failure, failure, httpx.Response(200, json=[1])])) as requests:
        assert get(retries=2) == [1]
    assert len(requests) == 3


@pytest.mark.parametrize("status", [400, 402, 409, 410, 422, 501])
def test_refusals_by_letta_are_not_retried(status: int) -> None:
    with (
        answering(lambda _: httpx.Response(status, json={"detail": "No."})) as requests,
        pytest.raises(StatusError, match=f"{status}: No.") as caught,
    ):
        get()
    assert (caught.value.status, caught.value.detail, len(requests)) == (status, "No.", 1)


@pytest.mark.parametrize("retries", [0, 3])
def test_retries_are_counted(retries: int) -> None:
    with answering(lambda _: httpx.Response(503)) as requests, pytest.raises(StatusError):
        get(retries=retries)
    assert len(requests) == 1 + retries


@pytest.mark.parametrize(
    ("failure", "tries"),
    [
        (httpx.Response(500), 3),
        (httpx.Response(504), 3),
        (httpx.ReadTimeout("slow"), 3),
        (httpx.ReadError("reset"), 3),
        (httpx.Response(200, content=b"[1"), 3),
        (httpx.Response(503), 6),
        (httpx.Response(429), 6),
    ],
    ids=repr,
)
def test_failures_that_a_smaller_page_may_avoid_are_retried_less(failure: Answer, tries: int) -> None:
    with answering(one_by_one([failure] * 9)) as requests, pytest.raises(RequestFailed):
        get(retries=5, page_retries=2)
    assert len(requests) == tries


def test_waits_grow_exponentially(waits: list[float]) -> None:
    with answering(lambda _: httpx.Response(503)), pytest.raises(StatusError):
        get(retries=10)
    assert len(waits) == 10
    assert waits[:7] == sorted(waits[:7])
    assert 0.25 <= waits[0] <= 0.5
    assert 30 <= waits[-1] <= 30.25


def test_retries_end(waits: list[float]) -> None:
    with answering(lambda _: httpx.Response(503)) as requests, pytest.raises(StatusError):
        get(retries=100)
    assert 500 <= sum(waits) <= 600
    assert len(requests) == 1 + len(waits)


PAST = "Wed, 21 Oct 2015 07:28:00 GMT"
NO_WAITS = [
    *("0", "-0", "0.0", "-3", "1e-9", PAST, "soon", "", ",", "nan", "inf", "-inf", "1e400", "9" * 400),
    # Implausible values, and those that only Python accepts as numbers.
    *("1e9", "1000000000", "2678401", "1_000", "\u0663\u0660", "+5", "0x10", "5 s", "PT5S", "0, 0", "0,-5"),
]
NO_DATES = [
    "Mon, 99 Foo 0000 99:99:99 GMT",
    "Fri, 31 Dec 9999 23:59:59 -9999",
    "Sat, 01 Jan 0001 00:00:00 +2359",
    "Fri, 31 Dec 2100 23:59:59 GMT",
    "2026-05-04T12:01:00Z",
]


def test_retry_after_is_obeyed(waits: list[float]) -> None:
    asked = [httpx.Response(429, headers={"retry-after": value}) for value in ("7", "20")]
    with answering(one_by_one([*asked, httpx.Response(200, json=[])])):
        get()
    assert sum(waits) == pytest.approx(27, abs=0.1)


@pytest.mark.parametrize("odd", [*NO_WAITS, *NO_DATES, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_wait_is_shorter_than_the_backoff(odd: str, waits: list[float]) -> None:
    field = {b"retry-after": odd.encode()}
    asked = [httpx.Response(status, headers=field) for status in (429, 503, 429)]
    with answering(one_by_one([*asked, httpx.Response(200, json=[])])):
        assert get() == []
    backoff = [wait for wait in waits if wait > 0.01]
    assert [least <= wait <= least + 0.25 for wait, least in zip(backoff, (0.25, 0.5, 1), strict=True)] == [
        True
    ] * 3


@pytest.mark.parametrize("asked", ["3600", "2678400", "5, 3600"])
def test_a_retry_after_of_more_than_ten_minutes_ends_the_load(asked: str, waits: list[float]) -> None:
    asks = httpx.Response(429, headers={"retry-after": asked}, json={"detail": "Slow down."})
    with answering(lambda _: asks) as requests, pytest.raises(Unreachable, match=r"asks to wait [\d,]+ s"):
        get(retries=3)
    assert (len(requests), sum(waits) < 5) == (4, True)
    with answering(one_by_one([asks, httpx.Response(200, json=[])])):
        assert get() == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", None),
        ("90", 90),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1),
        ("-1", None),
        ("Mon, 04 May 2026 12:01:00 GMT", 60),
        ("Mon, 04 May 2026 14:01:00 +0200", 60),
        # Dates without a time zone are in UTC.
        ("Mon, 04 May 2026 12:01:00 -0000", 60),
        ("Mon, 04 May 2026 12:01:00", 60),
        ("Mon, 04 May 2026 11:59:00 GMT", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        ("5, 10", 10),
        ("soon, 7", 7),
        ("Mon, 04 May 2026 12:01:00 GMT, 5", 60),
        ("Mon, 04 May 2026 12:01:00 GMT, Mon, 04 May 2026 12:02:00 GMT", 120),
        ("5,Mon, 04 May 2026 11:59:00 GMT", 5),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {"retry-after": header}
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("order", [("5", "60"), ("60", "5"), ("soon", "60"), ("-1", "60", "0")])
def test_the_longest_of_several_retry_after_fields_counts(order: tuple[str, ...]) -> None:
    assert retry_after(httpx.Headers([("Retry-After", one) for one in order]), NOW) == 60


@pytest.mark.parametrize("odd", ["1000000000", "9" * 400, "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_an_absurd_retry_after_does_not_end_the_load(odd: str) -> None:
    asks = httpx.Response(503, headers={"retry-after": odd})
    with answering(lambda _: asks) as requests, pytest.raises(StatusError, match="503"):
        get(retries=3)
    assert len(requests) == 4


def test_retry_after_dates_are_compared_with_the_servers_clock() -> None:
    dates = {"retry-after": "Mon, 04 May 2026 12:01:00 GMT", "date": "Mon, 04 May 2026 12:00:50 GMT"}
    assert retry_after(dates, NOW) == 10


@pytest.mark.parametrize("reason", ["exceeded-quota", "agents-limit-exceeded", "premium-usage-exceeded"])
@pytest.mark.parametrize("status", [402, 429])
def test_a_quota_ends_the_load_with_its_reason(status: int, reason: str) -> None:
    said = {"error": "Rate limited", "reasons": [reason]}
    with (
        answering(lambda _: httpx.Response(status, json=said)) as requests,
        pytest.raises(QuotaExceeded, match=reason),
    ):
        get(looks_again=True)
    assert len(requests) == 1


@pytest.mark.parametrize(
    "said", [{"error": "Rate limited", "reasons": ["rate-limit-exceeded"]}, {"reasons": 5}]
)
def test_a_rate_limit_is_not_a_quota(said: dict[str, Any]) -> None:
    with answering(one_by_one([httpx.Response(429, json=said), httpx.Response(200, json=[])])):
        assert get() == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_load_at_once(status: int) -> None:
    with (
        answering(lambda _: httpx.Response(status, json={"detail": "Who?"})) as requests,
        pytest.raises(AuthError, match=r"letta\.test refuses the key.*LETTA_API_KEY.*Who\?"),
    ):
        get()
    assert len(requests) == 1


def test_an_unreachable_server_ends_the_load() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{port} cannot be reached: .*refused"):
        get(f"http://127.0.0.1:{port}", retries=1)


def test_a_web_page_is_not_letta() -> None:
    with (
        answering(lambda _: web_page(200)) as requests,
        pytest.raises(WebPage, match="set the base URL to the API's"),
    ):
        get()
    assert len(requests) == 1


def test_a_web_page_during_a_load_is_transient() -> None:
    with answering(one_by_one([web_page(200), httpx.Response(200, json=[])])):
        assert get(looks_again=True) == []


class _Outage:
    """A server that fails `requests` times, then answers; one path always fails.

    Attributes:
        paths: the paths of the requests.
    """

    def __init__(self, requests: int, status: int = 500) -> None:
        self.paths: list[str] = []
        self._requests, self._status = requests, status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        if len(self.paths) <= self._requests or request.url.path == "/bad":
            return httpx.Response(self._status)
        return httpx.Response(200, json=[])


def test_a_request_that_fails_alone_is_given_up() -> None:
    outage = _Outage(0)
    with answering(outage), pytest.raises(StatusError):
        get(path="/bad", retries=1, looks_again=True)
    assert outage.paths == ["/bad", "/bad", "/v1/agents/"]


def test_an_outage_is_not_blamed_on_a_request() -> None:
    outage = _Outage(5)
    with answering(outage):
        assert get(path="/good", retries=1, looks_again=True) == []
    assert outage.paths == ["/good"] * 2 + ["/v1/agents/", "/v1/runs/"] + ["/v1/agents/"] * 2 + ["/good"]


SAYS_200 = [httpx.Response(200, json={"data": None}), web_page(200)]
"""Answers of something in front of Letta that look like a success."""


@pytest.mark.parametrize("foreign", SAYS_200, ids=repr)
def test_a_status_200_error_on_one_path_is_retried_for_half_a_minute(
    foreign: httpx.Response, waits: list[float]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return foreign if request.url.path == "/bad" else httpx.Response(200, json=[])

    with answering(answer), pytest.raises(RequestFailed):
        get(path="/bad", shape="list", looks_again=True)
    assert 30 < sum(waits) < 40


@pytest.mark.parametrize("foreign", SAYS_200, ids=repr)
def test_status_200_errors_on_all_paths_are_an_outage(foreign: httpx.Response, waits: list[float]) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return foreign if sum(waits) < 150 else httpx.Response(200, json=[])

    with answering(answer):
        assert get(path="/good", shape="list", looks_again=True) == []


def test_a_server_that_fails_and_then_goes_down_is_waited_for() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if len(requests) in (3, 4, 5):
            raise httpx.ConnectError("refused")
        return httpx.Response(502 if len(requests) < 3 else 200, json=[])

    with answering(answer) as requests:
        assert get(path="/good", retries=3, page_retries=1, looks_again=True) == []


def test_the_probe_of_the_server_may_be_refused() -> None:
    """A family may be missing, or its list may contain something that the server cannot render."""
    answers = {"/v1/agents/": 500, "/v1/runs/": 404, "/bad": 500}
    no_route = {"detail": "Not Found"}
    with (
        answering(lambda request: httpx.Response(answers[request.url.path], json=no_route)) as requests,
        pytest.raises(StatusError),
    ):
        get(path="/bad", retries=0, looks_again=True)
    assert len(requests) == 3


@pytest.mark.parametrize("status", [200, 429, 500, 502, 503])
def test_a_server_that_is_gone_for_good(status: int) -> None:
    with answering(lambda _: web_page(status)), pytest.raises(Unreachable, match="no longer answers"):
        get(path="/good", retries=1, looks_again=True)


def test_a_response_to_another_reader_proves_that_the_server_is_up() -> None:
    letta = Letta()
    agent = letta.add_agent()
    letta.poison(letta.list_of("agent", agent).ids()[0])
    bad = f"/v1/agents/{agent}/messages"

    async def main(base_url: str) -> None:
        async with Client(settings(base_url, retries=5)) as client:
            reading = asyncio.create_task(client.get(bad))
            while not reading.done():
                await client.get("/v1/groups/")
            with pytest.raises(StatusError):
                await reading

    with serve(letta) as server:
        asyncio.run(main(server.base_url))
    assert {request.path for request in server.requests} == {"/v1/groups/", bad}


def test_a_response_that_trickles_in_times_out() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    with (
        answering(lambda _: httpx.Response(200, content=drip())) as requests,
        pytest.raises(RequestFailed, match="ReadTimeout"),
    ):
        get(timeout=0.05, retries=1)
    assert len(requests) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusing_proxy_is_retried(status: int) -> None:
    with answering(one_by_one([web_page(status), httpx.Response(200, json=[])])):
        assert get() == []
    with answering(lambda _: web_page(status)) as requests, pytest.raises(AuthError):
        get(retries=2)
    assert len(requests) == 3


def test_after_a_500_the_next_request_does_not_fail() -> None:
    letta = Letta()
    agent, other = letta.add_agent(), letta.add_agent()
    letta.poison(letta.list_of("agent", agent).ids()[0])

    async def main(base_url: str) -> Any:
        # The check whether the server answers would be the next request.
        async with Client(settings(base_url, retries=0), looks_again=False) as client:
            with pytest.raises(StatusError, match="500: An unknown error occurred"):
                await client.get(f"/v1/agents/{agent}/messages")
            return await client.get(f"/v1/agents/{other}/messages")

    with serve(letta) as server:
        assert len(asyncio.run(main(server.base_url))) == 1


@contextmanager
def two_connections(body: bytes, requests: int) -> Iterator[str]:
    """Serve two connections with one response each; hang up without notice on request 1 or 2 of each."""

    def reply() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)
                if requests == 2:
                    connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=reply)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_a_connection_reset_is_retried() -> None:
    async def main(base_url: str) -> list[Any]:
        async with Client(settings(base_url, retries=1)) as client:
            return [await client.get("/v1/agents/"), await client.get("/v1/agents/")]

    with two_connections(b"[42]", requests=2) as base_url:
        assert asyncio.run(main(base_url)) == [[42], [42]]


def test_a_body_cut_short_is_a_failed_request() -> None:
    with (
        two_connections(b"[4", requests=1) as base_url,
        pytest.raises(RequestFailed, match="RemoteProtocolError on /v1/agents/"),
    ):
        get(base_url, retries=1)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(404, text="default backend - 404"),
        httpx.Response(403, html="<html>Forbidden</html>"),
        httpx.Response(404, json={"message": "no Route matched with those values"}),
        httpx.Response(503),
        httpx.Response(200, json={"error": "upstream timed out"}),
    ],
    ids=repr,
)
def test_a_kind_of_path_that_was_given_up_once_is_retried_less(
    failure: httpx.Response, waits: list[float]
) -> None:
    """A gateway fails for one kind of path; all others are answered."""
    is_cured = False

    def answer(request: httpx.Request) -> httpx.Response:
        return (
            failure
            if request.url.path.endswith("/messages") and not is_cured
            else httpx.Response(200, json=[])
        )

    def seconds(path: str) -> float:
        before = sum(waits)
        with pytest.raises(RequestFailed):
            ask(path, shape="list")
        return sum(waits) - before

    with client_of(answer) as ask:
        ask("/v1/agents/", shape="list")
        first = seconds("/v1/agents/agent-0/messages")
        others = [seconds(f"/v1/agents/agent-{number}/messages") for number in range(1, 9)]
        assert first > 20 > 12 > sum(others) > 0
        # Other kinds of path are unaffected, and a success resets the kind.
        assert seconds("/v1/groups/group-1/messages") > 20
        is_cured = True
        ask("/v1/agents/agent-1/messages", shape="list")
        is_cured = False
        assert seconds("/v1/agents/agent-2/messages") > 20
