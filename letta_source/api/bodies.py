"""Read the body of a response in counted pieces, and parse it, within the memory that both may take."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx

from letta_source.api.gateways import CHALLENGES, challenge_of, is_login
from letta_source.api.memory_budget import MemoryLease, parsed_size
from letta_source.api.redact import redactor_of
from letta_source.api.responses import BadBody, Shape, TooLarge, WebPage, WrongShape, detail_of
from letta_source.safe_text import parse_json

# Encoded pieces of at least this many bytes are decoded in another thread.
_LARGE_PIECE = 1 << 15
_INFLATED_PIECE = 1 << 20
# A body with fewer bytes is parsed without counting what its value takes.
_SMALL_BODY = 1 << 15
# Up to this many bytes of a body, a rough estimate is enough: at worst, the value fits a page.
_HARMLESS_BODY = 1 << 20
_GZIP_MAGIC = b"\x1f"
# Some servers name the character encoding here.
_NO_CODINGS = {"", "identity", "none", "utf-8", "utf8"}
ACCEPT_ENCODING = "gzip, deflate"

Take = Callable[[int], Awaitable[None]]


class Body(bytes):
    """A body whose repr does not show it: some proxies echo the request, including the key."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


async def read_body(response: httpx.Response, most: int, take: Take) -> bytes:
    """Return the body, decoded.

    Args:
        most: the most bytes that it may have.
        take: awaited with the size of each decoded piece, before the next one is read.

    Raises:
        TooLarge: it has more.
        BadBody: it is encoded twice or in a way that was not asked for, or is cut short.
    """
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length[:18]) > most:
        raise TooLarge(most, int(length[:18]))
    pieces: list[bytes] = []
    async for piece in pieces_of(response, most, take):
        pieces.append(Body(piece) if len(piece) < _LARGE_PIECE else piece)
        del piece
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    # A larger body is a page of items, which does not echo the request.
    return Body(body) if len(body) < _LARGE_PIECE else body


async def parse_within_memory(
    response: httpx.Response, body: bytes, lease: MemoryLease, shape: Shape | None, most: int
) -> Any:
    """Return the decoded JSON of a body.

    Args:
        lease: takes the memory of the value; it already has that of the body.
        shape: the shape that the value must have.
        most: the most bytes that the value may take.

    Raises:
        TooLarge: it would take more.
        RequestFailed: it is not JSON, or has another shape.
    """
    if len(body) < _SMALL_BODY:
        lease.end_reading()
        return checked(response, body, shape)
    size = parsed_size(body) if len(body) > _HARMLESS_BODY else 4 * len(body)
    if size > most:
        raise TooLarge(most)
    await lease.grow(size)
    found = checked(response, body, shape)
    lease.shrink(len(body))
    lease.end_reading()
    return found


async def read_start(response: httpx.Response, most: int) -> bytes:
    """Return the first bytes of the body, decoded; if it cannot be read, what came before."""
    start = bytearray()
    with suppress(BadBody):
        async for piece in pieces_of(response, most, _take_none, cuts=True):
            start += piece
    return Body(start)


async def pieces_of(
    response: httpx.Response, most: int, take: Take, cuts: bool = False
) -> AsyncIterator[bytes]:
    """Yield the body, decoded, piece by piece; see `read_body`.

    Args:
        cuts: end at `most` bytes instead of raising TooLarge.
    """
    codings = [coding.strip() for coding in response.headers.get("content-encoding", "").lower().split(",")]
    coding = ",".join(coding for coding in codings if coding not in _NO_CODINGS)
    inflate = _Inflate(coding) if coding else None
    size = 0
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    async for raw in stream:
        if inflate is None:
            decoded = [raw]
        elif len(raw) < _LARGE_PIECE:
            decoded = inflate.feed(raw, most - size)
        else:
            decoded = await asyncio.to_thread(inflate.feed, raw, most - size)
        for piece in decoded:
            size += len(piece)
            if size > most and cuts:
                yield piece[: len(piece) - (size - most)]
                return
            if size > most:
                raw, decoded, piece = b"", [], b""
                raise TooLarge(most)
            await take(len(piece))
            yield piece
        # Some proxies echo the request: no traceback frame may show the body.
        raw, decoded, piece = b"", [], b""
    if inflate:
        inflate.end()


