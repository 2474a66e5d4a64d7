"""Turn objects of a message's lists into rows of the child tables, whatever their form. Pure functions.

Each function takes a group of objects of one shape and yields pieces: columns of rows of the child table,
with a flag that is True if these columns hold everything that was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from letta_source.models import (
    ContentPart,
    ImageSource,
    MessageToolReturn,
    OpenAIFunction,
    OpenAIToolCall,
)
from letta_source.rows.shapes import (
    Group,
    Values,
    by_shape,
    is_empty,
    nested,
    rows_of,
    shapes_of,
    types_of,
    uniform,
)
from letta_source.safe_text import MAX_DEPTH, parse_json, to_json
from letta_source.schema.columns import ARGUMENTS_JSON
from letta_source.schema.tables import CHILDREN
from letta_source.schema.wire import columns_of, fields_of, kinds_of, models_of

_COLUMNS = {child: {column.name for column in columns} for child, (_, columns) in CHILDREN.items()}
_TOOL_CALL = _COLUMNS["tool_calls"] - {ARGUMENTS_JSON.name}
_OPENAI_TOOL_CALL = {field: column.name for field, column in fields_of(OpenAIToolCall).items()}
_FUNCTION = set(fields_of(OpenAIFunction))
_RENAMED_RETURN = {field: c.name for field, c in fields_of(MessageToolReturn).items() if field != c.name}
_TOOL_RETURN = _COLUMNS["tool_returns"]
_APPROVAL = _COLUMNS["approvals"]
_IMAGE_SOURCE = {column.name for column in columns_of(ImageSource) if column.field == column.name} - {"type"}
_PARTS = {kind: fields_of(part) for part in models_of(ContentPart) for kind in kinds_of(part, "type")}
_CONTENT_PART = {
    field
    for fields in _PARTS.values()
    for field, column in fields.items()
    if field == column.name and column.type != "json"
}
# By part type: fields whose column has another name, and the field that is a json column.
_RENAMED = {kind: {f: c.name for f, c in fields.items() if f != c.name} for kind, fields in _PARTS.items()}
_JSON = {kind: f for kind, fields in _PARTS.items() for f, c in fields.items() if c.type == "json"}
# Part types with fields that are not simply copied to the column of their name.
_SPECIAL = {"image", *(kind for kind, renamed in _RENAMED.items() if renamed), *_JSON}
# Boolean columns.
_IS = [column.name for column in CHILDREN["content"][1] if column.type == "bool"]
_FLAGS = {bool, type(None)}


class Piece(NamedTuple):
    """Rows of a child table.

    Attributes:
        places: indexes of the objects that the rows come from.
        columns: values by column name.
        whole: True if the columns hold everything in these objects.
    """

    places: Sequence[int]
    columns: dict[str, Values]
    whole: bool


Shape = Callable[[Group], Iterator[Piece]]


def pieces_of(objects: Sequence[Any], shape: Shape) -> Iterator[Piece]:
    """Yield rows for objects of any shape; a value that is not an object is an empty row, not whole."""
    known: Sequence[int] = range(len(objects))
    if types_of(objects) != {dict}:
        others = [place for place, one in enumerate(objects) if not isinstance(one, dict)]
        yield Piece(others, {}, False)
        known = [place for place, one in enumerate(objects) if isinstance(one, dict)]
        objects = [objects[place] for place in known]
    for places, columns in by_shape(objects):
        yield from shape(Group([known[at] for at in places], columns))


def tool_calls(group: Group) -> Iterator[Piece]:
    """Yield tool calls in Letta's form, or in OpenAI's (batch messages); deltas may lack fields."""
    functions = group.columns.get("function")
    for part in uniform(group, [shapes_of(functions)] if functions else []):
        columns = part.columns
        if functions and isinstance(columns["function"][0], dict):
            function = nested(columns["function"])
            known = columns.keys() - {"function"} <= _OPENAI_TOOL_CALL.keys() and function.keys() <= _FUNCTION
            row = {
                _OPENAI_TOOL_CALL[name]: values
                for name, values in columns.items()
                if name in _OPENAI_TOOL_CALL
            }
            row |= _select(_FUNCTION, function)
        else:
            known = columns.keys() <= _TOOL_CALL
            row = _select(_TOOL_CALL, columns)
        yield Piece(part.places, _with_arguments(row), known)


def _select(names: Collection[str], columns: dict[str, Values]) -> dict[str, Values]:
    return {name: values for name, values in columns.items() if name in names}


def _with_arguments(row: dict[str, Values]) -> dict[str, Values]:
    sent = row.get("arguments")
    if sent is None:
        return row
    if types_of(sent) == {str}:
        return {**row, "arguments_json": [valid_json(text) for text in sent]}
    texts = [one if isinstance(one, str) else to_json(one) for one in sent]
    made = [valid_json(one) if isinstance(one, str) else text for one, text in zip(sent, texts, strict=True)]
    return {**row, "arguments": texts, "arguments_json": made}


def valid_json(text: str) -> str | None:
    """Return `text` as JSON that every warehouse accepts, rewritten if needed; None if it is not JSON."""
    try:
        orjson.loads(text)
        if "\\u0000" not in text and text.count("[") + text.count("{") <= MAX_DEPTH:
            return text
    except ValueError:
        # orjson rejects lone surrogates, too.
        pass
    try:
        return to_json(parse_json(text.encode(errors="surrogatepass")))
    except ValueError:
        return None


def tool_returns(group: Group) -> Iterator[Piece]:
    """Yield tool returns; batch messages call the text `func_response`."""
    yield _tool_return(group, _TOOL_RETURN)


def approvals(group: Group) -> Iterator[Piece]:
    """Yield answers to approval requests, or returns of tools that the caller ran."""
    approve = group.columns.get("approve")
    for part in uniform(group, [_are_flags(approve)] if approve else []):
        piece = _tool_return(part, _APPROVAL)
        if approve and type(part.columns["approve"][0]) not in _FLAGS:
            del piece.columns["approve"]
            piece = piece._replace(whole=False)
        yield piece


def _are_flags(flags: Values) -> list[bool]:
    return [type(flag) in _FLAGS for flag in flags]


def _tool_return(group: Group, names: set[str]) -> Piece:
    columns = group.columns
    for field, column in _RENAMED_RETURN.items():
        if field in columns and column not in columns:
            columns = {column: columns[field], **columns}
            del columns[field]
    row = _select(names, columns)
    for stream in ("stdout", "stderr"):
        if stream in row:
            row[stream] = as_json(row[stream])
    return Piece(group.places, row, columns.keys() <= names)


def as_json(values: Values) -> Values:
    """Return each value as JSON text; None stays None."""
    return values if is_empty(values) else [to_json(value) for value in values]


def content_parts(group: Group) -> Iterator[Piece]:
    """Yield content parts with their own `extra`, so that the rows are always whole."""
    columns = group.columns
    aspects: list[Sequence[Any]] = [_are_flags(columns[name]) for name in _IS if name in columns]
    if "type" in columns:
        aspects.append(
            [kind if isinstance(kind, str) and kind in _SPECIAL else None for kind in columns["type"]]
        )
    if "source" in columns:
        aspects.append(shapes_of(columns["source"]))
    for part in uniform(group, aspects):
        yield Piece(part.places, _content_part(part.columns), True)


def _content_part(sent: dict[str, Values]) -> dict[str, Values]:
    """Return the rows of parts that are alike in all aspects."""
    row = _select(_CONTENT_PART, sent)
    unknown = {name: values for name, values in sent.items() if name not in row}
    kind = sent["type"][0] if "type" in sent and isinstance(sent["type"][0], str) else None
    if kind == "image" and isinstance(unknown.get("source", (None,))[0], dict):
        row |= _image_source(unknown, row)
    for field, column in _RENAMED.get(kind or "", {}).items():
        if field in unknown and column not in row:
            row[column] = unknown.pop(field)
    if kind in _JSON and _JSON[kind] in unknown:
        row[_JSON[kind]] = as_json(unknown.pop(_JSON[kind]))
    for name in _IS:
        if name in row and type(row[name][0]) not in _FLAGS:
            unknown[name] = row.pop(name)
    if unknown:
        row["extra"] = [to_json(one) for one in rows_of(unknown)]
    return row


def _image_source(unknown: dict[str, Values], taken: Collection[str]) -> dict[str, Values]:
    """Return the columns of image sources; fields without a column stay in `unknown`."""
    source = nested(unknown.pop("source"))
    names = _IMAGE_SOURCE - set(taken)
    beyond = {name: values for name, values in source.items() if name not in names and name != "type"}
    if beyond:
        unknown["source"] = rows_of(beyond)
    row = _select(names, source)
    return {**row, "source_type": source["type"]} if "type" in source else row


def search_result(sent: Any) -> Any:
    """Return a hit as its message with the ranks; some servers send only the id, as `message_id`."""
    if not isinstance(sent, dict):
        return sent
    message = sent.get("message")
    if isinstance(message, dict):
        beside = {k: v for k, v in sent.items() if k != "message"}
        taken = {k: v for k, v in beside.items() if k in message}
        return {**beside, **message, **({"search_result": taken} if taken else {})}
    if "id" in sent:
        return sent
    return {"id": sent.get("message_id"), **{k: v for k, v in sent.items() if k != "message_id"}}
