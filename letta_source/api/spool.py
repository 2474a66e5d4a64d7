"""A list that comes in one response, which may be larger than the memory allows.

The response is read in pieces, and its elements wait in a private temporary file until it is complete:
nothing of a truncated response is handed on, and the server does not wait while rows are loaded.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Sequence
from typing import Any

import httpx

from letta_source.api.bodies import Take, is_web_page, parse_body, pieces_of, read_start, web_page
from letta_source.api.json_elements import Element, Elements, ListStart
from letta_source.api.memory_budget import MemoryBudget, MemoryLease, parsed_size
from letta_source.api.responses import BadBody, RequestFailed, TooLarge, WrongShape
from letta_source.items import id_of

# A response with fewer bytes needs no file.
_IN_MEMORY = 1 << 20
# An element with fewer bytes is parsed without counting what its value takes.
_SMALL = 1 << 15
# Bytes that an element takes in the lists below, besides its id.
_ENTRY = 150


class SpoolFull(RequestFailed):
    """The temporary folder has no room for the response, or cannot be written."""


class Spool:
    """The elements of one list.

    Args:
        elements: the parser that cuts them out, and knows their depth in the response.
        lease: takes the memory of the lists of ids and sizes.

    Attributes:
        ids: ids of the elements; None for one without.
        sizes: bytes that each takes once it is parsed.
        too_large: positions of elements that are too large, and are not kept.
    """

    def __init__(self, elements: Elements, lease: MemoryLease) -> None:
        self.lease = lease
        self._elements = elements
        # Without a name on most systems, readable only by its owner on all; it vanishes with the process.
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self.clear()

    def clear(self) -> None:
        """Drop the elements added so far."""
        self.ids: list[str | None] = []
        self.sizes = array("Q")
        self.too_large: set[int] = set()
        self._ends = array("Q", [0])
        self._id_bytes = 0
        self._file.seek(0)
        self._file.truncate()

    @property
    def index_size(self) -> int:
        """Bytes that the lists of ids and sizes take."""
        return _ENTRY * len(self.ids) + self._id_bytes

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, text: bytes | None, element_id: str | None, size: int) -> None:
        """Add an element.

        Args:
            text: its JSON; None for an element that is not kept.
            size: bytes that it takes once it is parsed.
        """
        if text is None:
            self.too_large.add(len(self.ids))
        else:
            self._file.write(text)
        self.ids.append(element_id)
        self.sizes.append(size)
        self._ends.append(self._ends[-1] + len(text or b""))
        self._id_bytes += len(element_id or "")

    def text_of(self, places: Sequence[int]) -> bytes:
        """Return the elements at these positions as a JSON text; see `parse`."""
        texts: list[bytes] = []
        for place in places:
            begin, end = self._ends[place], self._ends[place + 1]
            self._file.seek(begin)
            texts.append(self._file.read(end - begin))
        return self._elements.wrap(texts)

    def parse(self, text: bytes) -> list[Any]:
        """Return the elements of a text from `text_of`."""
        return self._elements.unwrap(parse_body(text))

    def close(self) -> None:
        """Remove the file, and give back the memory."""
        self._file.close()
        self.lease.release()


async def read_list(
    response: httpx.Response, lease: MemoryLease, take: Take, key: str, memory: MemoryBudget
) -> tuple[Spool, int]:
    """Read a response that is a list, or an object with a list under this key.

    Args:
        lease: takes the memory of the held elements; the spool gives it back.
        take: awaited with a number of bytes, before they are held.

    Returns:
        The elements, and the number of bytes of the response.

    Raises:
        TooLarge: it has more bytes or elements than memory and temporary files may take.
        SpoolFull: the temporary file cannot be written.
        RequestFailed: it is not JSON, no list, or a web page.
    """
    if is_web_page(response):
        raise web_page(response, await read_start(response, _SMALL))
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length[:18]) > memory.largest_stream:
        raise TooLarge(memory.largest_stream, int(length[:18]))
    elements = Elements(key, memory.largest_body)
    spool: Spool | None = None
    try:
        spool = Spool(elements, lease)
        size = await _fill(spool, elements, response, take, memory)
    except OSError as error:
        failed: RequestFailed = SpoolFull(cannot_write(error))
    except (ValueError, BadBody) as error:
        failed = BadBody(str(error))
    except TooLarge as error:
        failed = TooLarge(error.most, error.length)
    except BaseException:
        if spool is not None:
            spool.close()
        raise
    else:
        if elements.is_list:
            lease.end_reading()
            return spool, size
        # Without its content, which may echo the request: no traceback frame may show it.
        failed = WrongShape(f"expected a JSON list, got {type(elements.other).__name__}")
        elements.other = None
    if spool is not None:
        spool.close()
    # Not within `except`: the first error's frames hold pieces of the body, which may echo the request.
    raise failed


async def _fill(
    spool: Spool, elements: Elements, response: httpx.Response, take: Take, memory: MemoryBudget
) -> int:
    """Add all elements of a response; return its number of bytes."""
    size, lease = 0, spool.lease
    async for piece in pieces_of(response, memory.largest_stream, take):
        size += len(piece)
        for found in elements.feed(piece):
            await _add(spool, elements, found, take, memory)
            del found
        needed = elements.held + spool.index_size
        if needed > lease.size:
            await take(needed - lease.size)
        lease.shrink(lease.size - needed)
        # No traceback frame may show it.
        del piece
    elements.end()
    return size


async def _add(
    spool: Spool, elements: Elements, found: Element | ListStart, take: Take, memory: MemoryBudget
) -> None:
    if isinstance(found, ListStart):
        spool.clear()
        return
    if spool.index_size > memory.largest_body:
        raise TooLarge(memory.largest_body)
    size = found.size if found.text is None else parsed_size(found.text)
    if found.text is None or size > memory.largest_page:
        spool.add(None, None, size)
        return
    if found.size > _SMALL:
        await take(size)
    element = elements.unwrap(parse_body(elements.wrap([found.text])))[0]
    spool.add(found.text, id_of(element), size)
    del element
    if found.size > _SMALL:
        spool.lease.shrink(size)


def cannot_write(error: OSError) -> str:
    """Return what to do about a temporary file that cannot be written."""
    folder = tempfile.gettempdir() if tempfile.tempdir else "the temporary folder"
    return f"{folder} cannot be written ({error.strerror}): name another one as TMPDIR"