async def _take_none(size: int) -> None:
    pass


class _Inflate:
    """Decoder of one content coding, which stops at a limit: a few bytes may expand to gigabytes.

    Raises:
        BadBody: more than one coding, or an unknown one; or the data is not in that coding.
    """

    def __init__(self, coding: str) -> None:
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise BadBody(f"its content coding was not asked for: {coding[:40]}")
        self._is_gzip = coding != "deflate"
        self._stream = zlib.decompressobj(31 if self._is_gzip else 15)
        self._has_begun = False

    def feed(self, data: bytes, most: int) -> list[bytes]:
        """Return pieces of at most 1 MB, together hardly more than `most` bytes."""
        pieces: list[bytes] = []
        room, is_full = most, False
        while (data or is_full) and room >= 0:
            if self._stream.eof:
                if not (self._is_gzip and data.startswith(_GZIP_MAGIC)):
                    break
                # Several gzip members in a row are one text.
                self._stream = zlib.decompressobj(31)
            piece = self._inflated(data)
            data = self._stream.unconsumed_tail or self._stream.unused_data
            is_full = len(piece) == _INFLATED_PIECE
            pieces.append(piece)
            room -= len(piece)
        return [piece for piece in pieces if piece]

    def _inflated(self, data: bytes) -> bytes:
        try:
            piece = self._stream.decompress(data, _INFLATED_PIECE)
        except zlib.error as error:
            if self._is_gzip or self._has_begun:
                raise BadBody(f"its content coding is broken: {error}") from error
            # Some servers send deflate without its zlib header.
            self._stream = zlib.decompressobj(-15)
            piece = self._inflated_raw(data)
        self._has_begun = True
        return piece

    def _inflated_raw(self, data: bytes) -> bytes:
        try:
            return self._stream.decompress(data, _INFLATED_PIECE)
        except zlib.error as error:
            raise BadBody(f"its content coding is broken: {error}") from error

    def end(self) -> None:
        if self._has_begun and not self._stream.eof:
            raise BadBody("its content coding is cut short")


def checked(response: httpx.Response, body: bytes, shape: Shape | None) -> Any:
    """Return the JSON of a successful response.

    Raises:
        WebPage: it is a web page.
        BadBody: it is not JSON.
        WrongShape: it has another shape.
    """
    if is_web_page(response):
        raise web_page(response, body)
    found = parse_body(body)
    if shape and not _has_shape(found, shape, response.url.path):
        kind, shown = type(found).__name__, detail_of(found, redactor_of(response.request))
        # No traceback frame may show it, as it may echo the request.
        del found
        raise WrongShape(f"expected a JSON {shape}, got {kind}: {shown}")
    return found


def is_web_page(response: httpx.Response) -> bool:
    """Return True if a response is a web page, by its header fields."""
    headers = response.headers
    return "html" in headers.get("content-type", "") or any(name in headers for name in CHALLENGES)


def web_page(response: httpx.Response, body: bytes) -> WebPage:
    """Return the error to raise for a response that is a web page.

    Args:
        body: its start is enough.
    """
    what = challenge_of(response, body) or ("a login page" if is_login(body) else "a web page")
    return WebPage(
        f"{response.url.host} answers with {what}, not with Letta's API: set the base URL to the API's,"
        " such as https://api.letta.com or http://localhost:8283, or give the headers that a gateway in"
        " front of it asks for as `headers`."
    )


def _has_shape(found: Any, shape: Shape, path: str) -> bool:
    """Check the shape: null is a gateway's; an object has the requested id, unlike a gateway's error."""
    if shape == "object":
        # A step's metrics have the step's id: `/v1/steps/{id}/metrics`.
        return isinstance(found, dict) and found.get("id") in path.rstrip("/").split("/")[-2:]
    return found is not None and not isinstance(found, (dict, str, int, float))


def parse_body(body: bytes) -> Any:
    """Return the value of a JSON body.

    Raises:
        BadBody: it is not JSON.
    """
    try:
        return parse_json(body)
    except ValueError as error:
        why = str(error)
    # Not within `except`: the parser's error and its frames hold the body, which may echo the request.
    raise BadBody(f"the response is not JSON: {why}")
