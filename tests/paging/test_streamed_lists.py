"""A list without pages is read in pieces: the same rows in little memory."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from letta_source.api import spool
from letta_source.errors import ParentGone, Unreadable
from letta_source.items import Nameless, split_page
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Gap, Page
from letta_source.paging.whole_lists import walk_whole
from letta_source.rows.flatten import Rows
from letta_source.schema.resources import RESOURCES
from tests.support.wire import HOST, Walked, answering, gather, no_waits

PATH = "/v1/messages/batches/batch-7/messages"
MEMORY = 64_000_000
"""Bytes: an element may have an eighth, a page a sixty-fourth."""

TEXTS = st.text(max_size=6)
MESSAGES = st.fixed_dictionaries(
    # Few ids, so that some occur twice, side by side and far apart.
    {"id": st.integers(0, 8).map("message-{}".format)},
    optional={
        "role": st.sampled_from(["user", "assistant", "tool"]),
        "content": TEXTS
        | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=2),
        "otid": TEXTS,
        "unheard_of": st.integers() | TEXTS,
    },
)
ELEMENTS = st.lists(MESSAGES | st.none() | st.just({"role": "user"}) | st.just([1]), max_size=14)


def answer_of(body: bytes, piece: int = 1 << 16, breaks_at: int | None = None) -> httpx.Response:
    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), piece):
            if breaks_at is not None and begin >= breaks_at:
                raise httpx.RemoteProtocolError("peer closed connection")
            yield body[begin : begin + piece]

    return httpx.Response(200, content=pieces())


def serving(
    elements: Sequence[Any],
    form: Callable[[Any], Any] = lambda found: {"messages": found},
    piece: int = 1 << 16,
) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        ordered = elements[::-1] if request.url.params["order"] == "desc" else elements
        sent = ordered[: int(request.url.params["limit"])]
        return answer_of(json.dumps(form(sent)).encode(), piece)

    return answer


def read(answer: Callable[[httpx.Request], httpx.Response], page_size: int = 3, retries: int = 0) -> Walked:
    endpoint = Endpoint(PATH, page_size=page_size)
    with answering(answer), no_waits():
        return gather(
            lambda client: walk_whole(client, endpoint, "messages"),
            HOST,
            retries=retries,
            memory_limit=MEMORY,
        )


def loaded(pages: Sequence[Sequence[Any]]) -> tuple[dict[str, list[dict[str, Any]]], list[Nameless]]:
    """Return the rows of pages by table, and the elements without an id."""
    rows = Rows(RESOURCES["batch_messages"], tombstones=False)
    nameless: list[Nameless] = []
    for page in pages:
        items, others = split_page(page)
        rows.add(items, "batch-7")
        nameless += others
    return {name: table.to_pylist() for name, table in rows.tables("load-1")}, nameless


@hypothesis_settings(max_examples=30)
@given(ELEMENTS, st.integers(1, 40), st.booleans())
def test_rows_and_issues_equal_those_of_the_whole_response(
    elements: list[Any], piece: int, is_bare: bool
) -> None:
    form = (lambda found: found) if is_bare else (lambda found: {"next": None, "messages": found})
    walked = read(serving(elements, form, piece)).whole()
    assert walked.items == elements
    assert loaded([page.items for page in walked.pages]) == loaded([elements] if elements else [])


def test_pages_have_the_requested_size() -> None:
    walked = read(serving([{"id": f"message-{number}"} for number in range(8)])).whole()
    assert [len(page.items) for page in walked.pages] == [3, 3, 2]


@pytest.mark.parametrize("twice", [0, 1, 5])
def test_items_of_one_id_are_on_one_page_however_far_apart(twice: int) -> None:
    names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"]
    names[8] = names[twice]
    walked = read(serving([{"id": name} for name in names])).whole()
    assert [
        [item["id"] for item in page.items] for page in walked.pages if {"id": names[twice]} in page.items
    ] == [names[twice:]]


class _Breaks:
    """Breaks off the first responses, each in another way; then gives whole ones."""

    def __init__(self, elements: Sequence[Any], breaks: Sequence[Callable[[bytes], httpx.Response]]) -> None:
        self._whole = serving(elements)
        self._breaks = list(breaks)
        self._body = json.dumps({"messages": elements}).encode()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.params["order"] == "asc" and self._breaks:
            return self._breaks.pop(0)(self._body)
        return self._whole(request)


BREAKS: dict[str, Callable[[bytes], httpx.Response]] = {
    "the connection": lambda body: answer_of(body, 10, len(body) // 2),
    "the text": lambda body: answer_of(body[:-2]),
    "a message": lambda body: answer_of(body[: len(body) // 2]),
    "two answers in one": lambda body: answer_of(body + body),
    "no JSON at the end": lambda body: answer_of(body[:-3] + b"oh]}"),
    "nothing": lambda body: answer_of(b""),
    "an error": lambda body: httpx.Response(503, text="busy"),
}


@pytest.mark.parametrize(
    "breaks", [[one] for one in BREAKS.values()] + [list(BREAKS.values())], ids=[*BREAKS, "all"]
)
def test_a_truncated_response_is_retried_without_double_rows(
    breaks: list[Callable[[bytes], httpx.Response]],
) -> None:
    elements = [{"id": f"message-{number}", "content": "a" * number} for number in range(20)]
    walked = read(_Breaks(elements, breaks), page_size=100, retries=9).whole()
    assert walked.items == elements


@pytest.mark.parametrize("broken", [one for name, one in BREAKS.items() if name != "an error"])
def test_a_response_that_is_always_truncated_yields_nothing(
    broken: Callable[[bytes], httpx.Response],
) -> None:
    walked = read(_Breaks([{"id": "message-1"}] * 20, [broken] * 9), page_size=100, retries=2)
    assert not walked.events
    assert isinstance(walked.error, Unreadable)


NO_LISTS = (
    '"no list"',
    "7",
    "null",
    '{"messages":{}}',
    '{"messages":null}',
    "{}",
    '{"error":"upstream timed out"}',
)


@pytest.mark.parametrize("text", NO_LISTS)
def test_a_response_that_is_not_a_list_is_unreadable(text: str) -> None:
    walked = read(lambda request: answer_of(text.encode()))
    assert isinstance(walked.error, Unreadable)
    assert "expected a JSON list" in str(walked.error)


@pytest.mark.parametrize("text", NO_LISTS)
def test_a_response_that_is_not_a_list_is_retried(text: str) -> None:
    """Some gateways send their errors with status 200."""
    elements = [{"id": "message-1"}]
    walked = read(_Breaks(elements, [lambda _: answer_of(text.encode())]), page_size=100, retries=1).whole()
    assert walked.items == elements


@pytest.mark.parametrize("text", ["[]", '{"messages":[]}'])
def test_an_empty_list_yields_nothing(text: str) -> None:
    assert not read(lambda request: answer_of(text.encode())).whole().events


def test_a_batch_that_is_gone() -> None:
    gone = httpx.Response(404, json={"detail": "Batch batch-7 not found"})
    assert isinstance(read(lambda request: gone).error, ParentGone)


LARGE = {"id": "message-x", "content": "x" * (MEMORY // 8)}
MANY_VALUES = {"id": "message-x", "content": [[]] * 300_000}


@pytest.mark.parametrize(
    ("large", "at", "count"), [(LARGE, 0, 1), (LARGE, 2, 2), (LARGE, 4, 1), (MANY_VALUES, 2, 1)]
)
def test_a_message_that_is_too_large_is_reported_and_skipped(
    large: dict[str, Any], at: int, count: int
) -> None:
    others = [{"id": f"message-{number}"} for number in range(4)]
    walked = read(
        serving([*others[:at], *[large] * count, *others[at:]], piece=1 << 20), page_size=100
    ).whole()
    assert walked.items == others
    (gap,) = walked.others
    assert isinstance(gap, Gap)
    ids = ["", *(one["id"] for one in others), ""]
    assert (gap.after_id, gap.before_id) == (ids[at], ids[at + 1])
    assert "memory_limit" in gap.detail


def test_a_capped_response_with_a_huge_newest_message_is_incomplete() -> None:
    elements = [{"id": f"message-{number}"} for number in range(9)] + [LARGE]

    def capped(request: httpx.Request) -> httpx.Response:
        capped_url = request.url.copy_set_param("limit", min(4, int(request.url.params["limit"])))
        return serving(elements, piece=1 << 20)(httpx.Request("GET", capped_url))

    assert isinstance(read(capped, page_size=100).error, Unreadable)


def test_a_batch_larger_than_memory_needs_little_memory() -> None:
    def body() -> Iterator[bytes]:
        yield b'{"messages":['
        for number in range(500):
            yield b'%b{"id":"message-%d","content":"%b"}' % (b"," * bool(number), number, b"x" * 200_000)
        yield b"]}"

    async def pieces() -> AsyncIterator[bytes]:
        for piece in body():
            yield piece

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.params["order"] == "desc":
            return answer_of(b'[{"id":"message-499"}]')
        return httpx.Response(200, content=pieces())

    seen: list[str] = []

    async def taking(client: Any) -> AsyncIterator[Any]:
        async for event in walk_whole(client, Endpoint(PATH, page_size=1000), "messages"):
            assert isinstance(event, Page)
            seen.extend(item["id"] for item in event.items)
            assert event.size < MEMORY // 16
            event.release()
            yield Gap("", "", "")

    tracemalloc.start()
    try:
        with answering(answer), no_waits():
            gather(taking, HOST, memory_limit=MEMORY, retries=0).whole()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == [f"message-{number}" for number in range(500)]
    assert peak < MEMORY // 4


def endless(element: bytes) -> Callable[[httpx.Request], httpx.Response]:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"["
        while True:
            yield element

    return lambda request: httpx.Response(200, content=pieces())


@pytest.mark.parametrize(
    "element",
    [
        b'{"id":"a"},' * 50_000,
        b"1," * 100_000,
        b'"' + b"a" * 1_000_000 + b'",',
        b"[" * 1_000_000,
        b" " * 1_000_000,
    ],
    ids=["messages", "numbers", "texts", "arrays", "spaces"],
)
def test_an_endless_response_is_stopped(element: bytes) -> None:
    walked = read(endless(element), page_size=1)
    assert not walked.events
    assert isinstance(walked.error, Unreadable)
    assert "memory_limit" in str(walked.error)


def test_the_temporary_file_is_private_and_unnamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(spool, "_IN_MEMORY", 10)
    seen: list[tuple[int, list[str]]] = []
    found = spool.Spool

    class Watched(found):  # type: ignore[misc, valid-type]
        def add(self, *args: Any) -> None:
            super().add(*args)
            if self._file._rolled:
                seen.append((os.fstat(self._file.fileno()).st_mode, os.listdir(tmp_path)))

    monkeypatch.setattr(spool, "Spool", Watched)
    umask = os.umask(0)
    try:
        read(serving([{"id": f"message-{number}"} for number in range(9)])).whole()
    finally:
        os.umask(umask)
    assert seen
    assert {(stat.S_IMODE(mode), *names) for mode, names in seen} == {(0o600,)}
    assert not os.listdir(tmp_path)


def test_a_full_disk_is_reported_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(spool.Spool, "add", full)
    walked = read(serving([{"id": "message-1"}]))
    assert isinstance(walked.error, Unreadable)
    assert "No space left on device" in str(walked.error)
    assert "TMPDIR" in str(walked.error)


ECHOED = "sk-let-echoCanary8Hq2Lm"
TELLING: dict[str, Callable[[], httpx.Response]] = {
    "no JSON": lambda: answer_of(f"Authorization: Bearer {ECHOED}".encode()),
    "a list that is cut short": lambda: answer_of(f'[{{"authorization":"Bearer {ECHOED}"}}'.encode()),
    "an element that is no JSON": lambda: answer_of(f'[{{"authorization":"Bearer {ECHOED}",}}]'.encode()),
    "an object": lambda: answer_of(f'{{"headers":{{"authorization":"Bearer {ECHOED}"}}}}'.encode()),
    "a text": lambda: answer_of(f'"Bearer {ECHOED}"'.encode()),
    "a connection that breaks": lambda: answer_of(f'["Bearer {ECHOED}",'.encode() * 2, 37, 37),
}


def every_variable(error: BaseException | None) -> Iterator[str]:
    """Yield the local variables of all frames, those of libraries too, and the errors' attributes."""
    waiting, seen = [error], set[int]()
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += [error.__cause__, error.__context__]
        yield f"{error!r} {error} {vars(error)!r}"
        trace = error.__traceback__
        while trace:
            for name, value in trace.tb_frame.f_locals.items():
                yield f"{trace.tb_frame.f_code.co_name}: {name} = {value!r}"
            trace = trace.tb_next


@pytest.mark.parametrize("telling", TELLING.values(), ids=TELLING)
def test_no_frame_shows_an_echoed_request(telling: Callable[[], httpx.Response]) -> None:
    walked = read(lambda request: telling())
    assert isinstance(walked.error, Unreadable)
    # Frames of the test itself, of the server it simulates, and of the connection below our code.
    played = ("answer_of", "read:", "pieces:", "test_", "<lambda>", "__aiter__: part")
    shown = [place[:200] for place in every_variable(walked.error) if ECHOED in place]
    assert [place for place in shown if not place.startswith(played)] == []
