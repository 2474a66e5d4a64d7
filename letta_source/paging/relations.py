"""Relations that the server may fail to return: the item is then read without them.

`agent.pending_approval` holds an agent's newest message. If the server cannot render it, the agent answers
500, as does each page with that agent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from letta_source.api.responses import StatusError, Verdict, may_be_the_page
from letta_source.api.server import Server
from letta_source.schema.card import Params

logger = logging.getLogger(__name__)

Get = Callable[[Params, int], Awaitable[Any]]
"""Takes the parameters and the number of retries, returns an answer."""


async def get_whole_or_without(get: Get, params: Params, retries: int, fragile: str, server: Server) -> Any:
    """Return one item, without the relation if the server fails with it; this is logged once per relation.

    Args:
        fragile: the relation, one of those in the parameter `include`.
    """
    try:
        return await get(params, fewer_retries(retries, fragile, server))
    except StatusError as error:
        if error.verdict is Verdict.PAGE_LIMIT or not may_be_the_page(error):
            raise
        found = await get(_without(params, fragile), retries)
        if fragile not in server.given_without:
            server.given_without.add(fragile)
            logger.warning(
                "the server cannot return %s for every item (%s): affected items are read without it",
                fragile,
                error,
            )
        return found


def fewer_retries(retries: int, fragile: str, server: Server) -> int:
    """Return how often to retry: not at all if the relation has failed before, as it is the likely cause."""
    return 0 if fragile in server.given_without else retries


def _without(params: Params, relation: str) -> Params:
    included = params.get("include", ())
    assert isinstance(included, tuple)
    return {**params, "include": tuple(one for one in included if one != relation)}
