"""Columns follow from the models: their order, types, marks and descriptions."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

import letta_source
from letta_source import models
from letta_source.models.base import JsonObject, Timestamp, Wire
from letta_source.models.marks import CLEAR, COLUMNS, CONTENT, REPEATED, ROWS, AsColumn, ref
from letta_source.schema.columns import Column, text
from letta_source.schema.wire import columns_of

PACKAGE = Path(letta_source.__file__).parent
_Lent = Annotated[Timestamp | None, Field(description="When it was lent.")]


class Shelf(Wire):
    row: int = Field(description="The row.")
    room: Annotated[str | None, CLEAR] = Field(None, description="The room.")


class Book(Wire):
    type: Annotated[Literal["book"], CLEAR] = Field(description="Always `book`.")
    title: Annotated[str, CONTENT] = Field(description="The title.")
    owner_id: Annotated[str | None, ref("owners.id")] = Field(None, description="The owner.")
    printed: Annotated[Timestamp, AsColumn(content=False, name="created_at")] = Field(description="Printed.")
    lent: _Lent = None
    back: Timestamp | None = Field(None, description="When it came back.")
    pages: int | None = Field(None, description="Pages.")
    weight: float = Field(description="Grams.")
    rare: bool | None = Field(None, description="Whether it is rare.")
    tags: Annotated[list[str] | None, CLEAR] = Field(None, description="Labels.")
    more: Annotated[JsonObject, CONTENT] = Field(description="More.")
    state: Annotated[Literal["new", "worn"] | None, CLEAR] = Field(None, description="new or worn.")
    anything: Annotated[object, AsColumn(content=True, type="text")] = Field(None, description="Anything.")
    shelf: Annotated[Shelf, COLUMNS] = Field(description="Where it stands.")
    loans: Annotated[list[JsonObject] | None, ROWS] = Field(None, description="The loans.")
    loan: Annotated[JsonObject | None, REPEATED] = Field(None, description="The first loan.")


class Map(Wire):
    type: Annotated[Literal["map"], CLEAR] = Field(description="Always `map`.")
    scale: Annotated[str, CLEAR] = Field(description="The scale.")
    title: Annotated[str, CONTENT] = Field(description="What is on it.")


def test_columns_follow_the_types_and_marks_of_fields() -> None:
    assert [(c.name, c.type, c.content, c.references, c.field, c.description) for c in columns_of(Book)] == [
        ("type", "text", False, None, "type", "Always `book`."),
        ("title", "text", True, None, "title", "The title."),
        ("owner_id", "text", False, "owners.id", "owner_id", "The owner."),
        ("created_at", "timestamp", False, None, "printed", "Printed."),
        ("lent", "timestamp", False, None, "lent", "When it was lent."),
        ("back", "timestamp", False, None, "back", "When it came back."),
        ("pages", "bigint", False, None, "pages", "Pages."),
        ("weight", "double", False, None, "weight", "Grams."),
        ("rare", "bool", False, None, "rare", "Whether it is rare."),
        ("tags", "json", False, None, "tags", "Labels."),
        ("more", "json", True, None, "more", "More."),
        ("state", "text", False, None, "state", "new or worn."),
        ("anything", "text", True, None, "anything", "Anything."),
        ("row", "bigint", False, None, "row", "The row."),
        ("room", "text", False, None, "room", "The room."),
    ]
    assert all(column.nullable for column in columns_of(Book))


def test_the_columns_of_a_union_are_those_of_its_members_in_order() -> None:
    found = columns_of(Book | Annotated[Map, "a tag"])
    assert [c.name for c in found] == [*(c.name for c in columns_of(Book)), "scale"]
    by_name = {column.name: column for column in found}
    assert by_name["title"].description == "The title."
    assert by_name["type"].description == "One of: book, map."
    assert by_name["state"].description == "new or worn."


def test_a_computed_column_takes_the_place_of_its_field() -> None:
    computed = {"loans": text("last_reader", "Who read it last."), "title": text("author", "Its author.")}
    names = [column.name for column in columns_of(Book | Map, computed)]
    assert names[1:3] == ["title", "author"]
    assert names[-2:] == ["last_reader", "scale"]


@pytest.mark.parametrize(
    "annotation", [str, str | None, list[str], JsonObject | None, Literal["a", "b"], Shelf, object]
)
def test_a_text_or_json_field_must_say_whether_it_is_content(annotation: type) -> None:
    undecided = type("Undecided", (Wire,), {"__annotations__": {"note": annotation}})
    with pytest.raises(TypeError, match=r"Undecided\.note: mark whether it is content"):
        columns_of(undecided)


@pytest.mark.parametrize("annotation", [int, float | None, bool, Timestamp, Timestamp | None])
def test_numbers_and_times_need_no_mark(annotation: type) -> None:
    plain = type("Plain", (Wire,), {"__annotations__": {"note": annotation}})
    assert isinstance(columns_of(plain)[0], Column)


def _descriptions(path: Path) -> Iterator[str]:
    """Yield the descriptions of fields and columns in a source file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        found = [keyword.value for keyword in node.keywords if keyword.arg == "description"]
        if node.func.id in ("text", "json", "bigint", "boolean", "timestamp", "_parent"):
            found += node.args[1:2]
        for value in found:
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
                yield value.value


def test_descriptions_are_unique() -> None:
    counts = Counter(one for path in PACKAGE.rglob("*.py") for one in _descriptions(path))
    assert len(counts) > 200
    assert [text for text, times in counts.items() if times > 1] == []


def test_every_field_that_is_stored_is_decided() -> None:
    for shape in models.Wire.__subclasses__():
        if shape.__module__.startswith("letta_source."):
            columns_of(shape)
