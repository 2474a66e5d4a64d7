"""Columns for the API's fields, derived from `letta_source.models`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from letta_source.models.marks import TIME, AsColumn, AsColumns, AsRows, LeftOut, Repeated, Type
from letta_source.schema.columns import Column

Model = type[BaseModel]
Mark = AsColumn | AsColumns | AsRows | LeftOut | Repeated

_TYPES: dict[Any, Type] = {str: "text", bool: "bool", int: "bigint", float: "double"}


def models_of(shape: Any) -> tuple[Model, ...]:
    """Return the models of a union, in order; a single model is returned alone."""
    if isinstance(shape, type):
        return (shape,) if issubclass(shape, BaseModel) else ()
    members = get_args(shape)[:1] if get_origin(shape) is Annotated else get_args(shape)
    return tuple(dict.fromkeys(model for member in members for model in models_of(member)))


def columns_of(shape: Any, computed: Mapping[str, Column] | None = None) -> tuple[Column, ...]:
    """Return the columns of a model or a union of models: each once, in order of first occurrence.

    Args:
        computed: Columns computed from a field's value, by field; each is placed where the field occurs.

    Raises:
        TypeError: A text or json field has no mark that says whether it is content.
    """
    found: dict[str, Column] = {}
    kinds: dict[str, dict[tuple[str, ...], None]] = {}
    for model in models_of(shape):
        for field, info in _fields(model):
            if wire := _column(model, field, info):
                found.setdefault(wire.name, wire)
                if kind := _literals(info.annotation):
                    kinds.setdefault(wire.name, {})[kind] = None
            if made := (computed or {}).get(field):
                found.setdefault(made.name, made)
    for name, alternatives in kinds.items():
        if len(alternatives) > 1:
            # The field tells the models of a union apart: each has its own values.
            values = dict.fromkeys(value for kind in alternatives for value in kind)
            found[name] = replace(found[name], description=f"One of: {', '.join(values)}.")
    return tuple(found.values())


def fields_of(model: Model) -> dict[str, Column]:
    """Map each field of a model that has a column of its own to that column."""
    columns = {field: _column(model, field, info) for field, info in model.model_fields.items()}
    return {field: column for field, column in columns.items() if column}


def kinds_of(model: Model, field: str) -> tuple[str, ...]:
    """Return the values of the field that tells a model from the others of its union."""
    info = model.model_fields.get(field)
    return _literals(info.annotation) if info else ()


def repeated_fields(shape: Any) -> set[str]:
    """Return the fields that repeat the first entry of a list."""
    return _marked(shape, Repeated)


def left_out_fields(shape: Any) -> set[str]:
    """Return the fields that are not stored."""
    return _marked(shape, LeftOut)


def _marked(shape: Any, mark: type[Mark]) -> set[str]:
    return {
        field
        for model in models_of(shape)
        for field, info in model.model_fields.items()
        if isinstance(_mark(info), mark)
    }


def has_rows(shape: Any) -> bool:
    """Return True if a field is stored in a child table."""
    return any(isinstance(_mark(info), AsRows) for model in models_of(shape) for _, info in _fields(model))


def _fields(model: Model) -> Iterator[tuple[str, FieldInfo]]:
    for field, info in model.model_fields.items():
        if isinstance(_mark(info), AsColumns):
            for inner in models_of(info.annotation):
                yield from _fields(inner)
        else:
            yield field, info


def _column(model: Model, field: str, info: FieldInfo) -> Column | None:
    mark = _mark(info)
    if mark is not None and not isinstance(mark, AsColumn):
        return None
    type_ = (mark and mark.type) or _type(info)
    if mark is None:
        if type_ in ("text", "json"):
            raise TypeError(f"{model.__name__}.{field}: mark whether it is content")
        mark = AsColumn(content=False)
    return Column(
        mark.name or field,
        type_,
        info.description or "",
        source=field if mark.name else None,
        content=mark.content,
        secret=mark.secret,
        references=mark.references,
    )


def _mark(info: FieldInfo) -> Mark | None:
    return next((mark for mark in info.metadata if isinstance(mark, Mark)), None)


def _type(info: FieldInfo) -> Type:
    members = _members(info.annotation)
    if TIME in info.metadata or any(TIME in get_args(member) for member in members):
        return "timestamp"
    if len(members) == 1 and members[0] in _TYPES:
        return _TYPES[members[0]]
    return "text" if members and all(get_origin(one) is Literal for one in members) else "json"


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union except None."""
    union = get_origin(annotation) in (Union, UnionType)
    return [one for one in (get_args(annotation) if union else (annotation,)) if one is not NoneType]


def _literals(annotation: Any) -> tuple[str, ...]:
    return tuple(
        value for one in _members(annotation) if get_origin(one) is Literal for value in get_args(one)
    )
