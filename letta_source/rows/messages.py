"""Collect the children of messages: content parts, tool calls, tool returns and approvals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import pyarrow as pa

from letta_source.arrays import number_array
from letta_source.models import LettaMessage
from letta_source.rows import children as shapes
from letta_source.rows.arrow import Columns, Extras
from letta_source.rows.shapes import (
    Gathered,
    Group,
    Values,
    elements_of,
    is_empty,
    rows_of,
    types_of,
    values_at,
)
from letta_source.safe_text import to_json
from letta_source.schema.columns import DELETED, INDEX, POSITION
from letta_source.schema.tables import CHILDREN
from letta_source.schema.wire import repeated_fields

SINGULARS = repeated_fields(LettaMessage)
"""Deprecated singular fields that repeat tool_calls[] and tool_returns[]."""
FIELDS = {*CHILDREN, *SINGULARS}
"""Fields of an item that are stored in the child tables."""
_RETURNED = SINGULARS - {"tool_call"}
_APPROVED = {"approve", "approval_request_id", "reason", "denial_reason"}
_SHAPES = {
    "tool_calls": shapes.tool_calls,
    "tool_returns": shapes.tool_returns,
    "approvals": shapes.approvals,
}


class Children:
    """Rows of the child tables for the pages that are flattened together."""

    def __init__(self) -> None:
        self._rows = {name: Gathered() for name in CHILDREN}

    def add(self, group: Group, singulars: set[str], extras: Extras) -> Values:
        """Add the children of items of one shape.

        Args:
            singulars: deprecated fields that repeat the children.
            extras: receives values that the children's columns cannot hold completely.

        Returns:
            The readable text of each item.
        """
        columns = group.columns
        lists = {
            "tool_calls": _tool_calls(columns),
            "tool_returns": _tool_returns(columns),
            "approvals": _approvals(columns),
        }
        for name, sent in lists.items():
            if any(sent):
                self._add_list(name, group.places, sent, extras)
        if not singulars.isdisjoint(columns):
            _note_unrepeated(group, lists, singulars, extras)
        return self._add_content(group.places, columns.get("content", ()))

    def _add_list(
        self, name: str, places: Sequence[int], lists: Sequence[Sequence[Any]], extras: Extras
    ) -> None:
        values, items, idx = elements_of(places, lists)
        for piece in shapes.pieces_of(values, _SHAPES[name]):
            owners = _at(items, piece.places)
            self._rows[name].add(owners, piece.columns, _at(idx, piece.places))
            if not piece.whole:
                sent = dict(zip(places, lists, strict=True))
                for item in owners:
                    extras.setdefault(item, {})[name] = sent[item]

    def _add_content(self, places: Sequence[int], contents: Values) -> Values:
        if is_empty(contents):
            return ()
        rows = self._rows["content"]
        types = types_of(contents)
        if types == {str}:
            rows.add(places, {"type": ["text"] * len(places), "text": contents})
            return contents
        texts = [content if isinstance(content, str) else None for content in contents]
        plain = [at for at, text in enumerate(texts) if text is not None]
        if plain:
            rows.add(
                values_at(places, plain), {"type": ["text"] * len(plain), "text": values_at(texts, plain)}
            )
        others = [at for at, content in enumerate(contents) if texts[at] is None and content is not None]
        if others:
            joined = self._add_parts(values_at(places, others), [to_list(contents[at]) for at in others])
            for at in others:
                texts[at] = joined.get(places[at])
        return texts

    def _add_parts(self, places: Sequence[int], lists: Sequence[Sequence[Any]]) -> dict[int, str]:
        """Add contents given as parts; return the readable text by item."""
        values, items, idx = elements_of(places, lists)
        texts: list[str | None] = [None] * len(values)
        for piece in shapes.pieces_of(values, shapes.content_parts):
            columns = piece.columns
            if not piece.whole:
                columns = {"extra": [to_json(values[place]) for place in piece.places]}
            elif "type" in columns and "text" in columns:
                for place, kind, text in zip(piece.places, columns["type"], columns["text"], strict=True):
                    if kind == "text" and isinstance(text, str):
                        texts[place] = text
            self._rows["content"].add(_at(items, piece.places), columns, _at(idx, piece.places))
        joined: dict[int, str] = {}
        for item, text in zip(items, texts, strict=True):
            if text is not None:
                joined[item] = f"{joined[item]}\n{text}" if item in joined else text
        return joined

    def columns(self, keys: Mapping[str, pa.Array]) -> Iterator[tuple[str, Columns]]:
        """Yield, for each child that has rows, its name and columns.

        Args:
            keys: columns of the items, repeated in the children.
        """
        for name, rows in self._rows.items():
            if rows.items:
                columns = rows.in_order()
                items = number_array(rows.items, pa.int64())
                taken = {key: values.take(items) for key, values in keys.items()}
                yield name, {**taken, INDEX.name: rows.idx, **columns}

    def tombstones(self, ids: Values, places: range) -> Iterator[tuple[str, dict[str, Values]]]:
        """Yield, for each child, tombstones for messages that have no rows there any more.

        Args:
            ids: message ids, one for each item.
            places: indexes of the items of messages that were read again.
        """
        for name, rows in self._rows.items():
            filled = {ids[item] for item in rows.items if item in places}
            emptied = [one for one in dict.fromkeys(ids[places.start : places.stop]) if one not in filled]
            if emptied:
                nowhere = [-1] * len(emptied)
                yield (
                    name,
                    {
                        "message_id": emptied,
                        POSITION.name: nowhere,
                        INDEX.name: nowhere,
                        DELETED.name: [True] * len(emptied),
                    },
                )


def _at(values: Sequence[Any], places: Sequence[int]) -> Sequence[Any]:
    """Return the values at these indexes, which are ascending."""
    return values if len(places) == len(values) else values_at(values, places)


def to_list(value: Any) -> list[Any]:
    """Return `value` as a list: the API sends one object, or null, where it documents a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _lists(values: Values) -> Sequence[list[Any]]:
    return values if types_of(values) == {list} else [to_list(value) for value in values]


