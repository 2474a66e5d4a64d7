"""Mask rows: remove what must not be stored, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from letta_source.arrays import text_array
from letta_source.errors import ConfigError, FatalError
from letta_source.items import Item
from letta_source.rows.images import Images
from letta_source.safe_text import clean, parse_json, to_json, visible
from letta_source.schema.card import Resource
from letta_source.schema.columns import DELETED, EXTRA, GONE, SEQUENCE, Column
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES, Table
from letta_source.settings import MaskAction, Settings
from letta_source.settings.given import keyed_hash
from letta_source.settings.masking import Masking, in_force

_Masking = Callable[[str], str | None]

REDACTED = "[redacted]"
_NEW_FIELDS_CHARS = 300
CONTENT = "content"
"""Stands for every column marked as content: messages, reasoning, tool calls, tool results and the like."""
# Both columns hold the same data and are masked together.
_DOUBLES = {"arguments": ("arguments_json",), "arguments_json": ("arguments",)}


class Mask:
    """Masks the tables of one resource, and load_issues.

    If any column of a resource is masked, its `extra` is dropped unless named: unknown fields may hold the
    same data. So may an object or a list in a column of text that is not content, such as `status`: it is
    masked as `extra` is.
    """

    def __init__(self, resource: Resource, settings: Settings) -> None:
        self._root = resource.root
        self._key = settings.mask_key
        self._images = Images(settings.images, self._key) if settings.images != "keep" else None
        named = {table.name: actions_of(settings.masking, resource.name, table) for table in resource.tables}
        if any(how != "keep" for hows in named.values() for how in hows.values()):
            for table in resource.tables:
                if EXTRA in table.columns:
                    named[table.name].setdefault(EXTRA.name, "drop")
        if settings.schema_contract == "discard_value":
            for table in resource.tables:
                named[table.name][EXTRA.name] = "drop"
        self._is_frozen = settings.schema_contract == "freeze"
        named[LOAD_ISSUES.name] = actions_of(settings.masking, LOAD_ISSUES.name, LOAD_ISSUES)
        self._by_table = {
            table.name: [
                (column, self._masking(named[table.name][column.name]))
                for column in table.columns
                if named[table.name].get(column.name, "keep") != "keep"
            ]
            for table in (*resource.tables, LOAD_ISSUES)
        }
        self._of_misfits = {
            table.name: self._masking(how)
            for table in resource.tables
            if (how := named[table.name].get(EXTRA.name, named[self._root.name].get(EXTRA.name, "keep")))
            != "keep"
        }
        self._texts = {
            table.name: [
                column
                for column in table.columns
                if column.type == "text" and column.nullable and not column.content
                if column.name not in named[table.name]
            ]
            for table in resource.tables
        }
        # `Images` has handled images already: only a mask that names data or url changes them again.
        self._spares_images = self._images is not None and not any(
            name.rpartition(".")[2] in ("data", "url") for name in settings.mask
        )

    def _masking(self, how: MaskAction) -> _Masking:
        if callable(how):
            return _checked(how)
        return {"drop": _drop, "redact": _redact, "hash": self._hash}[how]

    def _hash(self, text: str) -> str:
        return keyed_hash(self._key, text.encode())

    def table(self, name: str, rows: pa.Table) -> pa.Table:
        """Return the masked rows of one table; the schema stays the same."""
        if self._is_frozen:
            _assert_no_new_fields(name, rows)
        if self._images:
            rows = self._images.without(rows)
        shown = rows
        for column, masking in self._by_table[name]:
            at = rows.schema.get_field_index(column.name)
            masked = _masked(column, rows.column(at), masking)
            if self._spares_images and column.name in ("data", "url"):
                is_image = pc.equal(rows.column("type"), "image")
                masked = pc.if_else(pc.fill_null(is_image, False), rows.column(at), masked)
            shown = shown.set_column(at, rows.schema.field(at), masked)
        return self._without_misfits(name, shown)

    def _without_misfits(self, name: str, rows: pa.Table) -> pa.Table:
        """Mask objects and lists in columns of text that are not content, and that no mask names."""
        if (masking := self._of_misfits.get(name)) is None:
            return rows
        for column in self._texts[name]:
            at = rows.schema.get_field_index(column.name)
            begins = pc.match_substring_regex(rows.column(at), r"^\s*[\[{]")
            if pc.any(begins).as_py():
                texts = [
                    masking(text) if text is not None and _is_nested(text) else text
                    for text in rows.column(at).to_pylist()
                ]
                rows = rows.set_column(at, rows.schema.field(at), pa.chunked_array([text_array(texts)]))
        return rows

    def hidden(self, table: str) -> frozenset[str]:
        """Return the columns of a table that are masked."""
        return frozenset(column.name for column, _ in self._by_table[table])

    def item(self, item: Item) -> Item:
        """Return an item of the root table with its fields masked; unknown fields are masked as `extra`."""
        name = self._root.name
        maskings = {column.name: masking for column, masking in self._by_table[name]}
        known = {column.field: column for column in self._root.columns}
        shown: Item = {}
        for field, value in item.items():
            of_extra = field not in known or (
                isinstance(value, (dict, list)) and known[field] in self._texts[name]
            )
            masking = self._of_misfits.get(name) if of_extra else maskings.get(known[field].name)
            shown[field] = value if masking is None or value is None else masking(_as_text(value))
        return shown

    def detail(self, text: str) -> str | None:
        """Return the masked `detail` of a load issue: servers quote what they were sent."""
        for column, masking in self._by_table[LOAD_ISSUES.name]:
            if column.name == "detail":
                return masking(text)
        return text


def _assert_no_new_fields(table: str, rows: pa.Table) -> None:
    """Check that every field has a column, which means that `extra` is empty.

    Raises:
        FatalError: some have none; the message names them.
    """
    if EXTRA.name not in rows.column_names or rows.column(EXTRA.name).null_count == rows.num_rows:
        return
    fields: set[str] = set()
    for text in rows.column(EXTRA.name).drop_null().to_pylist():
        found = parse_json(text.encode())
        fields.update(found if isinstance(found, dict) else ["extra"])
    told = visible(", ".join(sorted(fields)))[:_NEW_FIELDS_CHARS]
    raise FatalError(
        f"{table}: fields without a column: {told}. schema_contract is freeze: mask or review them, then"
        " set it to evolve, or to discard_value to leave them out"
    )


def check_mask(settings: Settings) -> None:
    """Check that every entry of `mask` can be applied.

    Raises:
        ConfigError: a name is unknown, its column identifies rows, or the column can only be dropped.
    """
    for resource, table in _every_table():
        actions_of(settings.masking, resource, table)
    for name, how in settings.mask.items():
        found = [
            (table, column)
            for resource, table in _every_table()
            for column in table.columns
            if name in _names(resource, table, column)
        ]
        if not found:
            known = {
                one
                for resource, table in _every_table()
                for c in table.columns
                for one in _names(resource, table, c)
            }
            raise ConfigError(f"mask: there is no column {name!r}: {_meant(name, known)}")
        for table, column in found:
            if not column.nullable or column in (DELETED, GONE, SEQUENCE):
                raise ConfigError(
                    f"mask: {table.name}.{column.name} identifies rows, so it cannot be masked; "
                    f"other tables' can be named, as TABLE.{column.name}"
                )
            if column.type not in ("text", "json") and how not in ("drop", "keep"):
                raise ConfigError(f"mask: {table.name}.{column.name} holds no text: it can only be dropped")


def _meant(name: str, known: Collection[str]) -> str:
    """Return a hint for a name that no column has."""
    if name == "images":
        return "it is a setting of its own, as in --images drop"
    if name in {one for resource, table in _every_table() for one in (resource, table.name)}:
        covers = (
            f", or {name}.{CONTENT} for all that can quote people" if f"{name}.{CONTENT}" in known else ""
        )
        return f"it is a table; name its columns as {name}.COLUMN{covers}"
    near = get_close_matches(name.lower(), sorted(known), n=1)
    return f"did you mean {near[0]}?" if near else "`letta-source discover` lists them"


def _every_table() -> Iterator[tuple[str, Table]]:
    for resource in RESOURCES.values():
        for table in resource.tables:
            yield resource.name, table
    yield LOAD_ISSUES.name, LOAD_ISSUES


def _names(resource: str, table: Table, column: Column) -> list[str]:
    """Return the names that select a column, the most specific first."""
    own = [column.name, *_DOUBLES.get(column.name, ())]
    names = [f"{where}.{name}" for name in own for where in dict.fromkeys((table.name, resource))] + own
    return [*names, f"{resource}.{CONTENT}", CONTENT] if column.content else names


def actions_of(masking: Masking, resource: str, table: Table) -> dict[str, MaskAction]:
    """Return the action for each column, from the masks of all places together.

    Raises:
        ConfigError: two places disagree on a column.
    """
    return in_force(masking, lambda mask: _actions(mask, resource, table), table.name)


def _actions(mask: Mapping[str, MaskAction], resource: str, table: Table) -> Iterator[tuple[str, MaskAction]]:
    for column in table.columns:
        for name in _names(resource, table, column):
            if name in mask:
                yield column.name, mask[name]
                break


def _masked(column: Column, values: pa.ChunkedArray, masking: _Masking) -> pa.ChunkedArray:
    if masking is _drop:
        return pa.chunked_array([pa.nulls(len(values), values.type)])
    masked = [None if value is None else masking(value) for value in values.to_pylist()]
    if column.type == "json":
        masked = [None if text is None else _as_json(text) for text in masked]
    return pa.chunked_array([text_array(masked)])


def _checked(function: _Masking) -> _Masking:
    """Return a user's function whose errors quote nothing, and whose result every warehouse can hold."""

    def masking(text: str) -> str | None:
        try:
            masked = function(text)
        except Exception as error:  # It may raise anything.
            what = f"raised {type(error).__name__}, whose message may quote what is masked"
        else:
            if masked is None or isinstance(masked, str):
                return masked and clean(masked)
            what = f"returned {type(masked).__name__}: it must return a text or None"
        # Raised outside `except`: dlt stores the messages of chained errors in the pipeline's folder.
        raise FatalError(f"mask: the function {getattr(function, '__name__', '')} {what}")

    return masking


def _is_nested(text: str) -> bool:
    try:
        return isinstance(parse_json(text.encode()), (dict, list))
    except ValueError:
        return False


def _as_json(text: str) -> str | None:
    try:
        return to_json(parse_json(text.encode()))
    except ValueError:
        return to_json(text)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value) or ""


def _drop(_: str) -> None:
    return None


def _redact(_: str) -> str:
    return REDACTED
