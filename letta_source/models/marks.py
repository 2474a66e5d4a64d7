"""Marks in a field's annotation that say how it is stored; `letta_source.schema` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Type: TypeAlias = Literal["text", "bigint", "double", "bool", "timestamp", "json"]


@dataclass(frozen=True)
class AsColumn:
    """Marks a field that is stored in a column.

    Numbers, bools and times are columns without a mark. Text and json fields must be marked, so that nobody
    forgets to decide about `content`.

    Attributes:
        content: True if the column may quote people; the mask `content` covers it.
        secret: True if it holds credentials. Only their names are stored, never their values.
        references: The `table.column` that it refers to. That row may be missing: users load some of the
            tables, and servers do not list deleted items.
        name: The column's name, if it differs from the field's.
        type: The column's type, if it does not follow from the field's.
    """

    content: bool
    secret: bool = False
    references: str | None = None
    name: str | None = None
    type: Type | None = None


@dataclass(frozen=True)
class Time:
    """Marks a text that is a time."""


@dataclass(frozen=True)
class AsColumns:
    """Marks an object whose fields are columns of its item's table."""


@dataclass(frozen=True)
class AsRows:
    """Marks a list that is stored in the child table named after the field."""


@dataclass(frozen=True)
class Repeated:
    """Marks a field that repeats the first entry of a list; only the list is stored."""


@dataclass(frozen=True)
class LeftOut:
    """Marks a field that is not stored at all, not even in `extra`."""


CLEAR: Final = AsColumn(content=False)
CONTENT: Final = AsColumn(content=True)
SECRET: Final = AsColumn(content=True, secret=True)
TIME: Final = Time()
COLUMNS: Final = AsColumns()
ROWS: Final = AsRows()
REPEATED: Final = Repeated()
LEFT_OUT: Final = LeftOut()


def ref(references: str) -> AsColumn:
    """Mark a column that holds ids of another table."""
    return AsColumn(content=False, references=references)
