"""The list of all messages names what is new, or tells that it may not name all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest

from letta_source.api.client import Client
from letta_source.demo import Letta
from letta_source.paging.walk import Event, Gap, Page
from letta_source.plan import news
from letta_source.plan.news import until_named
from tests.support.wire import answering, playing, settings


def page(*ids: str, kind: str = "user_message") -> Page:
    return Page([{"id": one, "message_type": kind} for one in ids])


def read_events(given: Sequence[Event], named: set[str], unless: str | None = None) -> list[Any]:
    """Return the events that come until the walk ends."""

    async def events() -> AsyncIterator[Event]:
        for one in given:
            yield one

    async def main() -> list[Any]:
        return [one async for one in until_named(events(), named, 10, unless)]

    return asyncio.run(main())


def read(pages: list[Page], named: set[str], unless: str | None = None) -> list[str]:
    """Return the ids that come until the walk ends."""
    return [item["id"] for one in read_events(pages, named, unless) for item in one.items]


def test_a_short_page_ends_a_walk_once_all_named_messages_came() -> None:
    pages = [page("a", "b"), page("c"), page("d")]
    assert read(pages, {"a", "c"}) == ["a", "b", "c"]
    assert read(pages, {"a", "z"}) == read(pages, set()) == ["a", "b", "c", "d"]
    assert read([page(*"abcde"), page("f")], {"a"}) == [*"abcdef"]
    # Steps have no message type.
    assert read([Page([{"id": "step-1"}]), page("a")], {"step-1"}) == ["step-1"]


def test_a_page_that_may_hide_others_does_not_end_a_walk() -> None:
    pages = [page("a", kind="assistant_message"), page("hidden")]
    assert read(pages, {"a"}, unless="assistant_message") == ["a", "hidden"]
    assert read(pages, {"a"}, unless="approval_response_message") == ["a"]


def test_other_events_pass() -> None:
    gap = Gap("a", "b", "unreadable")
    assert read_events([page("a", "b"), gap, page("c")], {"a", "c"}) == [page("a", "b"), gap, page("c")]
    mixed = Page(
        [{"id": "a", "message_type": "assistant_message"}, {"id": "b", "message_type": "user_message"}]
    )
    # One item is enough to hide another.
    assert read_events([mixed, page("c")], {"a"}, "assistant_message") == [mixed, page("c")]


def message(name: str, run: object = None, step: object = None, minute: int | None = None) -> dict[str, Any]:
    date = None if minute is None else f"2026-05-04T12:{minute:02}:00+00:00"
    return {"id": name, "run_id": run, "step_id": step, "date": date}


def test_news_tell_which_runs_and_steps_have_new_messages() -> None:
    found = news.News()
    found.take([message("m1", "run-1", "step-1", 1), message("m2", "run-1", "step-1", 2)])
    found.take([message("m3", "run-2", None, 3), message("m4", None, "step-2", 4), message("m5", 7, "a/b")])
    assert found.run_of == {"m1": "run-1", "m2": "run-1", "m3": "run-2", "m4": None, "m5": None}
    assert found.messages_of == {"step-1": {"m1", "m2"}, "step-2": {"m4"}}
    assert found.steps_of == {"run-1": {"step-1"}}
    assert found.pages[0][1] == {"id": "m2", "date": "2026-05-04T12:02:00+00:00"}


def test_news_of_a_time_are_not_older_than_it() -> None:
    found = news.News()
    found.take(
        [message("m1", "run-1", None, 1), message("m2", "run-2", None, 2), message("m3", None, None, 3)]
    )
    found.take([message("m4", "run-4")])
    since = datetime(2026, 5, 4, 12, 2, tzinfo=timezone.utc)
    # A message without a date may be new.
    assert found.runs_since(since) == {"run-2", "run-4"}
    assert found.runs_since(None) == {"run-1", "run-2", "run-4"}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (httpx.Response(200, json=[{"id": "m1"}, "no object", {"text": "no id"}]), {"m1": None}),
        (httpx.Response(404, json={"detail": "Not Found"}), None),
        (httpx.Response(200, json={"messages": []}), None),
    ],
    ids=["odd items", "no such list", "unreadable"],
)
@pytest.mark.usefixtures("waits")
def test_a_list_that_cannot_be_walked_tells_nothing(
    answer: httpx.Response, found: dict[str, None] | None
) -> None:
    async def main() -> news.News | None:
        async with Client(settings(), looks_again=False) as client:
            return await news._walk(client, None)

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[]) if "after" in request.url.params else answer

    with answering(respond):
        walked = asyncio.run(main())
    assert (walked and walked.run_of) == found


@pytest.mark.parametrize(("most", "tells"), [(3, True), (2, False)])
def test_with_too_many_new_messages_all_agents_are_asked(
    most: int, tells: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "_MOST", most)
    letta = Letta(seed=0)
    agent = letta.add_agent()
    for _ in range(2):
        letta.add_message(agent)

    async def main() -> news.News | None:
        async with Client(settings(), looks_again=False) as client:
            return await news._walk(client, None)

    with playing(letta):
        assert (asyncio.run(main()) is not None) == tells
