"""Parsing of a body within the memory that its value may take."""

from __future__ import annotations

from typing import Any

import httpx

from letta_source.api.memory import Lease, parsed_size
from letta_source.api.responses import Shape, TooLarge, checked

# A body with fewer bytes is parsed without counting what its value takes.
_LARGE_BODY = 1 << 15
# Up to this many bytes of a body, a rough estimate is enough: at worst, the value fits a page.
_HARMLESS_BODY = 1 << 20


async def parsed(response: httpx.Response, body: bytes, lease: Lease, shape: Shape | None, most: int) -> Any:
    """Return the decoded JSON of a body.

    Args:
        lease: takes the memory of the value; it already has that of the body.
        shape: the shape that the value must have.
        most: the most bytes that the value may take.

    Raises:
        TooLarge: it would take more.
        RequestFailed: it is not JSON, or has another shape.
    """
    if len(body) < _LARGE_BODY:
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
