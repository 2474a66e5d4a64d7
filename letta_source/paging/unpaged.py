"""Objects that one request returns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, is_gone, is_missing
from letta_source.errors import FamilyMissing, ParentGone, Unreadable
from letta_source.paging.events import Page
from letta_source.paging.pages import get_whole_or_without
from letta_source.schema.card import Params


async def get_one(
    client: Client, path: str, params: Params | None = None, fragile: str = "", family: str | None = None
) -> AsyncIterator[Page]:
    """Yield the one object at `path`.

    Args:
        fragile: see `letta_source.paging.pages.get_whole_or_without`.
        family: name to report when the host lacks this endpoint; None if it cannot lack it.

    Raises:
        FamilyMissing, ParentGone, Unreadable: see `letta_source.errors`.
    """
    lease = client.server.memory.lease()

    async def get(params: Params | None, retries: int | None = None) -> Any:
        return await client.get(path, params, retries, "object", family is not None, lease)

    try:
        if fragile and params:
            found = await get_whole_or_without(get, params, fragile, client.server)
        else:
            found = await get(params)
    except RequestFailed as error:
        if is_gone(error):
            raise ParentGone(str(error)) from error
        if family and is_missing(error):
            raise FamilyMissing(family) from error
        raise Unreadable(f"{path}: {error}") from error
    yield Page([found], lease=lease)
