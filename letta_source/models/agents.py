"""Agents, their groups and their conversations."""

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
    OwnMetadata,
    ProjectId,
    TemplateId,
    Timestamp,
    UpdatedAt,
    Wire,
)
from .marks import CLEAR, CONTENT, SECRET, ref
from .messages import ApprovalRequestMessage


class Group(Wire):
    """A group of agents that work together. It has no dates."""

    id: Id
    manager_type: Annotated[str, CLEAR] = Field(
        description="round_robin, supervisor, dynamic, sleeptime, swarm and others."
    )
    description: Annotated[str | None, CONTENT] = Field(None, description="Purpose of the group.")
    agent_ids: Annotated[list[str], CLEAR] = Field(description="Its agents.")
    manager_agent_id: Annotated[str | None, ref("agents.id")] = Field(
        None, description="The agent that manages it; null for round_robin."
    )
    termination_token: Annotated[str | None, CONTENT] = Field(
        None, description="The word that ends a turn of a dynamic group."
    )
    max_turns: int | None = Field(None, description="Maximum number of turns.")
    sleeptime_agent_frequency: int | None = Field(
        None, description="Turns between two runs of the sleep-time agent."
    )
    turns_counter: int | None = Field(None, description="Turns so far.")
    last_processed_message_id: Annotated[str | None, CLEAR] = Field(
        None, description="The last message that the sleep-time agent has processed."
    )
    max_message_buffer_length: int | None = Field(
        None, description="Approximate limit on messages in context."
    )
    min_message_buffer_length: int | None = Field(
        None, description="Approximate minimum of messages in context."
    )
    shared_block_ids: Annotated[list[str] | None, CLEAR] = Field(
        None, deprecated=True, description="Deprecated: memory blocks it shares."
    )
    project_id: ProjectId = None
    template_id: TemplateId = None
    base_template_id: BaseTemplateId = None
    deployment_id: DeploymentId = None
    hidden: Hidden = None


