"""The definition of a column, and the columns that the API does not send."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from letta_source.models.marks import Type

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        source: the API's field that it comes from, if that has another name.
        content, secret, references: see `letta_source.models.marks.AsColumn`.
    """

    name: str
    type: Type
    description: str
    nullable: bool = True
    source: str | None = None
    content: bool = False
    secret: bool = False
    references: str | None = None

    @property
    def field(self) -> str:
        """The API's field that fills the column."""
        return self.source or self.name

    @property
    def arrow_type(self) -> pa.DataType:
        """The pyarrow type: JSON is a string; timestamps are microseconds UTC."""
        return _arrow_types()[self.type]


@cache
def _arrow_types() -> dict[Type, pa.DataType]:
    import pyarrow as pa

    return {
        "text": pa.string(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
        "json": pa.string(),
    }


def text(name: str, description: str, **kwargs: Any) -> Column:
    """Declare a text column."""
    return Column(name, "text", description, **kwargs)


def json(name: str, description: str, **kwargs: Any) -> Column:
    """Declare a JSON column."""
    return Column(name, "json", description, **kwargs)


def bigint(name: str, description: str, **kwargs: Any) -> Column:
    """Declare a column of 64-bit integers."""
    return Column(name, "bigint", description, **kwargs)


def double(name: str, description: str, **kwargs: Any) -> Column:
    """Declare a column of floating-point numbers."""
    return Column(name, "double", description, **kwargs)


def boolean(name: str, description: str, **kwargs: Any) -> Column:
    """Declare a boolean column."""
    return Column(name, "bool", description, **kwargs)


def timestamp(name: str, description: str, **kwargs: Any) -> Column:
    """Declare a column of times, microseconds UTC."""
    return Column(name, "timestamp", description, **kwargs)


# Columns that the API does not send.
LOAD_ID = text("_dlt_load_id", "The load that wrote this row; `_dlt_loads.load_id`.", nullable=False)
DELETED = boolean("_deleted", "Always null; dlt needs it to delete rows in a merge.")
GONE = timestamp(
    "_letta_deleted_at",
    "When `letta-source verify --repair` found that the server no longer has the row; else null.",
)
EXTRA = json(
    "extra",
    "All fields that this version has no column for, and values that do not fit their column's type.",
    content=True,
)
POSITION = bigint("position", "0, 1, … among the items of one message id.", nullable=False)
# The API's dates are whole seconds, and it sends no sequence number.
SEQUENCE = bigint(
    "sequence",
    "Increases in the server's order within one parent; sorts rows of the same second.",
)
ITEM_POSITION = bigint("position", "The position of its item.", nullable=False)
INDEX = bigint("idx", "0, 1, … within its item.", nullable=False)
# Computed from `content` and `arguments`.
TEXT = text(
    "text",
    "The readable text: a string content, or its text parts joined by a line break.",
    content=True,
)
ARGUMENTS_JSON = json(
    "arguments_json",
    "The arguments as json; null if they are invalid.",
    content=True,
)
