"""The base of all shapes, fields that several shapes share, and the choice between the shapes of a union."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from .marks import CLEAR, CONTENT, TIME, ref

JsonObject: TypeAlias = dict[str, object]
ToolStatus: TypeAlias = Literal["success", "error"]
# The text as sent, so that an item dumps unchanged. It is UTC, even if a run's date has no offset.
Timestamp: TypeAlias = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$"), TIME
]


class Wire(BaseModel):
    """The base of all shapes: unknown fields stay, known ones are checked without coercion."""

    # Built on first use: building all validators would double the module's import time.
    model_config = ConfigDict(extra="allow", strict=True, defer_build=True, protected_namespaces=())


class Unknown(Wire):
    """An image source, content part or approval of a type that is not declared here."""

    type: Annotated[str, CLEAR] = Field(description="The type's name.")


# Columns follow the order of a shape's fields, so a shared field is a type and not in a base class.
Id: TypeAlias = Annotated[str, CLEAR, Field(description="Letta's id.")]
AgentId: TypeAlias = Annotated[str | None, ref("agents.id"), Field(description="The agent.")]
ConversationId: TypeAlias = Annotated[
    str | None, ref("conversations.id"), Field(description="The conversation it was sent in.")
]
CreatedAt: TypeAlias = Annotated[Timestamp | None, Field(description="When it was created.")]
UpdatedAt: TypeAlias = Annotated[Timestamp | None, Field(description="When it last changed.")]
CreatedById: TypeAlias = Annotated[str | None, CLEAR, Field(description="The user who created it.")]
LastUpdatedById: TypeAlias = Annotated[str | None, CLEAR, Field(description="The user who last changed it.")]
ProjectId: TypeAlias = Annotated[str | None, CLEAR, Field(description="Cloud: the project.")]
TemplateId: TypeAlias = Annotated[
    str | None, CLEAR, Field(description="Cloud: the template it was created from.")
]
DeploymentId: TypeAlias = Annotated[
    str | None, CLEAR, Field(description="Cloud: the deployment it belongs to.")
]
EntityId: TypeAlias = Annotated[str | None, CLEAR, Field(description="Cloud: its name in the template.")]
OrganizationId: TypeAlias = Annotated[str | None, CLEAR, Field(description="The organization.")]
OwnMetadata: TypeAlias = Annotated[
    JsonObject | None, CONTENT, Field(description="Free-form data of the user.")
]
Hidden: TypeAlias = Annotated[
    bool | None, Field(description="Hidden in Letta's own interface; lists omit it by default.")
]
BaseTemplateId: TypeAlias = Annotated[str | None, CLEAR, Field(description="Cloud: the base template.")]


def read(value: object, name: str) -> object:
    """Return a field of an item that is being validated (a dict) or dumped (a model)."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def tags_of(known: object) -> frozenset[str]:
    """Return the tags of a union's members."""
    return frozenset(
        meta.tag for member in get_args(known) for meta in get_args(member) if isinstance(meta, Tag)
    )


def pick(field: str, known: object) -> Discriminator:
    """Choose among ``known`` by ``field``; a value that matches none of their tags chooses ``unknown``."""
    tags = tags_of(known)

    def tag(value: object) -> str:
        kind = read(value, field)
        return kind if isinstance(kind, str) and kind in tags else "unknown"

    return Discriminator(tag)
