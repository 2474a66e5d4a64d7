"""The value of a body, within the memory that it may take."""

from __future__ import annotations

from typing import Any

import httpx

from letta_source.api.memory import Lease, parsed_size
from letta_source.api.responses import Shape, TooLarge, checked

# Bytes of a body from which on another thread and decoder are worth their start.
_LARGE_BODY = 1 << 15
# Bytes of a body that are parsed without looking what that takes: less than a page may take, at worst.
_HARMLESS_BODY = 1 << 20


async def parsed(response: httpx.Response, body: bytes, lease: Lease, shape: Shape | None, most: int) -> Any:
    """Return the decoded JSON of a body.

    Args:
        lease: takes what the value takes; it has the body's bytes.
        shape: what it must be.
        most: bytes that the value may take.

    Raises:
        TooLarge: it would take more.
        RequestFailed: it is no JSON, or another shape.
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
