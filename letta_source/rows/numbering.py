"""Number the items of messages in the server's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# An approval request, always its message's last item, has the message's id as otid.
_LAST = 0x80


# Item index by the last two hex digits of an otid, in lower case as the server writes them.
_INDEXES = {f"{digits:02x}": digits & 0x7F for digits in range(0x100)}


def numbered(ids: Sequence[str], otids: Sequence[Any], first: int) -> tuple[Sequence[int], Sequence[int]]:
    """Return the position and the sequence of each item, given its message id and its otid.

    The position counts the items of one message: one stored message comes back as several items with one
    id. Their otid is that id with its last seven bits replaced by the item's index. If all items of a message
    carry one, it gives their order, because `/v1/steps/{id}/messages` sends them in reverse. Otherwise they
    stay in the order received.

    The sequence counts from `first`: messages in the order received, the items of each by position.
    """
    count = len(ids)
    positions = [0] * count
    followers = [at for at in range(1, count) if ids[at] == ids[at - 1]]
    if len(set(ids)) + len(followers) == count and _are_in_order(ids, otids, followers):
        # Nearly every page is in order.
        for at in followers:
            positions[at] = positions[at - 1] + 1
        return positions, range(first, first + count)
    sequences = list(range(first, first + count))
    members: dict[str, list[int]] = {}
    for at, message_id in enumerate(ids):
        members.setdefault(message_id, []).append(at)
    for message_id, ats in members.items():
        indexes = [index for at in ats if (index := _otid_index(message_id, otids[at])) is not None]
        ordered = ats
        if len(indexes) == len(ats):
            ordered = [at for _, at in sorted(zip(indexes, ats, strict=True))]
        for position, at in enumerate(ordered):
            positions[at] = position
            sequences[at] = first + ats[0] + position
    return positions, sequences


def _are_in_order(ids: Sequence[str], otids: Sequence[Any], followers: Sequence[int]) -> bool:
    """Return True if each of these items clearly follows the one before it.

    Otids that are not derived from their ids give no order; those items stay as received, too.
    """
    try:
        return all(
            otids[at] == ids[at]
            or (otids[at - 1] != ids[at] and _INDEXES[otids[at - 1][-2:]] <= _INDEXES[otids[at][-2:]])
            for at in followers
        )
    except (TypeError, KeyError):
        # An otid is not a string or does not end in such digits.
        return False


def _otid_index(message_id: str, otid: Any) -> int | None:
    """Return the index in an item's otid, or None if the otid is not derived from the message id."""
    if otid == message_id:
        return _LAST
    if not isinstance(otid, str) or otid[:-2] != message_id.removeprefix("message-")[:-2]:
        return None
    try:
        return int(otid[-2:], 16) & 0x7F
    except ValueError:
        return None
