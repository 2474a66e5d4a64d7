"""Number the items of a message, and put them in the server's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# An approval request, always its message's last item, has the message's id as otid.
_LAST = 0x80


# By the last two digits of an otid, as the server writes them.
_INDEXES = {f"{digits:02x}": digits & 0x7F for digits in range(0x100)}


def numbered(ids: Sequence[str], otids: Sequence[Any], first: int) -> tuple[Sequence[int], Sequence[int]]:
    """The position and the sequence of each item, given by its message's id and its otid.

    The position is that among the items of its message: one stored message comes back as several items of
    one id. Their otid is that id with its last seven bits replaced by the item's index; where all of a
    message's items carry one it gives the order, because `/v1/steps/{id}/messages` sends them in reverse.
    Otherwise they stay as they came.

    The sequence counts from `first` on, message by message in the order they came, within each by position.
    """
    count = len(ids)
    positions = [0] * count
    followers = [at for at in range(1, count) if ids[at] == ids[at - 1]]
    if len(set(ids)) + len(followers) == count and _are_in_order(ids, otids, followers):
        # As nearly every page is.
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
    """True if each of these items plainly comes after the one before it.

    Otids that are not made of their ids give no order, and their items stay as they came too.
    """
    try:
        return all(
            otids[at] == ids[at]
            or (otids[at - 1] != ids[at] and _INDEXES[otids[at - 1][-2:]] <= _INDEXES[otids[at][-2:]])
            for at in followers
        )
    except (TypeError, KeyError):
        # Some otid is no text, or has no such digits.
        return False


def _otid_index(message_id: str, otid: Any) -> int | None:
    """The index in an item's otid, or None where its otid is not made of its id."""
    if otid == message_id:
        return _LAST
    if not isinstance(otid, str) or otid[:-2] != message_id.removeprefix("message-")[:-2]:
        return None
    try:
        return int(otid[-2:], 16) & 0x7F
    except ValueError:
        return None
