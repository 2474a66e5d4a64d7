"""What all shapes share, and how one of several is chosen."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

JsonObject: TypeAlias = dict[str, object]
ToolStatus: TypeAlias = Literal["success", "error"]
# The text as sent, so that an item dumps to what came in. UTC, also where a run's date has no offset.
Timestamp: TypeAlias = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$")
]


class Wire(BaseModel):
    """What all shapes share: unknown fields stay, known ones are checked without coercion."""

    # Built on first use: building all validators would double the module's import time.
    model_config = ConfigDict(extra="allow", strict=True, defer_build=True, protected_namespaces=())


class Unknown(Wire):
    """An image source, content part or approval of a type that is not declared here."""

    type: str = Field(description="The type's name.")


class Record(Wire):
    """What is stored under an id of its own, with who made it and when."""

    id: str = Field(description="Its id.")
    created_at: Timestamp | None = Field(None, description="When it was made, in microseconds.")
    updated_at: Timestamp | None = Field(None, description="When it last changed, in microseconds.")
    created_by_id: str | None = Field(None, description="The user who made it.")
    last_updated_by_id: str | None = Field(None, description="The user who last changed it.")


def read(value: object, name: str) -> object:
    """A field of an item that is being validated (a dict) or dumped (a model)."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def pick(field: str, known: object) -> Discriminator:
    """Choose among ``known`` by ``field``; a value that none of them is tagged with chooses ``unknown``."""
    tags = {meta.tag for member in get_args(known) for meta in get_args(member) if isinstance(meta, Tag)}

    def tag(value: object) -> str:
        kind = read(value, field)
        return kind if isinstance(kind, str) and kind in tags else "unknown"

    return Discriminator(tag)
