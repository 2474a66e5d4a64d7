"""Convert pages of items, as the API sends them, to pyarrow tables. Pure: no HTTP, no dlt.

Items are grouped by shape and processed column by column, never one by one. Only credentials and `LeftOut`
fields are dropped: an unknown field, or a value that does not fit its column, goes to its row's `extra`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from letta_source.items import Item
from letta_source.rows.arrow import Arrays, Columns, Extras, table_of, to_arrays
from letta_source.rows.messages import FIELDS, SINGULARS, Children
from letta_source.rows.shapes import Gathered, Group, Values, by_shape
from letta_source.safe_text import to_json
from letta_source.schema.card import Resource
from letta_source.schema.columns import EXTRA, GONE, LOAD_ID, POSITION, SEQUENCE
from letta_source.schema.resources import all_tables
from letta_source.schema.tables import Table
from letta_source.schema.wire import left_out_fields

if TYPE_CHECKING:
    import pyarrow as pa

# An agent's variables and secrets hold its owner's credentials.
_CREDENTIALS = {column.field for table in all_tables() for column in table.columns if column.secret}
_CREDENTIAL_VALUES = {"value", "value_enc"}
# Small pages are flattened together, up to this many items: each pass costs as much as some hundred.
_TOGETHER = 1000
_LARGE_BYTES = 1 << 22
# An approval request, always its message's last item, has the message's id as otid.
_LAST = 0x80
# Item index by the last two hex digits of an otid, in lower case as the server writes them.
_INDEXES = {f"{digits:02x}": digits & 0x7F for digits in range(0x100)}


class _Page(NamedTuple):
    items: Sequence[Item]
    parent_id: str
    leaves_tombstones: bool


class Rows:
    """Rows of one resource, gathered page by page.

    Args:
        resource: the resource whose tables are filled.
        tombstones: True to give messages that are read again a row marked as deleted in each child table
            they no longer fill, so that the merge removes their old rows.
        sequence: the first row's sequence number.
    """

    def __init__(self, resource: Resource, tombstones: bool, sequence: int = 0) -> None:
        self._resource = resource
        self.tombstones = tombstones
        self._sequence = sequence
        self._parent = resource.parent.name if resource.parent else None
        computed = {self._parent, POSITION.name, SEQUENCE.name, EXTRA.name, GONE.name, LOAD_ID.name}
        if resource.children is not None:
            computed.add("text")
        columns = [column for column in resource.root.columns if column.name not in computed]
        self._names = {column.field: column.name for column in columns}
        self._json = {column.field for column in columns if column.type == "json"}
        self._known = {*self._names, *(FIELDS if resource.children else ()), *left_out_fields(resource.model)}
        self._singulars = SINGULARS - self._names.keys()
        self._clear()

    def _clear(self) -> None:
        self.count = 0
        self.size = 0
        self._waiting = self._waiting_size = 0
        self._pages: list[_Page] = []
        self._made: dict[str, list[tuple[int, Arrays]]] = {}

    @property
    def is_waiting(self) -> bool:
        """True while items are held that are not yet converted to arrays."""
        return bool(self._pages)

    def add(
        self, items: Sequence[Item], parent_id: str = "", read_again: bool = False, size: int = 0
    ) -> None:
        """Add a page of items accepted by `split_page`; items of one message id must be in one page.

        Args:
            size: their size in bytes, if known.
        """
        if not items:
            return
        self._pages.append(_Page(items, parent_id, read_again and self.tombstones))
        self.count += len(items)
        self._waiting += len(items)
        self._waiting_size += size
        if self._waiting >= _TOGETHER or self._waiting_size >= _LARGE_BYTES:
            self._flatten()

    def _flatten(self) -> None:
        """Convert the waiting pages to arrays."""
        pages, self._pages, self._waiting, self._waiting_size = self._pages, [], 0, 0
        items = pages[0].items if len(pages) == 1 else [item for page in pages for item in page.items]
        parents = [page.parent_id for page in pages for _ in page.items]
        rows = Gathered()
        children = Children() if self._resource.children else None
        extras: Extras = {}
        for group in by_shape(items):
            filled = self._columns(group)
            self._note_unknown(group, parents, extras)
            if children:
                filled["text"] = children.add(group, self._singulars, extras)
            rows.add(group.places, filled)
        root: dict[str, Values] = rows.in_order()
        if self._parent is not None:
            root[self._parent] = parents
        if children:
            root[POSITION.name], root[SEQUENCE.name] = self._numbered(pages, root["id"], root.get("otid"))
        made = self._put(self._resource.root, root, extras)
        if children and self._resource.children:
            keys = {"message_id": made["id"], POSITION.name: made[POSITION.name]}
            if self._parent is not None:
                keys[self._parent] = made[self._parent]
            found = [children.columns(keys)]
            if any(page.leaves_tombstones for page in pages):
                found.append(self._tombstones(children, pages, root["id"]))
            for name, columns in chain(*found):
                self._put(self._resource.children[name], columns)
        self._sequence += len(items)

    def _put(self, table: Table, columns: Columns, extras: Extras | None = None) -> Arrays:
        arrays = to_arrays(table, columns, extras)
        self._made.setdefault(table.name, []).append((len(next(iter(arrays.values()))), arrays))
        self.size += sum(array.nbytes for array in arrays.values())
        return arrays

    def _numbered(
        self, pages: Sequence[_Page], ids: Values, otids: Values | None
    ) -> tuple[list[int], list[int]]:
        positions: list[int] = []
        sequences: list[int] = []
        for page in pages:
            begin, end = len(positions), len(positions) + len(page.items)
            own = [None] * (end - begin) if otids is None else otids[begin:end]
            found = positions_and_sequence(ids[begin:end], own, self._sequence + begin)
            positions += found[0]
            sequences += found[1]
        return positions, sequences

    def _tombstones(
        self, children: Children, pages: Sequence[_Page], ids: Values
    ) -> Iterator[tuple[str, Columns]]:
        begin = 0
        for page in pages:
            places = range(begin, begin + len(page.items))
            begin = places.stop
            if page.leaves_tombstones:
                for name, columns in children.tombstones(ids, places):
                    if self._parent is not None:
                        columns[self._parent] = [page.parent_id] * len(columns["message_id"])
                    yield name, columns

    def _columns(self, group: Group) -> dict[str, Values]:
        columns: dict[str, Values] = {}
        for field, values in group.columns.items():
            if field in self._names:
                if field in self._json:
                    values = [to_json(without_credentials(field, value)) for value in values]
                columns[self._names[field]] = values
        return columns

    def _note_unknown(self, group: Group, parents: Sequence[str], extras: Extras) -> None:
        for field, values in group.columns.items():
            if field in self._known:
                continue
            for item, value in zip(group.places, values, strict=True):
                # Approval responses among a step's messages have no step_id.
                if not (field == self._parent and value in (parents[item], None)):
                    extras.setdefault(item, {})[field] = value

    def tables(self, load_id: str) -> list[tuple[str, pa.Table]]:
        """Return the rows so far, one pyarrow table for each table that has any, and start anew.

        Args:
            load_id: id of the load package, for `_dlt_load_id`.
        """
        if self._pages:
            self._flatten()
        made = [
            (table.name, table_of(table, self._made[table.name], load_id))
            for table in self._resource.tables
            if table.name in self._made
        ]
        self._clear()
        return made


def without_credentials(field: str, value: Any) -> Any:
    """Return `value` without the values of an agent's variables and secrets; their names stay."""
    if field not in _CREDENTIALS:
        return value
    if isinstance(value, list):
        return [without_credentials(field, entry) for entry in value]
    if not isinstance(value, dict):
        return None
    if value.keys() & {"key", "id"}:
        return {k: v for k, v in value.items() if k not in _CREDENTIAL_VALUES}
    # A mapping of names to values: the form used to create agents.
    return dict.fromkeys(value)


def positions_and_sequence(
    ids: Sequence[str], otids: Sequence[Any], first: int
) -> tuple[Sequence[int], Sequence[int]]:
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
