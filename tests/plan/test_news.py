"""The list of all messages names what is new, or tells that it may not name all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from letta_source.api.client import Client
from letta_source.demo import Letta
from letta_source.paging.walk import Event, Page
from letta_source.plan import news
from letta_source.plan.news import until_named
from tests.support.wire import playing, settings


def page(*ids: str, kind: str = "user_message") -> Page:
    return Page([{"id": one, "message_type": kind} for one in ids])


def read(pages: list[Page], named: set[str], unless: str | None = None) -> list[str]:
    """Return the ids that come until the walk ends."""

    async def events() -> AsyncIterator[Event]:
        for one in pages:
            yield one

    async def main() -> list[str]:
        found: list[Any] = [one async for one in until_named(events(), named, 10, unless)]
        return [item["id"] for one in found for item in one.items]

    return asyncio.run(main())


def test_a_short_page_ends_a_walk_once_all_named_messages_came() -> None:
    pages = [page("a", "b"), page("c"), page("d")]
    assert read(pages, {"a", "c"}) == ["a", "b", "c"]
    assert read(pages, {"a", "z"}) == read(pages, set()) == ["a", "b", "c", "d"]
    assert read([page(*"abcde"), page("f")], {"a"}) == [*"abcdef"]


def test_a_page_that_may_hide_others_does_not_end_a_walk() -> None:
    pages = [page("a", kind="assistant_message"), page("hidden")]
    assert read(pages, {"a"}, unless="assistant_message") == ["a", "hidden"]
    assert read(pages, {"a"}, unless="approval_response_message") == ["a"]


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