def _tool_calls(columns: dict[str, Values]) -> Sequence[list[Any]]:
    """Return the tool calls of each item; empty if the items have no such field."""
    lists = _lists(columns.get("tool_calls", ()))
    singular = columns.get("tool_call", ())
    if singular and not (lists and all(lists)):
        return [sent or to_list(one) for sent, one in zip(lists or repeat([]), singular, strict=False)]
    return lists


def _tool_returns(columns: dict[str, Values]) -> Sequence[list[Any]]:
    lists = _lists(columns.get("tool_returns", ()))
    singular = columns.get("tool_return", ())
    if is_empty(singular) or (lists and all(lists)):
        return lists
    doubles = rows_of({name: values for name, values in columns.items() if name in _RETURNED})
    return [
        sent or ([] if double["tool_return"] is None else [double])
        for sent, double in zip(lists or repeat([]), doubles, strict=False)
    ]


def _approvals(columns: dict[str, Values]) -> Sequence[list[Any]]:
    lists = _lists(columns.get("approvals", ()))
    approve = columns.get("approve", ())
    if is_empty(approve) or (lists and all(lists)):
        return lists
    doubles = rows_of({name: values for name, values in columns.items() if name in _APPROVED})
    return [
        sent or ([] if double["approve"] is None else [_singular_approval(double)])
        for sent, double in zip(lists or repeat([]), doubles, strict=False)
    ]


def _singular_approval(item: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of `approvals` made of the deprecated fields at the root of an approval response."""
    return {
        "tool_call_id": item.get("approval_request_id"),
        "type": "approval",
        "approve": item["approve"],
        "reason": item.get("reason", item.get("denial_reason")),
    }


def _note_unrepeated(
    group: Group, lists: dict[str, Sequence[list[Any]]], singulars: set[str], extras: Extras
) -> None:
    """Put singular fields that differ from the plural's first entry into `extras`.

    Without a plural, that entry was made of the singulars.
    """
    count = len(group.places)
    calls = [sent[0] if sent else None for sent in lists["tool_calls"]] or [None] * count
    returns = [sent[0] if sent else None for sent in lists["tool_returns"]] or [None] * count
    for field, values in group.columns.items():
        if field not in singulars:
            continue
        if field == "tool_call":
            repeated = calls
        else:
            repeated = [one.get(field) if isinstance(one, dict) else None for one in returns]
        if list(values) == repeated:
            continue
        for item, value, known in zip(group.places, values, repeated, strict=True):
            if value not in (None, known):
                extras.setdefault(item, {})[field] = value
