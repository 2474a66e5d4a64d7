"""Which cursor moves forward, found with as few requests as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from letta_source.api.server import Server
from letta_source.items import Items, ids_of
from letta_source.paging.direction import Direction, SeenPages
from letta_source.paging.pages import CursorLost, Endpoint

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


def item(name: str, minutes: int | None) -> dict[str, Any]:
    dated = {} if minutes is None else {"created_at": (NOON + timedelta(minutes=minutes)).isoformat()}
    return {"id": name, **dated}


class List:
    """A list of a server, as `Pages` reads it.

    Args:
        swapped: `after` leads back, as in a self-hosted `/v1/runs/`.
        asked: the cursors and the order of each request.
    """

    def __init__(self, items: Sequence[Any], size: int = 2, swapped: bool = False) -> None:
        self._items, self._swapped = list(items), swapped
        self.size = size
        self.endpoint = Endpoint("/v1/runs/", family="runs")
        self.client = SimpleNamespace(server=Server())
        self.asked: list[tuple[Mapping[str, str | None], str]] = []

    async def ask(self, cursors: Mapping[str, str | None], order: str = "asc") -> Sequence[Any]:
        self.asked.append((cursors, order))
        ((name, cursor),) = cursors.items() or ((None, None),)
        if cursor is None:
            return Items(self._items[: self.size])
        at = next(at for at, one in enumerate(self._items) if isinstance(one, dict) and one["id"] == cursor)
        if (name == "after") != self._swapped:
            return Items(self._items[at + 1 :][: self.size])
        return Items(self._items[max(0, at - self.size) : at])


class Reader:
    """Reads a list page by page, as a walk does."""

    def __init__(self, of: List, start: str | None = None, since: int | None = None) -> None:
        self._seen = SeenPages()
        self._cursor = start
        time = None if since is None else NOON + timedelta(minutes=since)
        self.direction = Direction(of, self._seen, start, time)  # type: ignore[arg-type]

    def next(self) -> list[str]:
        found = asyncio.run(self.direction._items_after(self._cursor))
        if ids := ids_of(found):
            self._seen.add(found)
            self._cursor = ids[-1]
        return list(ids)


def test_items_of_the_time_under_the_cursor_may_lie_behind_it() -> None:
    tied = [item("a", 0), item("b", 0), item("start", 0), item("c", 1), item("d", 2)]
    swapped = List(tied, swapped=True)
    reader = Reader(swapped, "start", 0)
    assert reader.next() == ["c", "d"]
    assert (reader.direction.forward, len(swapped.asked)) == ("before", 2)
    # One later item proves that it is the page after the cursor.
    straight = List([item("start", 0), item("c", 0), item("d", 2)])
    assert Reader(straight, "start", 0).next() == ["c", "d"]
    assert len(straight.asked) == 1
    with pytest.raises(CursorLost, match="share one time"):
        Reader(List([item(name, 0) for name in ("a", "start", "b")]), "start", 0).next()


def test_items_stored_late_do_not_turn_the_direction() -> None:
    late = [
        item("start", 0),
        item("a", 1),
        item("b", 2),
        item("c", 0),
        item("d", 0),
        item("e", -1),
        item("f", 3),
    ]
    straight = List(late)
    reader = Reader(straight, "start", 0)
    assert [reader.next() for _ in range(4)] == [["a", "b"], ["c", "d"], ["e", "f"], []]
    assert [*straight.asked] == [({"after": one}, "asc") for one in ("start", "b", "d", "f")]


def test_swapped_cursors_pass_items_stored_late() -> None:
    late = [item("start", 0), item("a", 1), item("b", -1), item("c", 2), item("d", 3)]
    swapped = List([item("old", -9), *late], size=1, swapped=True)
    reader = Reader(swapped, "start", 0)
    assert [reader.next() for _ in range(5)] == [["a"], ["b"], ["c"], ["d"], []]


def test_items_without_a_date_and_other_values_prove_nothing() -> None:
    odd = [item("start", 0), "text", item("a", None), item("b", 1)]
    for size in (2, 3):
        assert Reader(List(odd, size), "start", 0).next() == ["a", "b"][: size - 1]
    tied = [item("start", 0), "text", item("a", 0), item("b", 1)]
    with pytest.raises(CursorLost, match="share one time"):
        Reader(List(tied), "start", 0).next()


def test_an_empty_first_page_is_asked_for_the_other_way_only_if_dates_can_tell() -> None:
    behind = [item("a", -2), item("b", -1), item("start", 0)]
    dated, undated = List(behind), List(behind)
    assert Reader(dated, "start", 0).next() == []
    assert Reader(undated, "start").next() == []
    assert (len(dated.asked), len(undated.asked)) == (2, 1)


@pytest.mark.parametrize(("newest", "is_newest_first"), [("a", True), ("z", False), (None, False)])
def test_a_list_is_newest_first_if_both_orders_begin_alike(
    monkeypatch: pytest.MonkeyPatch, newest: str | None, is_newest_first: bool
) -> None:
    asked: list[str] = []

    async def asked_once(self: Direction, cursors: object, order: str) -> list[dict[str, Any]] | None:
        asked.append(order)
        return [item(newest, 9)] if newest else None

    monkeypatch.setattr(Direction, "_asked_once", asked_once)
    reader = Reader(List([item("a", 9), item("b", 5), item("c", 1)], size=3))
    assert reader.next() == ["a", "b", "c"]
    assert reader.direction.is_newest_first is is_newest_first
    assert asked == ["desc"]


@pytest.mark.parametrize("proven", [False, True])
def test_only_a_first_page_that_descends_is_asked_for_in_the_other_order(
    monkeypatch: pytest.MonkeyPatch, proven: bool
) -> None:
    async def asked_once(self: Direction, cursors: object, order: str) -> list[dict[str, Any]]:
        raise AssertionError("asked in vain")

    monkeypatch.setattr(Direction, "_asked_once", asked_once)
    down = [item("a", 9), item("b", 5), item("c", 1)]
    # Another list has shown that the order arrives, or an earlier page of this one.
    of = List(down if proven else [item("1", 1), item("2", 2), item("3", 3), *down], size=3)
    of.client.server.obeys_order = proven
    reader = Reader(of)
    assert [reader.next() for _ in range(2)][-1] == ([] if proven else ["a", "b", "c"])
    assert not reader.direction.is_newest_first


def test_a_first_page_counts_as_the_oldest_if_the_server_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def asked_once(self: Direction, cursors: object, order: str) -> None:
        return None

    monkeypatch.setattr(Direction, "_asked_once", asked_once)
    reader = Reader(List([item("start", 0), item("a", 1), item("b", 2)]), "start", 0)
    reader.next()
    asyncio.run(reader.direction._assert_start())
