"""A page of plain messages to tables: what `rows.flatten` makes of its items, column by column."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from letta_source.rows.arrow import table_of
from letta_source.rows.children import parsing, positions, sequences
from letta_source.rows.columnar import Columnar
from letta_source.safe_text import to_json
from letta_source.schema.tables import Resource

Arrays = dict[str, pa.Array]


def to_tables(resource: Resource, page: Columnar, parent_id: str, sequence: int) -> dict[str, pa.Table]:
    """The page as a table, `_dlt_load_id` left out, for each that it fills; by name.

    Args:
        sequence: of the first row.
    """
    assert resource.children is not None
    sent = page.array
    fields = {field.name: sent.field(field.name) for field in sent.type if field.type != pa.null()}
    found = positions(page.ids, fields["otid"].to_pylist())
    root: Arrays = {c.name: fields[c.field] for c in resource.root.columns if c.field in fields}
    root |= {
        "position": pa.array(found, pa.int64()),
        "sequence": pa.array(sequences(page.ids, found, sequence), pa.int64()),
        "created_at": page.times,
        "text": fields["content"],
    }
    key = {"message_id": root["id"], "position": root["position"]}
    if resource.parent is not None:
        root[resource.parent.name] = key[resource.parent.name] = pa.repeat(parent_id, len(sent))
    rows = {resource.root.name: table_of(resource.root, root)}
    for name, arrays in (
        ("content", _content(fields["content"], key)),
        ("tool_calls", _tool_calls(fields["tool_calls"], key)),
        ("tool_returns", _tool_returns(fields["tool_returns"], key)),
    ):
        if len(arrays["message_id"]):
            table = resource.children[name]
            rows[table.name] = table_of(table, arrays)
    return rows


def _content(texts: pa.StringArray, key: Arrays) -> Arrays:
    """A text is a content of one part."""
    has = texts.is_valid()
    rows: Arrays = {name: array.filter(has) for name, array in key.items()}
    count = len(rows["position"])
    rows |= {"idx": pa.repeat(pa.scalar(0, pa.int64()), count), "type": pa.repeat("text", count)}
    return {**rows, "text": texts.drop_null()}


def _tool_calls(lists: pa.ListArray, key: Arrays) -> Arrays:
    rows, sent = _elements(lists, key)
    arguments: list[str] = sent.field("arguments").to_pylist()
    return {**rows, "arguments_json": pa.array([parsing(one) for one in arguments], pa.string())}


def _tool_returns(lists: pa.ListArray, key: Arrays) -> Arrays:
    rows, _ = _elements(lists, key)
    return {**rows, "stdout": _as_json(rows["stdout"]), "stderr": _as_json(rows["stderr"])}


def _elements(lists: pa.ListArray, key: Arrays) -> tuple[Arrays, pa.StructArray]:
    """A row for each element of the lists, and the elements."""
    parents, sent = pc.list_parent_indices(lists), lists.flatten()
    rows: Arrays = {name: array.take(parents) for name, array in key.items()}
    rows |= {field.name: sent.field(at) for at, field in enumerate(sent.type)}
    lengths = pc.list_value_length(lists)
    numbers = [at for n in lengths.filter(pc.greater(lengths, 0)).to_pylist() for at in range(n)]
    return {**rows, "idx": pa.array(numbers, pa.int64())}, sent


def _as_json(lists: pa.ListArray) -> pa.StringArray:
    if not len(lists.flatten()):
        return pc.if_else(lists.is_valid(), "[]", pa.scalar(None, pa.string()))
    return pa.array([to_json(one) for one in lists.to_pylist()], pa.string())
