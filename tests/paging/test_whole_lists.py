"""Batches are read to their real end, however the server caps the limit, or the gap is reported."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from letta_source.api.memory_budget import MemoryBudget
from letta_source.errors import Unreadable
from letta_source.paging import whole_lists
from letta_source.paging.pages import Endpoint
from letta_source.paging.whole_lists import walk_whole
from tests.support.wire import HOST, Walked, answering, gather, no_waits

PATH = "/v1/messages/batches/batch-1/messages"


def stored(count: int, size: int = 1) -> list[dict[str, Any]]:
    return [{"id": f"message-{number:05}", "content": "x" * size} for number in range(count)]


def refused(cap: int) -> httpx.Response:
    detail = {"loc": ["query", "limit"], "msg": f"Input should be less than or equal to {cap}"}
    return httpx.Response(422, json={"detail": [detail]})


def whole(
    messages: list[dict[str, Any]], cap: int, refuses: bool = False, **given: Any
) -> tuple[Walked, int]:
    """Return the walk and the largest limit requested."""

    def answer(request: httpx.Request) -> httpx.Response:
        limit = int(request.url.params["limit"])
        if refuses and limit > cap:
            return refused(cap)
        ordered = messages[::-1] if request.url.params["order"] == "desc" else messages
        return httpx.Response(200, json={"messages": ordered[: min(limit, cap)]})

    endpoint = Endpoint(PATH, page_size=40)
    with answering(answer) as requests, no_waits():
        walked = gather(lambda client: walk_whole(client, endpoint, "messages"), HOST, retries=0, **given)
    return walked, max(int(request.url.params["limit"]) for request in requests)


@pytest.mark.parametrize("refuses", [False, True], ids=["silently", "by 422"])
@pytest.mark.parametrize("count", [1, 24, 25, 26, 50])
def test_two_capped_responses_that_overlap_are_complete(count: int, refuses: bool) -> None:
    walked, _ = whole(stored(count), 25, refuses)
    ids = [item["id"] for item in walked.items]
    assert sorted(ids) == [item["id"] for item in stored(count)]
    # If the two answers do not overlap, something may lie between them.
    assert (walked.error is None) == (count < 50)


@pytest.mark.parametrize("refuses", [False, True], ids=["silently", "by 422"])
@pytest.mark.parametrize("cap", [2, 25, 40])
def test_both_ends_are_read_and_the_rest_is_reported(cap: int, refuses: bool) -> None:
    walked, _ = whole(stored(300), cap, refuses)
    assert len({item["id"] for item in walked.items}) == len(walked.items) == 2 * cap
    assert isinstance(walked.error, Unreadable)
    assert f"at most {cap} messages" in str(walked.error)


def test_the_limit_does_not_double_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_lists, "_MOST", 200)
    walked, largest = whole(stored(1000), 10**6)
    assert largest == 200
    assert isinstance(walked.error, Unreadable)


def test_a_huge_batch_yields_both_ends_and_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MemoryBudget, "largest_stream", 200_000)
    walked, _ = whole(stored(100, size=20_000), 10**6)
    assert 2 < len(walked.items) < 30
    assert isinstance(walked.error, Unreadable)


def test_a_batch_larger_than_any_page_is_complete() -> None:
    walked, _ = whole(stored(100, size=200_000), 10**6, memory_limit=64_000_000)
    assert len(walked.whole().items) == 100
