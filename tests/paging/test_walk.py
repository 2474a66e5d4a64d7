"""Walks over a list: every item once, in order, from any cursor, in both dialects and at any page size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from letta_source.demo import Letta, recorded_letta, serve
from letta_source.demo.api import Dialect, answer
from letta_source.errors import FamilyMissing, NoProgress, ParentGone, Unreadable
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Page, Restarted
from letta_source.paging.whole_lists import get_one, walk_whole
from letta_source.times import created_at
from tests.support.wire import HOST, Walked, answering, gather, no_waits, playing, walk

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
LOSSLESS = {"use_assistant_message": "false"}
SIZES = [1, 2, 3, 1000]
DIALECTS: tuple[Dialect, Dialect] = ("self-hosted", "cloud")

both_dialects = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture(autouse=True, scope="module")
def _no_waits() -> Iterator[None]:
    with no_waits():
        yield


class Small:
    """A Letta with some of everything, and an unrelated agent."""

    def __init__(self) -> None:
        self.letta = letta = Letta(seed=0)
        self.agent, other = letta.add_agent(), letta.add_agent("memgpt_v2_agent")
        self.led, self.flat = letta.add_group([self.agent, other], "supervisor"), letta.add_group([other])
        self.conversation = letta.add_conversation(self.agent)
        self.runs = []
        for number in range(3):
            date = NOON + timedelta(seconds=number)
            of = self.conversation if number % 2 else None
            self.runs.append(
                letta.talk(self.agent, "hi", tools=["roll"], reasoning=True, conversation_id=of, date=date)
            )
            letta.add_message(self.agent, group_ids=[self.led, self.flat], date=date)
            letta.talk(other, "you", date=date + timedelta(microseconds=500))
        self.fork = letta.fork_conversation(self.conversation)
        self.step = letta.list_of("run steps", self.runs[0]).ids()[0]

    def lists(self) -> dict[str, tuple[Endpoint, list[str]]]:
        """Return each list with its ids."""
        lists = {
            f"{kind} messages": (
                Endpoint(f"/v1/{kind}s/{of}/messages", params),
                self.letta.list_of(stored, of).ids(),
            )
            for kind, of, stored, params in (
                ("agent", self.agent, "agent", LOSSLESS),
                ("group", self.flat, "group", LOSSLESS),
                ("step", self.step, "step", {}),
                ("conversation", self.fork, "conversation", {}),
            )
        }
        lists["managed group messages"] = (
            Endpoint(f"/v1/groups/{self.led}/messages", LOSSLESS),
            self.letta.list_of("managed group", self.led).ids(),
        )
        for family in ("agents", "runs", "conversations"):
            lists[family] = (Endpoint(f"/v1/{family}/", family=family), self.letta.tables[family].ids())
        steps = self.letta.tables["steps"].ids()
        lists["steps"] = (Endpoint("/v1/steps/", family="steps", dated=False), steps)
        return lists


SMALL = Small()


@pytest.fixture(scope="module")
def served() -> Iterator[dict[Dialect, str]]:
    with serve(SMALL.letta, "self-hosted") as server, serve(SMALL.letta, "cloud") as cloud:
        yield {"self-hosted": server.base_url, "cloud": cloud.base_url}


def sized(endpoint: Endpoint, size: int) -> Endpoint:
    return Endpoint(endpoint.path, endpoint.params, size, endpoint.family, endpoint.dated)


def in_one_page(base_url: str, endpoint: Endpoint) -> list[Any]:
    params = {"order": "asc", "limit": 1000, **endpoint.params}
    items: list[Any] = httpx.get(base_url + endpoint.path, params=params).json()
    return items


# Cloud has no groups; self-hosted the list of steps always answers 400.
LISTED = [
    (dialect, name)
    for dialect in DIALECTS
    for name in SMALL.lists()
    if ("group" not in name if dialect == "cloud" else name != "steps")
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("dialect", "name"), LISTED)
def test_every_item_once_and_in_order(
    served: dict[Dialect, str], dialect: Dialect, name: str, size: int
) -> None:
    base_url = served[dialect]
    endpoint, ids = SMALL.lists()[name]
    walked = walk(base_url, sized(endpoint, size)).whole()
    assert walked.ids == ids
    assert walked.items == in_one_page(base_url, endpoint)
    assert all(page.items and page.in_order for page in walked.pages)
    assert walked.others == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dialect", "name"), LISTED)
def test_every_item_after_any_cursor(dialect: Dialect, name: str, size: int) -> None:
    endpoint, ids = SMALL.lists()[name]
    with playing(SMALL.letta, dialect):
        whole = walk(HOST, endpoint).whole()
        # Messages are not ordered by date, so walks over them know only the cursor's id.
        dates = {item["id"]: created_at(item) if endpoint.family else None for item in whole.items}
        for place, cursor in enumerate(ids):
            assert walk(HOST, sized(endpoint, size), cursor, dates[cursor]).whole().ids == ids[place + 1 :]


@both_dialects
def test_recorded_messages(dialect: Dialect) -> None:
    letta = recorded_letta()
    with serve(letta, dialect) as server:
        for agent in letta.tables["agents"].ids():
            endpoint = Endpoint(f"/v1/agents/{agent}/messages", LOSSLESS)
            whole = in_one_page(server.base_url, endpoint)
            assert all(walk(server.base_url, sized(endpoint, size)).items == whole for size in (3, 50))


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    messages=st.lists(st.integers(1, 4), max_size=12),
    size=st.integers(1, 14),
    dialect=st.sampled_from(DIALECTS),
    data=st.data(),
)
def test_any_letta(messages: list[int], size: int, dialect: Dialect, data: st.DataObject) -> None:
    letta = Letta(seed=1)
    agent = letta.add_agent()
    for items in messages:
        parts = [{"message_type": "reasoning_message", "reasoning": str(part)} for part in range(items)]
        letta.add_message(agent, parts, date=NOON)
    ids = letta.list_of("agent", agent).ids()
    place = data.draw(st.integers(0, len(ids) - 1))
    endpoint = Endpoint(f"/v1/agents/{agent}/messages", LOSSLESS, size)
    with playing(letta, dialect):
        whole = walk(HOST, sized(endpoint, 1000)).whole().items
        assert walk(HOST, endpoint).whole().items == whole
        rest = walk(HOST, endpoint, ids[place]).whole().items
    assert rest == [item for item in whole if item["id"] in ids[place + 1 :]]
    assert [sum(1 for _ in items) for _, items in groupby(whole, lambda item: item["id"])] == [1, *messages]


@both_dialects
@pytest.mark.parametrize("size", SIZES)
def test_runs_of_the_same_moment_are_not_lost(dialect: Dialect, size: int) -> None:
    letta = Letta(seed=2)
    agent = letta.add_agent()
    dates = [NOON + timedelta(seconds=second) for second in (0, 1, 1, 2, 2, 2, 3)]
    runs = [letta.talk(agent, "hi", date=date) for date in dates]
    with playing(letta, dialect):
        for place, cursor in enumerate(runs):
            endpoint = Endpoint("/v1/runs/", page_size=size, family="runs")
            walked = walk(HOST, endpoint, cursor, dates[place]).whole()
            assert walked.ids == runs[place + 1 :]
            assert walked.others == []


@pytest.mark.parametrize("lengths", [[1, 3, 2, 1], [5, 1, 9], []])
def test_only_an_empty_page_is_the_end(lengths: list[int]) -> None:
    """A page of limit 3 may hold fewer items, or more."""
    numbers = iter(range(99))
    pages = iter([[{"id": str(next(numbers))} for _ in range(length)] for length in [*lengths, 0]])
    with answering(lambda _: httpx.Response(200, json=next(pages))) as requests:
        walked = walk(HOST, Endpoint("/v1/agents/agent-1/messages", page_size=3)).whole()
    assert walked.ids == [str(number) for number in range(sum(lengths))]
    assert len(requests) == len(lengths) + 1
    last_ids = [str(sum(lengths[:place]) - 1) for place in range(1, len(lengths) + 1)]
    assert [request.url.params.get("after") for request in requests] == [None, *last_ids]
    assert {(request.url.params["order"], request.url.params["limit"]) for request in requests} == {
        ("asc", "3")
    }


@pytest.mark.parametrize("body", [b"null", b'{"agents": []}'])
def test_a_list_ends_with_an_empty_array_and_nothing_else(body: bytes, waits: list[float]) -> None:
    """Some gateways send null with status 200 for an error."""
    first = [httpx.Response(200, json=[{"id": "agent-1"}])]
    with answering(lambda _: first.pop() if first else httpx.Response(200, content=body)):
        walked = walk(HOST, Endpoint("/v1/agents/"))
    assert walked.ids == ["agent-1"]
    assert isinstance(walked.error, Unreadable)


def _reversed(items: list[Any]) -> list[Any]:
    return items[::-1]


def _with_the_first_repeated(items: list[Any]) -> list[Any]:
    return items + items[:1]


@pytest.mark.parametrize("jumbled", [_reversed, _with_the_first_repeated])
def test_a_gateway_that_jumbles_pages_ends_no_list_in_silence(jumbled: Any) -> None:
    """The cursor then lies before some of the page, so the next page ends with a known item."""
    stored = [{"id": f"message-{number}"} for number in range(9)]

    def page(request: httpx.Request) -> httpx.Response:
        ids = [item["id"] for item in stored]
        params = request.url.params
        begin = ids.index(params["after"]) + 1 if "after" in params else 0
        end = ids.index(params["before"]) if "before" in params else len(ids)
        return httpx.Response(200, json=jumbled(stored[begin:end][:4]))

    with answering(page):
        walked = walk(HOST, Endpoint("/v1/agents/agent-1/messages", page_size=4))
    assert isinstance(walked.error, NoProgress) or {*walked.ids} == {item["id"] for item in stored}


@both_dialects
@pytest.mark.parametrize("size", SIZES)
def test_a_vanished_cursor_reads_from_the_start(dialect: Dialect, size: int) -> None:
    letta = Letta(seed=3)
    agent = letta.add_agent()
    gone = letta.add_message(agent)
    stored = [letta.add_message(agent) for _ in range(4)]
    letta.delete_message(gone)
    endpoint = Endpoint(f"/v1/agents/{agent}/messages", LOSSLESS, size)
    with playing(letta, dialect):
        walked = walk(HOST, endpoint, gone).whole()
    assert walked.events[0] == Restarted()
    assert walked.ids[1:] == stored
    assert len(walked.others) == 1


@both_dialects
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", ["runs", "agents"])
@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_vanished_cursor_that_is_ignored(dialect: Dialect, size: int, family: str, place: int) -> None:
    """The lists of runs and of agents then return their first page, as if without a cursor."""
    letta = Letta(seed=4)
    rows: Any = letta.tables[family]  # type: ignore[index]
    for number in range(7):
        letta.talk(letta.add_agent(), "hi", date=NOON + timedelta(seconds=number))
    ids = rows.ids()
    since = created_at(rows.rows[ids[place]])
    rows.remove([ids[place]])
    with playing(letta, dialect):
        endpoint = Endpoint(f"/v1/{family}/", page_size=size, family=family)
        walked = walk(HOST, endpoint, ids[place], since).whole()
    assert set(walked.ids) >= set(ids[place + 1 :])
    assert walked.requests < 40


@both_dialects
@pytest.mark.parametrize("size", [2, 3, 1000])
def test_a_vanished_cursor_without_a_date_that_is_ignored(dialect: Dialect, size: int) -> None:
    letta = Letta(seed=9)
    agent = letta.add_agent()
    gone, *kept = [letta.talk(agent, "hi", date=NOON + timedelta(seconds=number)) for number in range(5)]
    letta.tables["runs"].remove([gone])
    with playing(letta, dialect):
        walked = walk(HOST, Endpoint("/v1/runs/", page_size=size, family="runs"), gone).whole()
    assert set(walked.ids) == set(kept)


def test_lists_that_are_not_sorted_by_date_are_not_checked_by_date() -> None:
    """The cursor of steps carries the date of their messages."""
    pages = iter([[{"id": "5", "created_at": "2026-01-01"}], []])
    with answering(lambda _: httpx.Response(200, json=next(pages))):
        walked = walk(HOST, Endpoint("/v1/steps/", family="steps", dated=False), "4", NOON).whole()
    assert (walked.ids, walked.others) == (["5"], [])


@both_dialects
def test_a_parent_that_is_gone(dialect: Dialect) -> None:
    letta = Letta(seed=5)
    agent = letta.add_agent()
    message = letta.add_message(agent)
    letta.delete_agent(agent)
    endpoint = Endpoint(f"/v1/agents/{agent}/messages", LOSSLESS)
    with serve(letta, dialect) as server:
        walks = [walk(server.base_url, endpoint), walk(server.base_url, endpoint, message)]
    assert all(isinstance(walked.error, ParentGone) and not walked.pages for walked in walks)
    assert "Agent not found" in str(walks[0].error)


NO_ROUTE = {404: {"detail": "Not Found"}, 405: {"detail": "Method Not Allowed"}}


@pytest.mark.parametrize("status", NO_ROUTE)
@pytest.mark.parametrize("after", [None, "group-1"])
def test_a_family_that_this_host_lacks(status: int, after: str | None) -> None:
    with answering(lambda _: httpx.Response(status, json=NO_ROUTE[status])) as requests:
        walked = walk(HOST, Endpoint("/v1/groups/", family="groups"), after)
    assert isinstance(walked.error, FamilyMissing)
    assert (str(walked.error), walked.pages) == ("groups", [])
    # Both spellings of the path are tried.
    assert [request.url.path for request in requests] == ["/v1/groups/", "/v1/groups"]


@pytest.mark.parametrize("status", NO_ROUTE)
def test_a_family_missing_once_is_not_missing(status: int) -> None:
    """A gateway made with FastAPI returns the same while the server is replaced."""
    empty = [page_of()] * 2
    pages = iter([httpx.Response(status, json=NO_ROUTE[status]), page_of("a"), page_of("a"), *empty])
    with answering(lambda _: next(pages)):
        assert walk(HOST, Endpoint("/v1/groups/", family="groups")).whole().ids == ["a"]


def page_of(*ids: Any) -> httpx.Response:
    return httpx.Response(200, json=[{"id": one} if one else {} for one in ids])


CIRCLES = {
    "the same page": lambda _: page_of("a", "b"),
    "two pages": lambda after: page_of("c", "d") if after == "b" else page_of("a", "b"),
    "seven pages": lambda after: page_of(str((int(after or 0) + 1) % 7)),
    "pages that overlap": lambda after: page_of(*(str((int(after or 0) + step) % 7) for step in (0, 1, 2))),
    "no ids": lambda _: page_of(None, None),
    "an id that is no text": lambda _: page_of(["a"], 5),
}


@pytest.mark.parametrize("family", [None, "runs"])
@pytest.mark.parametrize("circle", CIRCLES.values(), ids=CIRCLES)
def test_a_server_that_repeats_pages(
    circle: Callable[[str | None], httpx.Response], family: str | None
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert len(requests) < 200
        params = request.url.params
        return circle(params.get("after") or params.get("before"))

    with answering(answer) as requests:
        walked = walk(HOST, Endpoint("/v1/runs/", family=family))
    assert isinstance(walked.error, NoProgress)
    assert "None" not in str(walked.error)
    assert len(requests) < 100
    assert isinstance(walked.events[0], Page)


def test_messages_that_come_newest_first_are_marked_as_such() -> None:
    small = Small()
    endpoint, ids = small.lists()["agent messages"]

    def without_order(request: httpx.Request) -> httpx.Response:
        params = {name: value for name, value in request.url.params.items() if name != "order"}
        found = answer(small.letta, "cloud", request.method, request.url.path, params, {})
        return httpx.Response(found.status, json=found.body)

    with answering(without_order):
        walked = walk(HOST, endpoint).whole()
    assert walked.ids == ids[::-1]
    assert all(page.newest_first for page in walked.pages)
    with playing(small.letta, "cloud"):
        assert not any(page.newest_first for page in walk(HOST, endpoint).whole().pages)


def test_one_late_message_does_not_make_a_list_newest_first() -> None:
    """Where `order` is ignored by design, as in a group without a manager, dates alone tell."""
    small = Small()
    endpoint, _ = small.lists()["agent messages"]
    sent = [
        {"id": f"message-{at}", "message_type": "user_message", "date": f"2026-01-01T00:00:0{second}Z"}
        for at, second in enumerate((1, 3, 2))
    ]

    def in_one_order(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[] if request.url.params.get("after") else sent)

    with answering(in_one_order):
        walked = walk(HOST, replace(endpoint, page_size=10)).whole()
    assert walked.ids == [one["id"] for one in sent]
    assert not any(page.newest_first for page in walked.pages)


def whole(base_url: str, batch: str, size: int, **given: Any) -> Walked:
    endpoint = Endpoint(f"/v1/messages/batches/{batch}/messages", page_size=size)
    return gather(lambda client: walk_whole(client, endpoint, "messages"), base_url, **given)


@pytest.mark.parametrize(
    ("stored", "requests"), [(0, 1), (1, 2), (3, 2), (4, 3), (5, 3), (8, 4), (9, 4), (40, 6)]
)
def test_a_batch_is_read_with_one_large_limit(stored: int, requests: int) -> None:
    letta = Letta(seed=6)
    batch = letta.add_batch(letta.add_agent(), stored)
    with serve(letta) as server:
        walked = whole(server.base_url, batch, 4).whole()
    assert walked.ids == letta.list_of("batch", batch).ids()
    assert len(walked.items) == stored
    assert [len(page.items) for page in walked.pages] == [
        len(range(stored)[at : at + 4]) for at in range(0, stored, 4)
    ]
    assert walked.requests == requests


def test_a_batch_that_is_gone_or_cannot_be_read() -> None:
    letta = Letta(seed=7)
    batch, gone = (letta.add_batch(letta.add_agent()) for _ in range(2))
    letta.tables["batches"].remove([gone])
    letta.poison(letta.list_of("batch", batch).ids()[1])
    with serve(letta) as server:
        assert isinstance(whole(server.base_url, gone, 4).error, ParentGone)
        assert str(whole(server.base_url, batch, 4).error).endswith("500: An unknown error occurred")
        assert isinstance(whole(server.base_url, batch, 4).error, Unreadable)


def test_one_object() -> None:
    letta = Letta(seed=8)
    agent, gone = letta.add_agent(), letta.add_agent()
    letta.delete_agent(gone)

    def read(path: str) -> Walked:
        return gather(lambda client: get_one(client, path), server.base_url)

    with serve(letta) as server:
        assert [item["name"] for item in read(f"/v1/agents/{agent}").whole().items] == ["agent 1"]
        assert isinstance(read(f"/v1/agents/{gone}").error, ParentGone)
        assert isinstance(read("/v1/agents/nothing").error, Unreadable)
        assert isinstance(read("/v1/agents/").error, Unreadable)
