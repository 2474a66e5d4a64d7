"""Pass a gap that an earlier load met: straight to its neighbours, without a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from letta_source.api.responses import RequestFailed
from letta_source.items import ids_of
from letta_source.paging.pages import Lost, Pages
from letta_source.paging.unreadable import WAYS, back_from, back_from_newest

Known = dict[tuple[str, str], bool]
"""Gaps of one list in about its order: the ids before and after, empty at an end; True if a retry is due."""


Ways = Sequence[str]
"""The cursor that leads back, newest first, and the other one."""


@dataclass(frozen=True)
class Passed:
    """A gap that has not changed.

    Attributes:
        detail: what the server says of it now.
        edge: the items of the message after it; none at the end of the list.
    """

    detail: str
    edge: Sequence[Any]


async def past_known(pages: Pages, after_id: str, before_id: str, due: bool) -> Passed | None:
    """Read a gap from both sides; return None if it may have changed.

    A message that was committed late may lie on either side of the unreadable one.

    Args:
        due: a retry is due, so the request is repeated once.
    """
    pages.size, pages.patience = 1, int(due)
    detail = await _failure(pages, {"after": after_id}, "asc")
    pages.patience = 0
    if not detail:
        return None
    if not before_id:
        edge, _ = await back_from_newest(pages, after_id or None, "after")
        return None if edge else Passed(detail, ())
    pages.patience = None
    edge, ways = await _message(pages, after_id, before_id)
    pages.patience = 0
    for back, ahead in ways:
        failure = await _failure(pages, {back: before_id, ahead: after_id}, "desc")
        if failure != "":
            return Passed(detail, edge) if failure else None
    return None


async def back_from_end(pages: Pages, after_id: str, before_id: str, forward: str) -> Sequence[Any]:
    """Return the first message that can be read on the way back from the end of a gap; empty if none can.

    A message at that side may have been mended, though one at the other side was not.

    Args:
        forward: the name of the cursor that moves forward.
    """
    pages.size, pages.patience = 1, 0
    ways = WAYS
    if not after_id:
        # No cursor keeps the wrong way from leading to what comes after the gap.
        _, found = await _message(pages, after_id, before_id)
        if not found:
            return ()
        ways = found[0][:1] if len(found) == 1 else WAYS
    edge, _ = await back_from(pages, after_id or None, forward, (), before_id, ways, grows=True)
    return edge


async def _failure(pages: Pages, cursors: dict[str, str], order: str) -> str | None:
    """Return what a request fails with; empty if nothing is there, None if something is."""
    try:
        return None if await pages.ask(cursors, order) else ""
    except Lost:
        return None
    except RequestFailed as error:
        return str(error)


async def _message(pages: Pages, after_id: str, message_id: str) -> tuple[Sequence[Any], Sequence[Ways]]:
    """Return the items of the message with this id, and the ways that may lead back from it; none if lost."""
    both = (WAYS, WAYS[::-1])
    try:
        following = ids_of(await pages.ask({"after": message_id}))[:1]
        if not following:
            # It is the last one, from which the wrong way leads to nothing.
            found = await pages.ask({}, "desc")
            return (found, both) if {*ids_of(found)} == {message_id} else ((), ())
        for ways in both:
            found = await pages.ask({ways[0]: following[0], ways[1]: after_id}, "desc")
            if {*ids_of(found)} == {message_id}:
                return found, (ways,)
    except (Lost, RequestFailed):
        pass
    return (), ()
