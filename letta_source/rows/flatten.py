"""Items as the API sends them, gathered into columns. Pure: no HTTP, no dlt.

Nothing is dropped: a field without a column, and a value that fits no column, lands in its row's `extra`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from letta_source.items import id_of
from letta_source.rows import children as shapes
from letta_source.rows.arrow import to_arrow, with_load_id
from letta_source.rows.columnar import Columnar
from letta_source.rows.columnar_tables import to_tables
from letta_source.safe_text import to_json
from letta_source.schema.columns import DELETED, EXTRA, LOAD_ID, POSITION, SEQUENCE
from letta_source.schema.tables import CHILDREN, Resource

if TYPE_CHECKING:
    import pyarrow as pa

Item = dict[str, Any]

# Deprecated doubles of tool_calls[] and tool_returns[].
_SINGULARS = {"tool_call", "tool_return", "status", "tool_call_id", "stdout", "stderr"}
# An agent's variables and secrets hold its owner's credentials.
_CREDENTIALS = {"tool_exec_environment_variables", "secrets"}
_CREDENTIAL_VALUES = {"value", "value_enc"}


class Rows:
    """Rows of one resource, gathered page by page.

    Args:
        resource: whose tables they are.
        tombstones: whether messages that are read again get a row, marked as deleted, in each child table
            they no longer fill, so that the merge takes out what was there.
        sequence: of the first row.
    """

    def __init__(self, resource: Resource, tombstones: bool, sequence: int = 0) -> None:
        self._resource = resource
        self.tombstones = tombstones
        self._sequence = sequence
        self._parent = resource.parent.name if resource.parent else None
        self._has_children = resource.children is not None
        computed = {self._parent, POSITION.name, SEQUENCE.name, "text", EXTRA.name, LOAD_ID.name}
        if not self._has_children:
            computed -= {"text"}
        self._plain = [(c.name, c.field, c.type) for c in resource.root.columns if c.name not in computed]
        fields = {field for _, field, _ in self._plain}
        if self._has_children:
            self._singulars = _SINGULARS - fields
            fields |= {"content", "tool_calls", "tool_returns", "approvals"} | _SINGULARS
        self._fields = frozenset(fields)
        self._clear()

    def _clear(self) -> None:
        self.count = 0
        self._made: dict[str, list[pa.Table]] = {}
        self._columns: dict[str, dict[str, list[Any]]] = {
            table.name: {c.name: [] for c in table.columns if c.name != LOAD_ID.name}
            for table in self._resource.tables
        }

    def add(self, items: Sequence[Item], parent_id: str = "", read_again: bool = False) -> None:
        """Adds a page of items that `split_page` let through, all those of one message id together."""
        self.count += len(items)
        sequence = self._sequence
        self._sequence += len(items)
        if isinstance(items, Columnar) and not (read_again and self.tombstones):
            for name, rows in to_tables(self._resource, items, parent_id, sequence).items():
                self._made.setdefault(name, []).append(rows)
            return
        root = self._columns[self._resource.root.name]
        if self._parent is not None:
            root[self._parent].extend([parent_id] * len(items))
        for name, field, type_ in self._plain:
            values = [item.get(field) for item in items]
            if type_ == "json":
                values = [to_json(without_credentials(field, value)) for value in values]
            root[name].extend(values)
        if self._has_children:
            self._add_messages(items, parent_id, read_again, sequence)
        else:
            root[EXTRA.name].extend([self._extra(item, {}, parent_id) for item in items])

    def _add_messages(self, items: Sequence[Item], parent_id: str, read_again: bool, sequence: int) -> None:
        root = self._columns[self._resource.root.name]
        children = _Children()
        ids = [item["id"] for item in items]
        positions = shapes.positions(ids, [item.get("otid") for item in items])
        for item, position in zip(items, positions, strict=True):
            text, unknown = children.add(item, position)
            if not self._singulars.isdisjoint(item):
                unknown |= _unrepeated(item, self._singulars)
            root["text"].append(text)
            root[EXTRA.name].append(self._extra(item, unknown, parent_id))
        root[POSITION.name].extend(positions)
        root[SEQUENCE.name].extend(shapes.sequences(ids, positions, sequence))
        if read_again and self.tombstones:
            children.bury(set(ids))
        for name, table in (self._resource.children or {}).items():
            columns, rows = self._columns[table.name], children.rows[name]
            if self._parent is not None:
                columns[self._parent].extend([parent_id] * len(rows))
            own = [column for column in columns if column != self._parent]
            for column in own:
                columns[column].extend([row.get(column) for row in rows])

    def _extra(self, item: Item, unknown: Mapping[str, Any], parent_id: str) -> str | None:
        if item.keys() <= self._fields and not unknown:
            return None
        beyond = {
            k: v
            for k, v in item.items()
            # Steps' answers to requests for approval name no step.
            if k not in self._fields and not (k == self._parent and v in (parent_id, None))
        }
        return to_json({**beyond, **unknown} or None)

    def tables(self, load_id: str) -> list[tuple[str, pa.Table]]:
        """The rows so far, as a pyarrow table for each table that has any; then starts anew.

        Args:
            load_id: of the load package, for `_dlt_load_id`.
        """
        for table in self._resource.tables:
            columns = self._columns[table.name]
            if columns[table.merge_key[-1] if table.merge_key else "id"]:
                self._made.setdefault(table.name, []).append(to_arrow(table, columns))
        made = [(name, with_load_id(parts, load_id)) for name, parts in self._made.items()]
        self._clear()
        return made


class _Children:
    """Rows of the child tables of one page."""

    def __init__(self) -> None:
        self.rows: dict[str, list[shapes.Row]] = {name: [] for name in CHILDREN}

    def add(self, item: Item, position: int) -> tuple[str | None, dict[str, Any]]:
        """Adds the children of one item.

        Returns:
            The readable text, and by field what the children's columns could not hold whole.
        """
        unknown: dict[str, Any] = {}
        content = item.get("content")
        text = self._add_content(content, item["id"], position) if content is not None else None
        for name, sent, shape in (
            ("tool_calls", _tool_calls(item), shapes.tool_call),
            ("tool_returns", _tool_returns(item), shapes.tool_return),
            ("approvals", _approvals(item), shapes.approval),
        ):
            if sent:
                shaped = [shape(one) for one in sent]
                self._append(name, item["id"], position, [row for row, _ in shaped])
                if not all(whole for _, whole in shaped):
                    unknown[name] = sent
        return text, unknown

    def _add_content(self, content: Any, message_id: str, position: int) -> str | None:
        if isinstance(content, str):
            self._append("content", message_id, position, [{"type": "text", "text": content}])
            return content
        rows = [shapes.content_part(part) for part in shapes.listed(content)]
        self._append("content", message_id, position, rows)
        texts = [
            row["text"] for row in rows if row.get("type") == "text" and isinstance(row.get("text"), str)
        ]
        return "\n".join(texts) if texts else None

    def _append(self, name: str, message_id: str, position: int, rows: Iterable[shapes.Row]) -> None:
        self.rows[name].extend(
            {**row, "message_id": message_id, "position": position, "idx": idx}
            for idx, row in enumerate(rows)
        )

    def bury(self, message_ids: Iterable[str]) -> None:
        """Adds a tombstone for each message to each table that it has no row in."""
        for rows in self.rows.values():
            filled = {row["message_id"] for row in rows}
            rows.extend(
                {"message_id": message_id, "position": -1, "idx": -1, DELETED.name: True}
                for message_id in message_ids
                if message_id not in filled
            )


def _tool_calls(item: Item) -> Sequence[Any]:
    return shapes.listed(item.get("tool_calls")) or shapes.listed(item.get("tool_call"))


def _tool_returns(item: Item) -> Sequence[Any]:
    sent = shapes.listed(item.get("tool_returns"))
    if sent or item.get("tool_return") is None:
        return sent
    return [{name: item[name] for name in _SINGULARS & item.keys() if name != "tool_call"}]


def _unrepeated(item: Item, singulars: set[str]) -> Item:
    """Those singulars that say what the first of the plural does not, as where there is no plural."""
    call, returned = (next(iter(sent), None) for sent in (_tool_calls(item), _tool_returns(item)))
    repeated = {**(returned if isinstance(returned, dict) else {}), "tool_call": call}
    return {k: item[k] for k in singulars & item.keys() if item[k] not in (None, repeated.get(k))}


def _approvals(item: Item) -> Sequence[Any]:
    sent = shapes.listed(item.get("approvals"))
    if sent or item.get("approve") is None:
        return sent
    return [shapes.singular_approval(item)]


class Nameless(NamedTuple):
    """Elements of a page that cannot be rows, and the ids they stand between; empty at the page's ends."""

    elements: list[Any]
    after_id: str
    before_id: str


def split_page(page: Iterable[Any]) -> tuple[Sequence[Item], list[Nameless]]:
    """Those elements that can be rows, and those that cannot: no objects, or without an id."""
    if isinstance(page, Columnar):
        return page, []
    items: list[Item] = []
    others: dict[int, list[Any]] = {}
    for element in page:
        if id_of(element) is None:
            others.setdefault(len(items), []).append(element)
        else:
            items.append(element)
    ids = ["", *(item["id"] for item in items), ""]
    return items, [Nameless(elements, ids[at], ids[at + 1]) for at, elements in others.items()]


def without_credentials(field: str, value: Any) -> Any:
    """`value` without what an agent's variables and secrets hold; their names stay."""
    if field not in _CREDENTIALS:
        return value
    if isinstance(value, list):
        return [without_credentials(field, entry) for entry in value]
    if not isinstance(value, dict):
        return None
    if value.keys() & {"key", "id"}:
        return {k: v for k, v in value.items() if k not in _CREDENTIAL_VALUES}
    # Values by name: the form in which agents are created.
    return dict.fromkeys(value)
