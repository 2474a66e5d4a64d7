"""Walks past unreadable items: all others are read, the gap is reported, and every walk ends."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from itertools import groupby, product
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from letta_source.demo import Letta, serve
from letta_source.demo.api import Dialect
from letta_source.errors import ParentError, ParentGone, Unreadable
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Gap, Restarted, walk_pages
from tests.support.wire import HOST, Walked, answering, gather, no_waits, playing, walk

LOSSLESS = {"use_assistant_message": "false"}
PARTS: list[dict[str, Any]] = [
    {"message_type": "reasoning_message", "reasoning": "hm"},
    {"message_type": "assistant_message", "content": "yes"},
]

DIALECTS: tuple[Dialect, Dialect] = ("self-hosted", "cloud")

both_dialects = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture(autouse=True, scope="module")
def _no_waits() -> Iterator[None]:
    with no_waits():
        yield


class Ten:
    """Ten messages of two items each, in an agent, a conversation, and groups with and without a manager."""

    def __init__(self) -> None:
        self.letta = letta = Letta(seed=0)
        self.agent = letta.add_agent()
        letta.delete_message(letta.list_of("agent", self.agent).ids()[0])
        self.conversation = letta.add_conversation(self.agent)
        letta.delete_message(letta.list_of("agent", self.agent).ids()[0])
        self.led, self.flat = letta.add_group([self.agent], "supervisor"), letta.add_group([self.agent])
        self.ids = [
            letta.add_message(
                self.agent, PARTS, group_ids=[self.led, self.flat], conversation_ids=[self.conversation]
            )
            for _ in range(10)
        ]

    def endpoint(self, kind: str, size: int) -> Endpoint:
        """Return the endpoint of a kind of parent; "flat" is a group without a manager."""
        path = {
            "agents": f"agents/{self.agent}",
            "conversations": f"conversations/{self.conversation}",
            "groups": f"groups/{self.led}",
            "flat": f"groups/{self.flat}",
        }[kind]
        return Endpoint(f"/v1/{path}/messages", LOSSLESS, size)

    def poison(self, places: tuple[int, ...], status: int = 500) -> None:
        for place in places:
            self.letta.poison(self.ids[place], status)

    def id(self, place: int) -> str:
        """Return the id of a message; empty beyond either end of the list."""
        return self.ids[place] if 0 <= place < 10 else ""


def held(walked: Walked) -> list[tuple[str, bool]]:
    """Return the id of each message, and True if its page came in order."""
    return list(dict.fromkeys((item["id"], page.in_order) for page in walked.pages for item in page.items))


@pytest.mark.parametrize("status", [500, 400])
@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("kind", "dialect"),
    # Cloud has no groups.
    [*product(["agents", "conversations"], DIALECTS), ("groups", "self-hosted")],
)
@pytest.mark.parametrize("poisoned", [(0,), (5,), (9,), (3, 6), (4, 5), (0, 9)], ids=str)
def test_all_but_the_unreadable_messages_are_read(
    dialect: Dialect, status: int, size: int, kind: str, poisoned: tuple[int, ...]
) -> None:
    ten = Ten()
    ten.poison(poisoned, status)
    first, last = poisoned[0], poisoned[-1]
    with playing(ten.letta, dialect):
        walked = walk(HOST, ten.endpoint(kind, size)).whole()
    before, beyond = ten.ids[:first], ten.ids[last + 1 :]
    assert held(walked) == [*((one, True) for one in before), *((one, False) for one in beyond)]
    assert len(walked.items) == 2 * len(before + beyond)
    (gap,) = walked.others
    assert isinstance(gap, Gap)
    assert (gap.after_id, gap.before_id) == (ten.id(first - 1), ten.id(last + 1))
    assert gap.detail.startswith(f"{status}: ")
    assert walked.requests < 150


def test_all_but_the_unreadable_messages_are_read_over_broken_connections() -> None:
    ten = Ten()
    ten.poison((5,))
    with serve(ten.letta) as server:
        walked = walk(server.base_url, ten.endpoint("agents", 3), retries=1).whole()
    assert walked.ids == ten.ids[:5] + ten.ids[6:]
    assert walked.others == [Gap(ten.ids[4], ten.ids[6], "500: An unknown error occurred")]


@both_dialects
@pytest.mark.parametrize("cursor", [2, 4])
def test_a_gap_met_again_is_reported_again(dialect: Dialect, cursor: int) -> None:
    ten = Ten()
    ten.poison((5,))
    with playing(ten.letta, dialect):
        walked = walk(HOST, ten.endpoint("agents", 3), ten.ids[cursor]).whole()
    assert walked.ids == ten.ids[cursor + 1 : 5] + ten.ids[6:]
    assert [(gap.after_id, gap.before_id) for gap in walked.others if isinstance(gap, Gap)] == [
        (ten.ids[4], ten.ids[6])
    ]


def test_pages_far_beyond_the_gap_are_large() -> None:
    ten = Ten()
    for _ in range(990):
        ten.letta.add_message(ten.agent, PARTS)
    ten.poison((5,))
    with playing(ten.letta):
        walked = walk(HOST, ten.endpoint("agents", 100)).whole()
    assert len(set(walked.ids)) == 999
    assert walked.requests < 120


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("poisoned", [0, 5, 9])
def test_nothing_beyond_a_gap_of_a_group_without_a_manager_is_readable(size: int, poisoned: int) -> None:
    """The endpoint ignores the order, so the newest messages cannot be requested first."""
    ten = Ten()
    ten.poison((poisoned,))
    with playing(ten.letta):
        walked = walk(HOST, ten.endpoint("flat", size)).whole()
    assert held(walked) == [(one, True) for one in ten.ids[:poisoned]]
    assert walked.others == [Gap(ten.id(poisoned - 1), "", "500: An unknown error occurred")]


def newest_first(requests: list[httpx.Request]) -> int:
    """Count the requests for the newest first."""
    return sum(request.url.params.get("order") == "desc" for request in requests)


@pytest.mark.parametrize("poisoned", [0, 5, 9])
@pytest.mark.parametrize(
    ("kind", "dialect"), [*product(["agents"], DIALECTS), *product(["groups", "flat"], DIALECTS[:1])]
)
def test_transient_failures_leave_no_gap(kind: str, dialect: Dialect, poisoned: int) -> None:
    ten = Ten()
    ten.poison((poisoned,))

    def cure() -> None:
        if ten.letta.poisoned and newest_first(requests):
            ten.letta.cure(ten.ids[poisoned])

    with playing(ten.letta, dialect) as requests:
        read = ten.endpoint(kind, 3)
        walked = gather(lambda client: walk_pages(client, read), on_request=cure).whole()
    assert held(walked) == [(one, True) for one in ten.ids]
    assert walked.others == []


@both_dialects
@pytest.mark.parametrize(
    ("size", "places"), [(1, (3, 7)), (1, (0, 9)), (1, (2, 5, 8)), (3, (3, 7)), (3, (0, 9))], ids=str
)
def test_repeated_transient_failures_leave_no_gap(
    dialect: Dialect, size: int, places: tuple[int, ...]
) -> None:
    """Each outage begins after the previous one was passed, and ends while its far side is looked for."""
    ten = Ten()
    waiting, seen = list(places), [0]
    ten.poison((waiting[0],))

    def cure() -> None:
        if ten.letta.poisoned and newest_first(requests) > seen[0]:
            seen[0] = newest_first(requests)
            ten.letta.cure(ten.ids[waiting.pop(0)])
        if not ten.letta.poisoned and waiting and requests:
            after = requests[-1].url.params.get("after", "")
            if after in ten.ids and ten.ids.index(after) >= places[-len(waiting) - 1]:
                seen[0] = newest_first(requests)
                ten.poison((waiting[0],))

    with playing(ten.letta, dialect) as requests:
        read = ten.endpoint("agents", size)
        walked = gather(lambda client: walk_pages(client, read), on_request=cure).whole()
    assert waiting == []
    assert held(walked) == [(one, True) for one in ten.ids]
    assert walked.others == []


@both_dialects
def test_an_agent_deleted_while_it_is_read(dialect: Dialect) -> None:
    ten = Ten()
    ten.poison((5,))

    def delete() -> None:
        if newest_first(requests) == 2 and ten.letta.tables["agents"].rows:
            ten.letta.delete_agent(ten.agent)

    with playing(ten.letta, dialect) as requests:
        read = ten.endpoint("agents", 3)
        walked = gather(lambda client: walk_pages(client, read), on_request=delete)
    assert isinstance(walked.error, ParentGone)
    assert walked.ids[:5] == ten.ids[:5]


ENDPOINT = Endpoint("/v1/agents/agent-1/messages")
IDS = [str(number) for number in range(500)]


def listing(request: httpx.Request) -> httpx.Response:
    """Return a page of `IDS`, with cursors relative to the order."""
    params = request.url.params
    ids = IDS if params["order"] == "asc" else IDS[::-1]
    start = ids.index(params["after"]) + 1 if params.get("after") else 0
    end = ids.index(params["before"]) if params.get("before") else None
    return httpx.Response(200, json=[{"id": one} for one in ids[start:end][: int(params["limit"])]])


@pytest.mark.parametrize(
    "failure", [httpx.Response(504), httpx.ReadTimeout("slow"), httpx.Response(200, content=b"[")]
)
def test_pages_that_are_too_large_are_requested_smaller(failure: httpx.Response | Exception) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if int(request.url.params["limit"]) <= 100:
            return listing(request)
        if isinstance(failure, Exception):
            raise failure
        return failure

    with answering(answer) as requests:
        walked = walk(HOST, ENDPOINT, retries=2).whole()
    assert (walked.ids, walked.others) == (IDS, [])
    assert limits(requests)[:5] == [1000] * 3 + [250, 62]
    assert len(requests) < 40


@pytest.mark.parametrize("place", [0, 4, 9])
def test_the_search_for_an_unreadable_message_is_one_line(
    place: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "letta_source")
    ten = Ten()
    ten.letta.poison(ten.ids[place])
    with playing(ten.letta):
        walk(HOST, ten.endpoint("agents", 8))
    said = [(one.levelno, one.getMessage()) for one in caplog.records]
    assert sum("; try " in text for level, text in said if level > logging.DEBUG) == 2
    assert sum("; try " in text for level, text in said if level == logging.DEBUG) > 4
    search = [text for level, text in said if level > logging.DEBUG and "; try " not in text]
    # The server's words, which may quote a message, are not in it.
    assert search == [f"{ten.endpoint('agents', 8).path}: 500; asking for smaller pages to find the cause"]


@pytest.mark.parametrize("retries", [0, 1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize(
    "failure", [httpx.Response(500), httpx.ReadTimeout("slow"), httpx.Response(200, content=b"[")]
)
def test_the_number_of_tries_depends_on_the_page_size(
    failure: httpx.Response | Exception, retries: int
) -> None:
    """A page can be made smaller; a single message cannot, so it gets more tries unless settings cap them."""

    def answer(request: httpx.Request) -> httpx.Response:
        if isinstance(failure, Exception):
            raise failure
        return failure

    with answering(answer) as requests:
        walk(HOST, Endpoint(ENDPOINT.path, page_size=8), retries=retries)
    pages, message = 1 + min(retries, 2), 1 + min(retries, 4)
    asked = [(one.url.params["order"], int(one.url.params["limit"])) for one in requests]
    found = [(*which, len(list(same))) for which, same in groupby(asked)]
    assert found[:4] == [("asc", 8, pages), ("asc", 2, 1), ("asc", 1, message), ("desc", 1, message)]


def test_a_page_size_that_timed_out_is_not_requested_again() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if int(request.url.params["limit"]) > 100:
            raise httpx.ReadTimeout("slow")
        return listing(request)

    with answering(answer) as requests:
        assert walk(HOST, ENDPOINT, retries=0).whole().ids == IDS
    assert limits(requests) == [1000, 250] + [62] * 10


def limits(requests: list[httpx.Request]) -> list[int]:
    return [int(request.url.params["limit"]) for request in requests]


def test_pages_grow_again_after_a_failure() -> None:
    with answering(
        lambda request: listing(request) if len(requests) > 3 else httpx.Response(504)
    ) as requests:
        assert walk(HOST, ENDPOINT, retries=0).whole().ids == IDS
    assert limits(requests) == [1000, 250, 62, 15, 30, 60, 120, 240, 480, 960]


@pytest.mark.parametrize("place", [4, 299, 499])
def test_messages_that_are_readable_only_from_the_other_side(place: int) -> None:
    """All messages are readable, but a request after one id fails."""

    def answer(request: httpx.Request) -> httpx.Response:
        params = request.url.params
        blocked = params["order"] == "asc" and params.get("after") == IDS[place]
        return httpx.Response(500, json={"detail": "broken"}) if blocked else listing(request)

    with answering(answer):
        walked = walk(HOST, Endpoint(ENDPOINT.path, page_size=5), retries=0).whole()
    following = IDS[place + 1] if place < 499 else ""
    assert walked.others == [Gap(IDS[place], following, "500: broken")]
    assert held(walked) == [(one, number <= place) for number, one in enumerate(IDS)]


def test_a_second_gap_is_another() -> None:
    ten = Ten()
    ten.poison((5,))

    def poison() -> None:
        if "after" in requests[-1].url.params and requests[-1].url.params["after"] == ten.ids[6]:
            ten.poison((8,))

    with playing(ten.letta) as requests:
        requests.append(httpx.Request("GET", HOST))
        walked = gather(
            lambda client: walk_pages(client, ten.endpoint("agents", 1)), on_request=poison
        ).whole()
    detail = "500: An unknown error occurred"
    assert walked.others == [Gap(ten.ids[4], ten.ids[6], detail), Gap(ten.ids[7], ten.ids[9], detail)]
    assert walked.ids == ten.ids[:5] + ten.ids[6:8] + ten.ids[9:]


@both_dialects
@pytest.mark.parametrize("size", [3, 1000])
@pytest.mark.parametrize("known", [1, 3, 5, 7, 8, 9, (1, 5, 9), (9, 1, 7), (3, 4, 5, 6)], ids=str)
def test_messages_between_two_gaps_are_read_from_known_ids(dialect: Dialect, size: int, known: Any) -> None:
    """The ids may lie before, in, at and beyond the unreadable messages."""
    ten = Ten()
    ten.poison((2, 6))
    places = (known,) if isinstance(known, int) else known
    ten.poison((9,))

    class Known:
        async def own(self, reached: Any) -> AsyncIterator[str]:
            for place in places:
                yield ten.ids[place]

        async def others(self, reached: Any, until: Any) -> AsyncIterator[str]:
            return
            yield

    with playing(ten.letta, dialect):
        read = ten.endpoint("agents", size)
        walked = gather(lambda client: walk_pages(client, read, anchors=Known())).whole()
    gaps = [(gap.after_id, gap.before_id) for gap in walked.others if isinstance(gap, Gap)]
    # The last message is unreadable, so nothing can be reached from the newest.
    if {3, 4, 5} & {*places}:
        assert gaps[0] == (ten.ids[1], ten.ids[3])
        assert [*walked.ids[:2], *walked.ids[2:5]] == ten.ids[:2] + ten.ids[3:6]
    if {7, 8, 9} & {*places}:
        assert {*ten.ids[7:9]} <= {*walked.ids}
    assert len(walked.ids) == len({*walked.ids})
    assert len(gaps) == 1 + bool({3, 4, 5} & {*places}) + bool({7, 8, 9} & {*places})


@pytest.mark.parametrize("status", [400, 408, 500, 502, 503, 504])
def test_errors_after_which_a_smaller_page_is_requested(status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return (
            listing(request)
            if int(request.url.params["limit"]) <= 62
            else httpx.Response(status, json={"detail": "no"})
        )

    with answering(answer) as requests:
        walked = walk(HOST, ENDPOINT, retries=0).whole()
    assert (walked.ids, walked.others) == (IDS, [])
    assert limits(requests)[:3] == [1000, 250, 62]


@pytest.mark.parametrize("status", [409, 422, 429])
def test_other_errors_concern_the_parent(status: int) -> None:
    with answering(lambda _: httpx.Response(status, json={"detail": "no"})) as requests:
        walked = walk(HOST, Endpoint("/v1/agents/agent-1/messages"), retries=0)
    assert isinstance(walked.error, Unreadable)
    assert str(walked.error) == f"/v1/agents/agent-1/messages: {status}: no"
    assert len(requests) == 1


@pytest.mark.parametrize("where", ["/login", "https://sso.corp.test/", "https://status.corp.test/sorry"])
def test_a_login_page_during_a_load_concerns_the_parent(where: str) -> None:
    """A gateway's session expired, or a proxy shows a page of its own."""
    pages = iter([httpx.Response(200, json=[{"id": "message-1"}])])

    def answer(request: httpx.Request) -> httpx.Response:
        return next(pages, httpx.Response(302, headers={"location": where}))

    with answering(answer) as requests:
        walked = walk(HOST, Endpoint("/v1/agents/agent-1/messages"), retries=2)
    assert (walked.ids, type(walked.error)) == (["message-1"], Unreadable)
    assert "302: http://letta.test redirects to" in str(walked.error)
    assert len(requests) == 4


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0),
    ids=st.integers(1, 9),
    failing=st.sampled_from([0.0, 0.1, 0.5]),
    family=st.sampled_from([None, "runs"]),
    after=st.sampled_from([None, "0"]),
)
# Overlapping pages, each of which has something new, for ever.
@example(seed=141110837, ids=6, failing=0.0, family=None, after=None)
def test_the_walk_ends_whatever_the_server_returns(
    seed: int, ids: int, failing: float, family: str | None, after: str | None
) -> None:
    """Each query has a fixed answer without any order."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert len(requests) < 5000
        random = Random(f"{seed} {request.url.query!r}")
        if random.random() < failing:
            return httpx.Response(random.choice([404, 500, 502]))
        page = random.choices(range(ids), k=random.randint(0 if ids > 1 else 1, 3))
        return httpx.Response(
            200, json=[{"id": str(one), "created_at": f"2026-05-0{one + 1}"} for one in page]
        )

    with answering(answer) as requests:
        walked = walk(HOST, Endpoint("/v1/runs/", page_size=4, family=family), after, retries=0)
    assert walked.error is None or isinstance(walked.error, ParentError) or family
    assert sum(isinstance(event, Restarted) for event in walked.events) <= 3
