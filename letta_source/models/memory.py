"""The current memory of agents, and the identities and tools that they work with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import (
    BaseTemplateId,
    CreatedAt,
    CreatedById,
    DeploymentId,
    EntityId,
    Hidden,
    Id,
    JsonObject,
    LastUpdatedById,
    OrganizationId,
    OwnMetadata,
    ProjectId,
    TemplateId,
    UpdatedAt,
    Wire,
)
from .marks import CLEAR, CONTENT, LEFT_OUT, AsColumn, ref


class Block(Wire):
    """A part of the memory in an agent's prompt. Agents may share it. It has no dates."""

    id: Id
    label: Annotated[str | None, CONTENT] = Field(
        None, description="Its name in the prompt: human, persona, …"
    )
    value: Annotated[str, CONTENT] = Field(description="Its text.")
    # `limit` is an SQL keyword.
    limit: Annotated[int | None, AsColumn(content=False, name="char_limit")] = Field(
        None, description="Limit on the characters of `value`."
    )
    description: Annotated[str | None, CONTENT] = Field(None, description="Purpose of the block.")
    tags: Annotated[list[str] | None, CONTENT] = Field(None, description="The user's labels for the block.")
    metadata: OwnMetadata = None
    is_template: bool | None = Field(
        None, description="True if it is a template for blocks, not memory itself."
    )
    template_name: Annotated[str | None, CONTENT] = Field(
        None, deprecated=True, description="Deprecated: the template's name."
    )
    read_only: bool | None = Field(None, description="True if agents cannot change it.")
    hidden: Hidden = None
    preserve_on_migration: bool | None = Field(
        None, deprecated=True, description="Deprecated: true if it is kept when its template changes."
    )
    created_by_id: CreatedById = None
    last_updated_by_id: LastUpdatedById = None
    project_id: ProjectId = None
    template_id: TemplateId = None
    base_template_id: BaseTemplateId = None
    deployment_id: DeploymentId = None
    entity_id: EntityId = None


class Archive(Wire):
    """A collection of passages, which agents may share."""

    id: Id
    name: Annotated[str, CONTENT] = Field(description="The archive's name.")
    description: Annotated[str | None, CONTENT] = Field(None, description="Purpose of the archive.")
    created_at: CreatedAt = None
    updated_at: UpdatedAt = None
    created_by_id: CreatedById = None
    last_updated_by_id: LastUpdatedById = None
    organization_id: OrganizationId = None
    vector_db_provider: Annotated[str | None, CLEAR] = Field(
        None, description="Database of its vectors: native, tpuf and others."
    )
    embedding_config: Annotated[JsonObject | None, CONTENT] = Field(
        None, description="Settings of the embedding model; null if it can be searched by text only."
    )
    metadata: OwnMetadata = None


class Passage(Wire):
    """A text in an archive, which an agent finds by searching."""

    id: Id
    archive_id: Annotated[str | None, ref("archives.id")] = Field(
        None, description="The archive; null for a piece of a file."
    )
    text: Annotated[str, CONTENT] = Field(description="The text itself.")
    tags: Annotated[list[str] | None, CONTENT] = Field(
        None, description="The agent's or the user's labels for the passage."
    )
    metadata: OwnMetadata = None
    created_at: CreatedAt = None
    updated_at: UpdatedAt = None
    created_by_id: CreatedById = None
    last_updated_by_id: LastUpdatedById = None
    organization_id: OrganizationId = None
    is_deleted: bool | None = Field(None, description="True if it is marked as deleted.")
    source_id: Annotated[str | None, CLEAR] = Field(
        None, deprecated=True, description="Deprecated: the folder of the file it is a piece of."
    )
    file_id: Annotated[str | None, CLEAR] = Field(None, description="The file it is a piece of.")
    file_name: Annotated[str | None, CONTENT] = Field(None, description="Name of the file.")
    embedding_config: Annotated[JsonObject | None, CONTENT] = Field(
        None, description="Settings of the embedding model."
    )
    # 4,096 numbers, some 17 to 90 kB per passage, of no use without the model.
    embedding: Annotated[list[float] | None, LEFT_OUT] = Field(None, description="The vector of its text.")


class Tool(Wire):
    """A function that agents can call. It has no dates."""

    id: Id
    name: Annotated[str | None, CLEAR] = Field(None, description="The name by which models call it.")
    tool_type: Annotated[str | None, CLEAR] = Field(
        None,
        description="custom, letta_core, external_mcp and others; Letta's own types begin with letta_.",
    )
    description: Annotated[str | None, CONTENT] = Field(None, description="The description that models get.")
    source_type: Annotated[str | None, CLEAR] = Field(
        None, description="Language of its source code: python, typescript, …; json also occurs for Python."
    )
    source_code: Annotated[str | None, CONTENT] = Field(
        None, description="Its source code; null for Letta's own."
    )
    json_schema: Annotated[JsonObject | None, CONTENT] = Field(
        None, description="Its name, description and arguments as JSON schema, as models get them."
    )
    args_json_schema: Annotated[JsonObject | None, CONTENT] = Field(
        None, description="JSON schema of its arguments, if given separately."
    )
    tags: Annotated[list[str] | None, CONTENT] = Field(
        None, description="The user's labels of the tool, and the MCP server that it comes from."
    )
    return_char_limit: int | None = Field(None, description="Limit on the characters of its result.")
    pip_requirements: Annotated[list[JsonObject] | None, CONTENT] = Field(
        None, description="Python packages that it needs."
    )
    npm_requirements: Annotated[list[JsonObject] | None, CONTENT] = Field(
        None, description="npm packages that it needs."
    )
    default_requires_approval: bool | None = Field(
        None, description="True if a person must approve its calls, unless an agent overrides it."
    )
    enable_parallel_execution: bool | None = Field(
        None, description="True if it may run in parallel with other tools."
    )
    metadata_: Annotated[JsonObject | None, AsColumn(content=True, name="metadata")] = Field(
        None, description="Free-form data of the user and the server."
    )
    created_by_id: CreatedById = None
    last_updated_by_id: LastUpdatedById = None
    project_id: ProjectId = None


class Identity(Wire):
    """A person or organization that agents belong to, as the user knows it. It has no dates."""

    id: Id
    identifier_key: Annotated[str, CONTENT] = Field(description="The user's own key for it.")
    name: Annotated[str, CONTENT] = Field(description="Its display name.")
    identity_type: Annotated[str | None, CLEAR] = Field(None, description="user, org or other.")
    properties: Annotated[list[JsonObject] | None, CONTENT] = Field(
        None, description="More properties: key, value and type of each."
    )
    agent_ids: Annotated[list[str] | None, CLEAR] = Field(
        None, deprecated=True, description="Deprecated, empty self-hosted: use `agents.identity_ids`."
    )
    block_ids: Annotated[list[str] | None, CLEAR] = Field(
        None, deprecated=True, description="Deprecated, empty self-hosted: blocks that belong to it."
    )
    organization_id: OrganizationId = None
    project_id: ProjectId = None
