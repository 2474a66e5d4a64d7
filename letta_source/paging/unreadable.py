"""Find the first readable message after an unreadable one.

An unreadable message fails every page that holds it, and its id is unknown. So the messages after it are
reached backwards: from the newest message, or from anchors in later runs, as there may be more unreadable
messages before the newest. A gap that an earlier load met is passed straight to its neighbours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from letta_source.api.responses import RequestFailed
from letta_source.items import ids_of
from letta_source.paging.direction import SeenPages
from letta_source.paging.pages import CursorLost, Pages
from letta_source.times import created_at

# Page size on the way back from an anchor, as the unreadable message is near.
_NEAR = 8

Ways = Sequence[str]
"""The cursor that leads back, newest first, and the other one."""
WAYS: Ways = ("before", "after")
"""Newest first, self-hosted goes back by the one, Cloud by the other."""
Known = dict[tuple[str, str], bool]
"""Gaps of one list in about its order: the ids before and after, empty at an end; True if a retry is due."""

AnchorIds = AsyncIterator[str]
"""Ids of messages (anchors), roughly in the list's order, from around the cursor on."""


class Anchors(Protocol):
    """Source of ids beyond the cursor; `reached` is the item under it, None if that was not read."""

    def own(self, reached: Mapping[str, Any] | None) -> AnchorIds:
        """Yield ids of messages of the same list."""

    def others(self, reached: Mapping[str, Any] | None, until: datetime | None) -> AnchorIds:
        """Yield ids of other lists' messages, up to about `until`, which the server may accept as cursors."""


async def far_edge(
    pages: Pages,
    cursor: str | None,
    forward: str,
    anchors: Anchors | None,
    reached: Mapping[str, Any] | None,
) -> tuple[Sequence[Any], bool]:
    """Go backwards to the first message after the cursor that the server can return.

    Pages in descending order serve only to find ids: their meaning differs between lists.

    Args:
        forward: the name of the cursor that moves forward.

    Returns:
        The items of that message, empty if there is none; and True if nothing unreadable lies between it and
        the cursor any more.
    """
    if anchors is None:
        pages.size = 1
        return await back_from_newest(pages, cursor, forward)
    edge, meets = await _back_from_first(pages, cursor, forward, anchors.own(reached))
    if not edge:
        pages.size = 1
        edge, meets = await back_from_newest(pages, cursor, forward)
    if meets:
        return edge, meets
    # Between two unreadable messages there may be some that no anchor of this list reaches.
    until = created_at(edge[0]) if edge and isinstance(edge[0], dict) else None
    others = anchors.others(reached, until)
    nearer, meets = await _back_from_first(pages, cursor, forward, others, ids_of(edge)[:1])
    return nearer or edge, meets


async def _back_from_first(
    pages: Pages, cursor: str | None, forward: str, anchor_ids: AnchorIds, ahead_of: Sequence[str] = ()
) -> tuple[Sequence[Any], bool]:
    """Return the same as `far_edge`, from the first anchor that lies beyond; no items if none does.

    Args:
        ahead_of: an id; something readable must lie between the anchor and it.
    """
    async for anchor_id in anchor_ids:
        pages.size = 1
        if not await _is_beyond(pages, cursor, anchor_id):
            continue
        if ahead_of and not await pages.tried({"after": anchor_id, "before": ahead_of[0]}):
            continue
        edge, meets = await _back_from_anchor(pages, cursor, forward, anchor_id)
        if edge:
            return edge, meets
    return [], False


async def _is_beyond(pages: Pages, cursor: str | None, anchor_id: str) -> bool:
    """Return True if the unreadable part lies between the cursor and the anchor."""
    try:
        await pages.ask({"after": cursor, "before": anchor_id})
    except CursorLost:
        return False
    except RequestFailed:
        return True
    return False


async def _back_from_anchor(
    pages: Pages, cursor: str | None, forward: str, anchor_id: str
) -> tuple[Sequence[Any], bool]:
    following = await pages.tried({"after": anchor_id}) or []
    ids = [anchor_id, *ids_of(following)[-1:]]
    if cursor is None:
        # The anchor stands in for the cursor, to find which way leads back.
        beyond = ids_of(await pages.tried({"after": ids[-1]}) or [])[-1:]
        if len(ids) < 2 or not beyond:
            return [], False
        between = await pages.tried({"before": beyond[0], "after": anchor_id}, "desc")
        ways = WAYS[:1] if between else WAYS[1:]
    else:
        ways = WAYS
    pages.size = min(_NEAR, pages.largest)
    return await back_from(pages, cursor, forward, following, ids[-1], ways)


async def back_from_newest(pages: Pages, cursor: str | None, forward: str) -> tuple[Sequence[Any], bool]:
    """Return what `far_edge` does, from the newest message."""
    newest, oldest = await pages.tried({}, "desc"), await pages.tried({})
    if not newest or not (newest_ids := ids_of(newest)):
        return [], newest == []
    if cursor in newest_ids:
        return [], True
    if oldest and newest_ids[0] in ids_of(oldest):
        # Groups without a manager ignore `order`: there is no newest page to go back from.
        return [], True
    pages.size = pages.largest
    return await back_from(pages, cursor, forward, newest, newest_ids[0])


async def back_from(
    pages: Pages,
    cursor: str | None,
    forward: str,
    edge: Sequence[Any],
    edge_id: str,
    ways: Ways = WAYS,
    grows: bool = False,
) -> tuple[Sequence[Any], bool]:
    """Go back from message `edge_id` towards the cursor; `edge` has its items, if known.

    Args:
        grows: pages become larger on the way.
    """
    seen = SeenPages()
    seen.add(edge)
    oldest_first: bool | None = None
    # Newest first, self-hosted goes back by `before`, Cloud by `after`. With the two swapped, the page is
    # empty.
    for back in ways:
        ahead = "after" if back == "before" else "before"
        page = await pages.tried({back: edge_id, ahead: cursor}, "desc")
        if page != []:
            break
    while page:
        ids = list(dict.fromkeys(ids_of(page)))
        if not ids or len(seen.without(page)) < len(page):
            return edge, False
        if oldest_first is None and len(ids) > 1:
            # An agent's pages come oldest first, whatever the order asked for.
            oldest_first = await _oldest_first(pages, forward, ids)
        edge_id = ids[0] if oldest_first else ids[-1]
        edge = [item for item in page if edge_id in ids_of([item])]
        seen.add(page)
        if grows:
            pages.grow()
        page = await pages.tried({back: edge_id, ahead: cursor}, "desc")
    return edge, page is not None


async def _oldest_first(pages: Pages, forward: str, ids: list[str]) -> bool:
    """Return True if the first of these ids is followed by another of them."""
    size, pages.size = pages.size, 1
    following = await pages.tried({forward: ids[0]})
    pages.size = size
    return not set(ids).isdisjoint(ids_of(following or []))


@dataclass(frozen=True)
class Passed:
    """A gap that has not changed.

    Attributes:
        detail: the server's error for it now.
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

    A message at that side may be readable by now, even if one at the other side is not.

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
    """Return the error of a request; empty if the page is empty, None if it has items."""
    try:
        return None if await pages.ask(cursors, order) else ""
    except CursorLost:
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
    except (CursorLost, RequestFailed):
        pass
    return (), ()
