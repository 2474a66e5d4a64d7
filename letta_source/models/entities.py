"""What messages belong to: agents, groups, runs, batches, steps and conversations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import JsonObject, Record, Timestamp, Wire
from .messages import ApprovalRequestMessage


class _Templated(Wire):
    project_id: str | None = Field(None, description="The project (Cloud).")
    template_id: str | None = Field(None, description="The template it was made from (Cloud).")
    base_template_id: str | None = Field(None, description="Its base template (Cloud).")
    deployment_id: str | None = Field(None, description="The deployment it belongs to (Cloud).")
    hidden: bool | None = Field(None, description="Lists leave it out unless asked for hidden ones.")


class Group(_Templated):
    """Agents that work together. It has no dates."""

    id: str = Field(description="Its id.")
    manager_type: str = Field(description="round_robin, supervisor, dynamic, sleeptime, swarm and others.")
    agent_ids: list[str] = Field(description="The agents.")
    description: str | None = Field(None, description="What it is for.")
    manager_agent_id: str | None = Field(None, description="The agent that leads; null for round_robin.")
    shared_block_ids: list[str] | None = Field(None, deprecated=True, description="Shared memory.")
    termination_token: str | None = Field(None, description="The word that ends a turn (dynamic).")
    max_turns: int | None = Field(None, description="Most turns in a row.")
    sleeptime_agent_frequency: int | None = Field(None, description="Turns between sleeptime runs.")
    turns_counter: int | None = Field(None, description="Turns counted for that.")
    last_processed_message_id: str | None = Field(None, description="Where sleeptime agents stopped reading.")
    max_message_buffer_length: int | None = Field(None, description="Most messages in context, roughly.")
    min_message_buffer_length: int | None = Field(None, description="Fewest messages in context, roughly.")


class Agent(Record, _Templated):
    """An agent. Nothing in it tells that it has new messages: `updated_at` does not move with them."""

    name: str = Field(description="Its name.")
    description: str | None = Field(None, description="What it is for.")
    agent_type: str | None = Field(None, description="letta_v1_agent, memgpt_v2_agent and others.")
    system: str | None = Field(None, description="The system prompt.")
    timezone: str | None = Field(None, description="IANA name.")
    tags: list[str] | None = Field(None, description="The user's labels.")
    metadata: JsonObject | None = Field(None, description="The user's own.")
    entity_id: str | None = Field(None, description="What it is in its template (Cloud).")
    message_ids: list[str] | None = Field(None, description="The messages in context, not all there are.")
    model: str | None = Field(None, description="provider/model; null was seen for some agents.")
    model_settings: JsonObject | None = Field(None, description="The model's settings.")
    llm_config: JsonObject | None = Field(None, deprecated=True, description="Use `model`, `model_settings`.")
    embedding: str | None = Field(None, description="provider/model of the embedding.")
    embedding_config: JsonObject | None = Field(None, deprecated=True, description="Use `embedding`.")
    compaction_settings: JsonObject | None = Field(None, description="How a full context is summarized.")
    response_format: JsonObject | None = Field(None, description="The form that answers are held to.")
    blocks: list[JsonObject] | None = Field(None, description="Memory; empty unless included.")
    memory: JsonObject | None = Field(None, deprecated=True, description="Use `blocks`.")
    tools: list[JsonObject] | None = Field(None, description="Tools with source code; empty unless included.")
    tool_rules: list[JsonObject] | None = Field(None, description="Which tool may follow which.")
    sources: list[JsonObject] | None = Field(None, deprecated=True, description="Files; now folders.")
    secrets: list[JsonObject] | None = Field(None, description="Its tools' environment: real secrets.")
    tool_exec_environment_variables: list[JsonObject] | None = Field(
        None, deprecated=True, description="Use `secrets`; real secrets here too."
    )
    identities: list[JsonObject] | None = Field(None, description="Whose it is; empty unless included.")
    identity_ids: list[str] | None = Field(None, deprecated=True, description="Use `identities`.")
    pending_approval: ApprovalRequestMessage | None = Field(None, description="What waits for a decision.")
    message_buffer_autoclear: bool | None = Field(None, description="Whether it forgets earlier messages.")
    enable_sleeptime: bool | None = Field(None, description="Whether a second agent tends its memory.")
    managed_group: Group | None = Field(None, description="The group it leads.")
    multi_agent_group: Group | None = Field(None, deprecated=True, description="Use `managed_group`.")
    last_run_completion: Timestamp | None = Field(None, description="End of its last run, or null for all.")
    last_run_duration_ms: int | None = Field(None, description="Length of its last run, ms.")
    last_stop_reason: str | None = Field(None, description="Why its last run ended.")
    max_files_open: int | None = Field(None, description="Most files open at once.")
    per_file_view_window_char_limit: int | None = Field(None, description="Most characters of a file.")


class _Work(Wire):
    status: str = Field(description="created, pending, running; completed, failed, cancelled, expired.")
    completed_at: Timestamp | None = Field(None, description="When it ended; in runs without an offset.")
    stop_reason: str | None = Field(None, description="end_turn, error, max_steps, cancelled and others.")
    metadata: JsonObject | None = Field(None, description="The caller's and the server's own.")
    background: bool | None = Field(None, description="Whether the caller did not wait.")
    callback_url: str | None = Field(None, description="Address to call when it ends.")
    callback_sent_at: Timestamp | None = Field(None, description="When that was last tried.")
    callback_status_code: int | None = Field(None, description="HTTP status of the answer.")
    callback_error: str | None = Field(None, description="Why it failed.")
    ttft_ns: int | None = Field(None, description="Time to the first token, ns.")
    total_duration_ns: int | None = Field(None, description="Length, ns.")


class Run(_Work):
    """One request to an agent. Not ended, it changes later."""

    id: str = Field(description="Its id.")
    agent_id: str = Field(description="The agent.")
    created_at: Timestamp = Field(description="When it began, in microseconds.")
    conversation_id: str | None = Field(None, description="The conversation it was sent in.")
    base_template_id: str | None = Field(None, description="The agent's template (Cloud).")
    request_config: JsonObject | None = Field(None, description="How the caller wanted messages shown.")


class Batch(Record, _Work):
    """Many requests at once. Its list forgets it when it has ended; by its id it still answers."""

    job_type: str | None = Field(None, description="Always `batch`.")
    user_id: str | None = Field(None, description="The user who sent it.")
    agent_id: str | None = Field(None, description="Null: a batch has many agents.")


class Step(Wire):
    """One call of a model within a run. It has no date at all."""

    id: str = Field(description="Its id.")
    run_id: str | None = Field(None, description="The run.")
    agent_id: str | None = Field(None, description="The agent.")
    status: str | None = Field(None, description="pending, success, failed, cancelled.")
    stop_reason: str | None = Field(None, description="Why the agent stopped here; null where it went on.")
    error_type: str | None = Field(None, description="The error's class.")
    error_data: JsonObject | None = Field(None, description="The error's details.")
    model: str | None = Field(None, description="The model's name.")
    model_handle: str | None = Field(None, description="provider/model.")
    model_endpoint: str | None = Field(None, description="The provider's address.")
    context_window_limit: int | None = Field(None, description="The model's context, tokens.")
    prompt_tokens: int | None = Field(None, description="Tokens in.")
    completion_tokens: int | None = Field(None, description="Tokens out.")
    total_tokens: int | None = Field(None, description="Tokens in and out.")
    cached_input_tokens: int | None = Field(None, description="Tokens in, from a cache; null if not told.")
    cache_write_tokens: int | None = Field(None, description="Tokens in, to a cache; null if not told.")
    reasoning_tokens: int | None = Field(None, description="Tokens out, reasoning; null if not told.")
    prompt_tokens_details: JsonObject | None = Field(None, description="Tokens in, the provider's split.")
    completion_tokens_details: JsonObject | None = Field(None, description="Tokens out, likewise.")
    provider_id: str | None = Field(None, description="The provider's record.")
    provider_name: str | None = Field(None, description="The provider.")
    provider_category: str | None = Field(None, description="base, or byok: the user's own key.")
    feedback: Literal["positive", "negative"] | None = Field(None, description="A person's verdict.")
    tags: list[str] | None = Field(None, description="Labels.")
    origin: str | None = Field(None, description="Where the request came from.")
    tid: str | None = Field(None, description="The transaction.")
    trace_id: str | None = Field(None, description="The trace.")
    request_id: str | None = Field(None, description="The request in Cloud's log.")
    organization_id: str | None = Field(None, description="The organization.")
    project_id: str | None = Field(None, description="The project (Cloud).")
    messages: list[JsonObject] | None = Field(None, deprecated=True, description="Empty: listed apart.")


class Conversation(Record):
    """One of an agent's threads; a fork shares messages with its origin, under the same ids."""

    agent_id: str = Field(description="The agent.")
    summary: str | None = Field(None, description="What it is about, or its title.")
    last_message_at: Timestamp | None = Field(None, description="When it was last written to.")
    in_context_message_ids: list[str] | None = Field(None, description="The messages in context.")
    isolated_block_ids: list[str] | None = Field(None, description="Memory of its own.")
    model: str | None = Field(None, description="In place of the agent's.")
    model_settings: JsonObject | None = Field(None, description="In place of the agent's.")
