"""Pages of plain messages, from the body straight to Arrow: no Python object an item.

What a page holds beyond `_item_type` (content in parts, approvals, unknown fields, values of other types,
texts that have to be cleaned) makes all of it go the other way, item by item. Either way the rows are the
same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache, cached_property, reduce
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from letta_source.models import LettaMessage
from letta_source.safe_text import parse_json
from letta_source.schema.wire import columns_of

Item = dict[str, Any]

LETTA_MESSAGE = columns_of(LettaMessage)

# Of ids, one after the other: a subset of what `trail.id_of` lets through.
_PLAIN_IDS = re.compile("[A-Za-z0-9_-]+")
_LONGEST_ID = 255
_CALLED = ("name", "arguments", "tool_call_id")
_RETURNED = ("tool_return", "status", "tool_call_id", "stdout", "stderr")


class Columnar(Sequence[Any]):
    """The items of one page; as a sequence they are decoded.

    Attributes:
        array: a struct for each item, see `_item_type`.
        times: when they were created, UTC.
        ids: of the items.
    """

    def __init__(self, body: bytes, array: pa.StructArray, times: pa.TimestampArray) -> None:
        self.array = array
        self.times = times
        self.ids: list[str] = array.field("id").to_pylist()
        self._body = body

    @cached_property
    def _items(self) -> list[Item]:
        items: list[Item] = parse_json(self._body)
        return items

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | list[Item]:
        return self._items[at]

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def since(self, moment: datetime) -> Sequence[Item]:
        """What a cursor has to know: the last item, or all where one was created at that moment or later."""
        newest = pc.max(self.times).as_py()
        if newest is not None and newest >= moment:
            return self
        return [{"id": self.ids[-1], "date": self.array.field("date")[-1].as_py()}]


def read_columnar(body: bytes) -> Columnar | None:
    """The page, or None if it is not one of plain messages only."""
    # Warehouses refuse NUL: such texts are cleaned, one by one.
    if b"\\u0000" in body:
        return None
    options = pj.ReadOptions(use_threads=False, block_size=len(body) + 64)
    try:
        sent = pj.read_json(pa.BufferReader(b'{"items":%b}' % body), options, _parse_options())
        if sent.num_rows != 1:
            return None
        lists = sent.column(0).chunk(0)
        array = lists.flatten()
        if lists.null_count or array.null_count or not len(array):
            return None
        if not body.isascii():
            # pyarrow's parser does not look at the encoding.
            array.validate(full=True)
        times = to_times(array.field("date"), pa.timestamp("us", "UTC"))
        page = Columnar(body, array, times)
        return page if _are_plain(page.ids) and _is_plain(array) else None
    except (pa.ArrowException, ValueError, OverflowError):
        return None


def to_times(texts: pa.Array, type_: pa.DataType) -> pa.TimestampArray:
    """ISO 8601 texts as times.

    Raises:
        ValueError: one is no time or has no zone.
        OverflowError: one lies in a year that Python does not know.
    """
    times = texts.cast(type_)
    # pyarrow takes years 0 and 10000, which few readers do: as_py refuses them.
    pc.min_max(times).as_py()
    return times


@cache
def _parse_options() -> pj.ParseOptions:
    schema = pa.schema([("items", pa.list_(_item_type()))])
    return pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")


def _item_type() -> pa.StructType:
    """A plain message: its content is a text, what is called and returned is in Letta's own form."""
    types = {"text": pa.string(), "timestamp": pa.string(), "bigint": pa.int64(), "bool": pa.bool_()}
    # Of type null: with a value there, the page is none of plain messages.
    none = dict.fromkeys(("event_data", "compaction_stats", "approve", "approvals"), pa.null())
    lines = pa.list_(pa.string())
    returned = dict.fromkeys(_RETURNED, pa.string()) | {"stdout": lines, "stderr": lines}
    call = pa.struct([(name, pa.string()) for name in _CALLED])
    fields = {
        "id": pa.string(),
        **{c.field: types[c.type] for c in LETTA_MESSAGE if c.field not in ("id", *none)},
        **none,
        "content": pa.string(),
        "tool_call": call,
        "tool_calls": pa.list_(call),
        **returned,
        "tool_returns": pa.list_(pa.struct([("type", pa.string()), *returned.items()])),
    }
    return pa.struct(list(fields.items()))


def _are_plain(ids: list[Any]) -> bool:
    return all(ids) and max(map(len, ids)) <= _LONGEST_ID and _PLAIN_IDS.fullmatch("".join(ids)) is not None


def _is_plain(array: pa.StructArray) -> bool:
    calls, returns = array.field("tool_calls"), array.field("tool_returns")
    call, returned = array.field("tool_call"), [array.field(name) for name in _RETURNED]
    # Here a field that is null and one that is missing look alike, which in an `extra` they do not.
    if any(calls.values.field(name).null_count for name in _CALLED) or returns.values.null_count:
        return False
    first_call = _firsts(calls, call.is_valid())
    if first_call is None or not first_call.equals(call.drop_null()):
        return False
    is_return = reduce(pc.or_, [one.is_valid() for one in returned])
    first_return = _firsts(returns, is_return)
    return first_return is not None and all(
        first_return.field(name).equals(one.filter(is_return))
        for name, one in zip(_RETURNED, returned, strict=True)
    )


def _firsts(lists: pa.ListArray, mask: pa.BooleanArray) -> pa.StructArray | None:
    """The first element of each list that the mask names, or None if one has none."""
    begins, ends = lists.offsets[:-1].filter(mask), lists.offsets[1:].filter(mask)
    if not pc.all(pc.less(begins, ends), min_count=0).as_py():
        return None
    # Mostly they are all there is: then nothing is copied.
    return lists.values if len(begins) == len(lists.values) else lists.values.take(begins)
