"""The work of agents: runs and their steps, and batches."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from .base import (
    AgentId,
    BaseTemplateId,
    ConversationId,
    CreatedAt,
    CreatedById,
    Id,
    JsonObject,
    LastUpdatedById,
    OrganizationId,
    ProjectId,
    TemplateId,
    Timestamp,
    UpdatedAt,
    Wire,
)
from .marks import CLEAR, CONTENT, ref

_CompletedAt: TypeAlias = Annotated[Timestamp | None, Field(description="When it ended.")]
_StopReason: TypeAlias = Annotated[
    str | None, CLEAR, Field(description="Why it ended: end_turn, error, max_steps, cancelled and others.")
]
_Background: TypeAlias = Annotated[bool | None, Field(description="True if the caller did not wait.")]
_Metadata: TypeAlias = Annotated[
    JsonObject | None, CONTENT, Field(description="Free-form data of the caller and the server.")
]
_CallbackUrl: TypeAlias = Annotated[
    str | None, CONTENT, Field(description="URL that is called when it ends.")
]
_CallbackSentAt: TypeAlias = Annotated[
    Timestamp | None, Field(description="Time of the last callback attempt.")
]
_CallbackStatusCode: TypeAlias = Annotated[int | None, Field(description="HTTP status of the callback.")]
_CallbackError: TypeAlias = Annotated[str | None, CONTENT, Field(description="Why the callback failed.")]
_TtftNs: TypeAlias = Annotated[int | None, Field(description="Time to the first token, in nanoseconds.")]
_TotalDurationNs: TypeAlias = Annotated[int | None, Field(description="Total time, in nanoseconds.")]
_RunId: TypeAlias = Annotated[str | None, ref("runs.id"), Field(description="The run it is part of.")]
_ProviderId: TypeAlias = Annotated[str | None, CLEAR, Field(description="The provider as configured.")]


class Run(Wire):
    """One request to an agent. It changes until it is finished."""

    id: Id
    agent_id: Annotated[str, ref("agents.id")] = Field(description="The agent that ran.")
    conversation_id: ConversationId = None
    status: Annotated[str, CLEAR] = Field(description="created, running, completed, failed or cancelled.")
    created_at: Timestamp = Field(description="When it began, to the microsecond.")
    completed_at: _CompletedAt = None
    stop_reason: _StopReason = None
    background: _Background = None
    base_template_id: BaseTemplateId = None
    metadata: _Metadata = None
    request_config: Annotated[JsonObject | None, CONTENT] = Field(
        None, description="The caller's options for rendering messages."
    )
    callback_url: _CallbackUrl = None
    callback_sent_at: _CallbackSentAt = None
    callback_status_code: _CallbackStatusCode = None
    callback_error: _CallbackError = None
    ttft_ns: _TtftNs = None
    total_duration_ns: _TotalDurationNs = None


class Batch(Wire):
    """Many requests at once. The list drops it when it is finished; a request by its id still finds it."""

    id: Id
    status: Annotated[str, CLEAR] = Field(
        description="created, running, pending, completed, failed, cancelled or expired."
    )
    created_at: CreatedAt = None
    updated_at: UpdatedAt = None
    created_by_id: CreatedById = None
    last_updated_by_id: LastUpdatedById = None
    completed_at: _CompletedAt = None
    stop_reason: _StopReason = None
    job_type: Annotated[str | None, CLEAR] = Field(None, description="Always `batch`.")
    user_id: Annotated[str | None, CLEAR] = Field(None, description="The user who sent it.")
    agent_id: Annotated[str | None, ref("agents.id")] = Field(
        None, description="Null: a batch has many agents."
    )
    background: _Background = None
    metadata: _Metadata = None
    callback_url: _CallbackUrl = None
    callback_sent_at: _CallbackSentAt = None
    callback_status_code: _CallbackStatusCode = None
    callback_error: _CallbackError = None
    ttft_ns: _TtftNs = None
    total_duration_ns: _TotalDurationNs = None


class Step(Wire):
    """One call of a model within a run. It has no date at all."""

    id: Id
    run_id: _RunId = None
    agent_id: AgentId = None
    status: Annotated[str | None, CLEAR] = Field(None, description="pending, success, failed or cancelled.")
    stop_reason: Annotated[str | None, CLEAR] = Field(
        None, description="Why the agent stopped after this step; null if it continued."
    )
    model: Annotated[str | None, CLEAR] = Field(None, description="The model that was called.")
    model_handle: Annotated[str | None, CLEAR] = Field(None, description="The same as provider/model.")
    model_endpoint: Annotated[str | None, CONTENT] = Field(None, description="URL of the model.")
    provider_id: _ProviderId = None
    provider_name: Annotated[str | None, CLEAR] = Field(
        None, description="The provider's name: openai, anthropic and others."
    )
    provider_category: Annotated[str | None, CLEAR] = Field(
        None, description="base, or byok: the user's own key."
    )
    context_window_limit: int | None = Field(None, description="The model's context window, in tokens.")
    prompt_tokens: int | None = Field(None, description="Input tokens.")
    completion_tokens: int | None = Field(None, description="Output tokens.")
    total_tokens: int | None = Field(None, description="Input and output tokens.")
    cached_input_tokens: int | None = Field(
        None, description="Tokens read from the provider's cache; null if unknown."
    )
    cache_write_tokens: int | None = Field(
        None, description="Tokens written to the provider's cache; null if unknown."
    )
    reasoning_tokens: int | None = Field(
        None, description="Output tokens spent on reasoning; null if unknown."
    )
    prompt_tokens_details: Annotated[JsonObject | None, CLEAR] = Field(
        None, description="Details of the input tokens, from the provider."
    )
    completion_tokens_details: Annotated[JsonObject | None, CLEAR] = Field(
        None, description="Details of the output tokens, from the provider."
    )
    origin: Annotated[str | None, CLEAR] = Field(None, description="Origin of the request.")
    organization_id: OrganizationId = None
    project_id: ProjectId = None
    tid: Annotated[str | None, CLEAR] = Field(None, description="Id of the transaction.")
    trace_id: Annotated[str | None, CLEAR] = Field(None, description="Id of the trace.")
    request_id: Annotated[str | None, CLEAR] = Field(None, description="Cloud: id of the request in its log.")
    tags: Annotated[list[str] | None, CONTENT] = Field(None, description="Labels for the step.")
    messages: Annotated[list[JsonObject] | None, CONTENT] = Field(
        None, deprecated=True, description="Deprecated: empty; messages have their own list."
    )
    feedback: Annotated[Literal["positive", "negative"] | None, CLEAR] = Field(
        None, description="A person's verdict: positive or negative."
    )
    error_type: Annotated[str | None, CONTENT] = Field(None, description="The error's class.")
    error_data: Annotated[JsonObject | None, CONTENT] = Field(None, description="The error's details.")


class StepMetrics(Wire):
    """The time that a step and its parts took. Interrupted steps have none."""

    id: Id
    run_id: _RunId = None
    agent_id: AgentId = None
    step_start_ns: int | None = Field(
        None, description="When the step began, in nanoseconds since 1970; null on the servers seen so far."
    )
    llm_request_start_ns: int | None = Field(
        None,
        description="When the model was called, in nanoseconds since 1970; null on the servers seen so far.",
    )
    llm_request_ns: int | None = Field(None, description="Duration of the model call in nanoseconds.")
    tool_execution_ns: int | None = Field(
        None, description="Nanoseconds that its tools took; null if it called none."
    )
    step_ns: int | None = Field(
        None, description="Duration of the whole step in nanoseconds, including the server's own work."
    )
    organization_id: OrganizationId = None
    provider_id: _ProviderId = None
    project_id: ProjectId = None
    template_id: TemplateId = None
    base_template_id: BaseTemplateId = None
