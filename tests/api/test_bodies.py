"""Bodies are read in pieces and counted, up to the allowed size."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from letta_source.api.bodies import read_body, read_start
from letta_source.api.responses import BadBody, TooLarge

MOST = 1_000_000


def response(
    raw: bytes, coding: str | None = None, piece: int = 1 << 16, length: str | None = None
) -> httpx.Response:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(raw), piece):
            yield raw[start : start + piece]

    given = {"content-encoding": coding, "content-length": length}
    headers = {name: value for name, value in given.items() if value is not None}
    return httpx.Response(200, headers=headers, content=pieces())


async def _nothing(size: int) -> None:
    pass


def body_of(answer: httpx.Response, most: int = MOST) -> bytes:
    return asyncio.run(read_body(answer, most, _nothing))


def deflate(data: bytes) -> bytes:
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    return raw.compress(data) + raw.flush()


@given(st.binary(max_size=5000), st.integers(1, 700))
def test_one_content_coding_is_decoded(data: bytes, piece: int) -> None:
    assert body_of(response(data, None, piece)) == data
    assert body_of(response(data, "identity", piece)) == data
    for naming in ("none", "UTF-8", "utf8", ",", "identity, identity"):
        assert body_of(response(data, naming, piece)) == data
    for naming in ("gzip", "gzip, identity", "utf-8, GZIP", "gzip,", " gzip "):
        assert body_of(response(gzip.compress(data), naming, piece)) == data
    assert body_of(response(gzip.compress(data), "X-GZIP", piece)) == data
    assert body_of(response(zlib.compress(data), "deflate", piece)) == data
    assert body_of(response(deflate(data), "deflate", 1 << 20)) == data


def test_gzip_members_are_joined_and_padding_is_ignored() -> None:
    members = gzip.compress(b"[1,") + gzip.compress(b"") + gzip.compress(b"2]")
    assert body_of(response(members, "gzip", 7)) == b"[1,2]"
    assert body_of(response(gzip.compress(b"[]") + b"\0" * 512, "gzip")) == b"[]"


def test_every_piece_is_counted_before_the_next_one_is_read() -> None:
    sizes: list[int] = []

    async def take(size: int) -> None:
        sizes.append(size)

    data = b"x" * 5_000_000
    assert asyncio.run(read_body(response(gzip.compress(data), "gzip"), 10_000_000, take)) == data
    assert (sum(sizes), max(sizes)) == (len(data), 1 << 20)


def bomb(size: int) -> bytes:
    coded = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(coded.compress(b" " * (1 << 20)) for _ in range(size >> 20)) + coded.flush()


# Made when they are needed: compressing takes longer than the tests.
BOMBS: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "gzip": (lambda: bomb(200 << 20), "gzip"),
    "many members": (lambda: gzip.compress(b" " * 100_000) * 2000, "gzip"),
    "deflate": (lambda: zlib.compress(b"[" * (50 << 20), 9), "deflate"),
    "raw deflate": (lambda: deflate(b"[" * (50 << 20)), "deflate"),
    "no coding": (lambda: b"[" * (50 << 20), None),
}


@pytest.mark.parametrize(("make", "coding"), BOMBS.values(), ids=BOMBS)
def test_a_decompression_bomb_is_stopped_early(make: Callable[[], bytes], coding: str | None) -> None:
    raw = make()
    answer, start = response(raw, coding), response(raw, coding)
    tracemalloc.start()
    with pytest.raises(TooLarge, match="larger than 1 MB"):
        body_of(answer)
    assert len(asyncio.run(read_start(start, 1000))) == 1000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MOST


@pytest.mark.parametrize(
    ("raw", "coding"),
    [
        (gzip.compress(bomb(8 << 20)), "gzip, gzip"),
        (gzip.compress(b"[]"), "gzip, deflate"),
        (b"[]", "gzip, identity, br"),
        (b"[]", "br"),
        (b"[]", "zstd"),
        (b"[]", "compress"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_content_codings_that_were_not_requested_are_refused(raw: bytes, coding: str) -> None:
    with pytest.raises(BadBody, match="its content coding was not asked for"):
        body_of(response(raw, coding))
    assert asyncio.run(read_start(response(raw, coding), 10)) == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_broken_or_truncated_bodies_are_refused(coding: str) -> None:
    whole = gzip.compress(b"[" * 999) if coding == "gzip" else zlib.compress(b"[" * 999)
    for raw in (whole[:-5], whole[:9], b"[1, 2, 3]", whole[:14] + b"\xff" * 9):
        with pytest.raises(BadBody, match="its content coding is"):
            body_of(response(raw, coding))


def test_a_huge_content_length_is_refused_without_reading() -> None:
    for length in ("1000001", "9" * 30):
        with pytest.raises(TooLarge) as caught:
            body_of(response(b"", length=length))
        assert caught.value.length