class Agent(Wire):
    """An agent. No field reliably shows that it has new messages."""

    id: Id
    name: Annotated[str, CONTENT] = Field(description="Its name.")
    agent_type: Annotated[str | None, CLEAR] = Field(
        None, description="letta_v1_agent, memgpt_v2_agent and others."
    )
    description: Annotated[str | None, CONTENT] = Field(None, description="Purpose of the agent.")
    created_at: CreatedAt = None
    updated_at: UpdatedAt = None
    created_by_id: CreatedById = None
    last_updated_by_id: LastUpdatedById = None
    model: Annotated[str | None, CLEAR] = Field(
        None, description="Handle of its model, provider/model; null was seen for some agents."
    )
    embedding: Annotated[str | None, CLEAR] = Field(None, description="Handle of its embedding model.")
    system: Annotated[str | None, CONTENT] = Field(None, description="Its system prompt.")
    tags: Annotated[list[str] | None, CONTENT] = Field(None, description="The user's labels for the agent.")
    message_ids: Annotated[list[str] | None, CLEAR] = Field(
        None, description="Messages in its context window; there may be others."
    )
    tool_rules: Annotated[list[JsonObject] | None, CONTENT] = Field(
        None, description="Rules for the order of tool calls."
    )
    llm_config: Annotated[JsonObject | None, CONTENT] = Field(
        None, deprecated=True, description="Deprecated: use `model` and `model_settings`."
    )
    embedding_config: Annotated[JsonObject | None, CONTENT] = Field(
        None, deprecated=True, description="Deprecated: use `embedding`."
    )
    model_settings: Annotated[JsonObject | None, CONTENT] = Field(
        None, description="Settings of the agent's model."
    )
    compaction_settings: Annotated[JsonObject | None, CONTENT] = Field(
        None, description="Settings for summarizing a full context."
    )
    response_format: Annotated[JsonObject | None, CONTENT] = Field(
        None, description="The required format of answers."
    )
    metadata: OwnMetadata = None
    memory: Annotated[JsonObject | None, CONTENT] = Field(
        None, deprecated=True, description="Deprecated: its core memory; use `blocks`."
    )
    blocks: Annotated[list[JsonObject] | None, CONTENT] = Field(
        None, description="Memory blocks; empty unless the server sends them."
    )
    tools: Annotated[list[JsonObject] | None, CONTENT] = Field(
        None, description="Tools with their source code; empty unless the server sends them."
    )
    sources: Annotated[list[JsonObject] | None, CONTENT] = Field(
        None,
        deprecated=True,
        description="Deprecated: replaced by folders; mostly empty.",
    )
    tool_exec_environment_variables: Annotated[list[JsonObject] | None, SECRET] = Field(
        None, deprecated=True, description="Deprecated: use `secrets`; loaded without their values, too."
    )
    secrets: Annotated[list[JsonObject] | None, SECRET] = Field(
        None, description="Environment variables for its tools; loaded without their values."
    )
    project_id: ProjectId = None
    template_id: TemplateId = None
    base_template_id: BaseTemplateId = None
    deployment_id: DeploymentId = None
    entity_id: EntityId = None
    identity_ids: Annotated[list[str] | None, CLEAR] = Field(
        None, deprecated=True, description="Deprecated: ids of `identities`."
    )
    identities: Annotated[list[JsonObject] | None, CONTENT] = Field(
        None, description="Identities it belongs to."
    )
    pending_approval: Annotated[ApprovalRequestMessage | None, CONTENT] = Field(
        None, description="The approval request that waits for a decision."
    )
    message_buffer_autoclear: bool | None = Field(None, description="True if it forgets earlier messages.")
    enable_sleeptime: bool | None = Field(
        None, description="True if a sleep-time agent maintains its memory."
    )
    multi_agent_group: Annotated[Group | None, CONTENT] = Field(
        None, deprecated=True, description="Deprecated: use `managed_group`."
    )
    managed_group: Annotated[Group | None, CONTENT] = Field(None, description="The group it manages.")
    last_run_completion: Timestamp | None = Field(
        None, description="When its last run ended; may be null although it ran."
    )
    last_run_duration_ms: int | None = Field(None, description="Duration of its last run, in milliseconds.")
    last_stop_reason: Annotated[str | None, CLEAR] = Field(None, description="Why its last run ended.")
    timezone: Annotated[str | None, CLEAR] = Field(None, description="Its time zone, an IANA name.")
    max_files_open: int | None = Field(None, description="Maximum number of open files.")
    per_file_view_window_char_limit: int | None = Field(
        None, description="Maximum number of characters it sees of one file."
    )
    hidden: Hidden = None


class Conversation(Wire):
    """One of an agent's threads; a fork shares messages with its origin, under the same ids."""

    id: Id
    agent_id: Annotated[str, ref("agents.id")] = Field(description="The agent of the conversation.")
    created_at: CreatedAt = None
    updated_at: UpdatedAt = None
    created_by_id: CreatedById = None
    last_updated_by_id: LastUpdatedById = None
    summary: Annotated[str | None, CONTENT] = Field(None, description="Its title or summary.")
    last_message_at: Timestamp | None = Field(None, description="Time of its last message.")
    in_context_message_ids: Annotated[list[str] | None, CLEAR] = Field(
        None, description="Messages in its context window."
    )
    isolated_block_ids: Annotated[list[str] | None, CLEAR] = Field(
        None, description="Memory blocks of its own."
    )
    model: Annotated[str | None, CLEAR] = Field(None, description="Handle of its own model, if it has one.")
    model_settings: Annotated[JsonObject | None, CONTENT] = Field(
        None, description="Settings of its own model."
    )
    archived: bool | None = Field(None, description="Cloud: true if it is archived.")
    archived_at: Timestamp | None = Field(None, description="Cloud: when it was archived.")
    description: Annotated[str | None, CONTENT] = Field(None, description="Cloud: a generated description.")
    context_window_limit: int | None = Field(
        None, description="Cloud: its own limit of the context window in tokens, if it has one."
    )
