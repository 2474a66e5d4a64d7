"""A selection of a table's rows and columns, checked before anything is opened."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

from letta_source.errors import ConfigError
from letta_source.export.pairing import TOOL_CALLS
from letta_source.loading.error_text import assert_known
from letta_source.models.messages import MESSAGE_TYPES
from letta_source.schema.columns import DELETED, LOAD_ID, Column
from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.schema.tables import LOAD_ISSUES, Table
from letta_source.settings import Ids, Moment, validated


class Filters(BaseModel):
    """Filters of rows; empty or None selects all. Dates are parsed as in the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    agent_ids: Ids = ()
    start_date: Moment = None
    end_date: Moment = None
    message_types: Ids = ()

    @model_validator(mode="after")
    def _in_order(self) -> Filters:
        if self.start_date and self.end_date and self.start_date >= self.end_date:
            raise ValueError("start_date must be before end_date")
        return self


@dataclass(frozen=True)
class Selection:
    """Rows and columns of one table.

    Attributes:
        root: the table itself or its parent table, which has the dates and types.
        columns: columns of the result, in order; a list of structs for each child follows.
        children: child tables by name, such as `tool_calls`.
    """

    table: Table
    root: Table
    columns: tuple[Column, ...]
    children: Mapping[str, Table]
    filters: Filters

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of the result: its columns, then a list of structs for each child."""
        fields = [self.table.arrow_schema.field(column.name) for column in self.columns]
        return pa.schema(
            [*fields, *(pa.field(name, lists_of(child)) for name, child in self.children.items())]
        )

    @property
    def is_child(self) -> bool:
        """True if the table is a child of the root."""
        return self.table is not self.root

    @property
    def is_entity(self) -> bool:
        """True if the root holds agents, runs and the like, not messages."""
        return not self.root.merge_key and self.root not in (LOAD_ISSUES, TOOL_CALLS)


def select(
    table: str,
    columns: Sequence[str] | None = None,
    children: bool | Sequence[str] = False,
    **filters: Any,
) -> Selection:
    """Check the options and return the selection, before anything is opened.

    Args:
        columns: by default all except `_deleted`.
        children: names, or True for all.
        filters: fields of `Filters`; None counts as not given.

    Raises:
        ConfigError: there is no such table, column or child, or the table lacks the column to filter by.
    """
    tables = {one.name: one for one in (*all_tables(), TOOL_CALLS)}
    assert_known("table", [table], list(tables))
    resource = RESOURCES.get(table.partition("__")[0])
    root = resource.root if resource else tables[table]
    given: dict[str, Any] = {
        name: list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
        for name, value in filters.items()
        if value is not None
    }
    for name, value in given.items():
        # An empty value comes from an unset variable, or a search that found nothing.
        is_empty = isinstance(value, (str, list)) and not (value and all(value))
        if name in ("agent_ids", "message_types") and is_empty:
            raise ConfigError(f"{name} is empty: leave it out for all")
    selection = Selection(
        tables[table],
        root,
        _columns(tables[table], columns),
        _children((resource.children if resource else None) or {}, tables[table], children),
        validated(Filters, given),
    )
    _assert_filterable(selection)
    for name in selection.filters.message_types:
        _assert_message_type(name)
    return selection


def _assert_message_type(name: str) -> None:
    """Refuse a type that is nearly a known one; a newer server may send others."""
    if name in MESSAGE_TYPES:
        return
    long = f"{name}_message"
    near = [long] if long in MESSAGE_TYPES else difflib.get_close_matches(name, MESSAGE_TYPES, 1, 0.8)
    if near:
        raise ConfigError(f"unknown message type {name!r}: did you mean {near[0]}?")


def child_columns(child: Table) -> tuple[Column, ...]:
    """Return a child's columns for the structs: those that its parent does not have."""
    left_out = {*child.primary_key, DELETED.name, LOAD_ID.name}
    return tuple(column for column in child.columns if column.name not in left_out)


def lists_of(child: Table) -> pa.ListType:
    """Return the type of a column that holds a child's rows."""
    fields = [child.arrow_schema.field(column.name) for column in child_columns(child)]
    return pa.list_(pa.struct(fields))


Via = tuple[str, str, str]
"""A column, the table that it references, and the column of that table."""


def agent_of(root: Table) -> str | Via | None:
    """Return the column that names the agent of a table's rows, or the way to it, or None."""
    if root is TOOL_CALLS:
        return "agent_id"
    card = RESOURCES.get(root.name)
    return _found(root, card.agent_column, card.agent_via) if card else None


def date_of(root: Table) -> str | Via | None:
    """Return the column that dates a table's rows, or the way to it, or None."""
    if root is TOOL_CALLS:
        return "called_at"
    card = RESOURCES.get(root.name)
    return _found(root, "created_at", card.date_via) if card else None


def _found(root: Table, name: str, via: str | None) -> str | Via | None:
    columns = {column.name: column for column in root.columns}
    if via and (references := columns[via].references):
        other = references.partition(".")[0]
        return via, other, name
    return name if name in columns else None


def _columns(table: Table, names: Sequence[str] | None) -> tuple[Column, ...]:
    by_name = {column.name: column for column in table.columns}
    if names is None:
        return tuple(column for column in table.columns if column.name != DELETED.name)
    names = _listed("columns", names)
    if not names:
        raise ConfigError("columns is empty: leave it out for all")
    assert_known(f"column of {table.name}", names, list(by_name))
    return tuple(by_name[name] for name in dict.fromkeys(names))


def _children(known: Mapping[str, Table], table: Table, asked: bool | Iterable[str]) -> dict[str, Table]:
    if asked is False or asked is None:
        return {}
    if not known or table in known.values():
        raise ConfigError(f"{table.name} has no child tables: leave out children")
    if asked is True:
        return dict(known)
    names = _listed("children", asked)
    assert_known(f"child of {table.name}", names, list(known))
    return {name: known[name] for name in dict.fromkeys(names)}


def _listed(option: str, names: Any) -> list[Any]:
    """Return names as a list; pandas' own lists have no truth value."""
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Iterable):
        raise ConfigError(f"{option} must be texts in a list, not {names!r}")
    return list(names)


def _assert_filterable(selection: Selection) -> None:
    root, filters = selection.root, selection.filters
    if filters.agent_ids and not agent_of(root):
        raise ConfigError(f"{root.name} cannot be limited to agents: its rows name none")
    if (filters.start_date or filters.end_date) and not date_of(root):
        raise ConfigError(f"{root.name} cannot be limited by date: its rows have no created_at")
    if filters.message_types and all(column.name != "message_type" for column in root.columns):
        raise ConfigError(f"{root.name} cannot be limited to types: its rows have no message_type")
