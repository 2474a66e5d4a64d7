"""Marks in the annotation of a field: they say how it is stored, and `letta_source.schema` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Type: TypeAlias = Literal["text", "bigint", "double", "bool", "timestamp", "json"]


@dataclass(frozen=True)
class AsColumn:
    """Marks a field that is stored in a column.

    A number, bool or time is one without a mark. Text and json fields must be marked, so that nobody forgets
    to decide about `content`.

    Attributes:
        content: True if the column may quote people; the mask `content` covers it.
        secret: True if it holds credentials, which are never stored: only their names are.
        references: `table.column` of what it names. That row may be missing: users load a part of the tables,
            and servers list nothing that was deleted.
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
    """Marks an object whose own fields are columns of the table that its item goes to."""


@dataclass(frozen=True)
class AsRows:
    """Marks a list that is stored in the child table of the field's name."""


@dataclass(frozen=True)
class Repeated:
    """Marks a field that says again what the first entry of a list says; it is stored there only."""


@dataclass(frozen=True)
class LeftOut:
    """Marks a field that is not stored at all, not in `extra` either."""


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
