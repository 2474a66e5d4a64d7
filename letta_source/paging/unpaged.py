"""Answers that are had whole, with one request: an object, or a list without cursors."""

from __future__ import annotations

from collections.abc import AsyncIterator

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, is_gone
from letta_source.errors import ParentGone, Unreadable
from letta_source.paging.events import Page
from letta_source.paging.pages import Endpoint, as_list
from letta_source.schema.card import Params


async def walk_whole(client: Client, endpoint: Endpoint, key: str) -> AsyncIterator[Page]:
    """Every item of a list without cursors, which is asked for with one limit larger than it is.

    Batch messages answer 500 to `after` and ignore `before`.
    """
    size = endpoint.page_size
    while True:
        try:
            body = await client.get(endpoint.path, {**endpoint.params, "order": "asc", "limit": size})
        except RequestFailed as error:
            if is_gone(error):
                raise ParentGone(str(error)) from error
            raise Unreadable(f"{endpoint.path}: {error}") from error
        items = as_list(body.get(key, body) if isinstance(body, dict) else body)
        if len(items) < size:
            if items:
                yield Page(items)
            return
        size *= 2


async def get_one(client: Client, path: str, params: Params | None = None) -> AsyncIterator[Page]:
    """The one object at `path`."""
    lease = client.server.memory.lease()
    try:
        found = await client.get(path, params, shape="object", lease=lease)
    except RequestFailed as error:
        if is_gone(error):
            raise ParentGone(str(error)) from error
        raise Unreadable(f"{path}: {error}") from error
    yield Page([found], lease=lease)
