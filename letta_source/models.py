"""The shapes that Letta's API answers with, one model each: to read, and for the ``validate`` setting.

- Required is what makes a row or carries an item's meaning; everything else may be null or absent.
- Fields not declared here are kept, at every depth: Letta adds some between releases. For the same reason a
  ``message_type`` or ``type`` not declared here becomes ``UnknownMessage`` or ``Unknown`` and is no error.
- A declared field of a wrong type is an error; nothing is coerced (``"5"`` is no ``int``).
- Vocabularies that grow with Letta (stop reasons, agent types) are plain strings, the known words named.
- Free-form objects stay dictionaries: what is in them is the user's or the model provider's.
- Deprecated fields are doubles of newer ones, kept because servers still send them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter

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


def _read(value: object, name: str) -> object:
    """A field of an item that is being validated (a dict) or dumped (a model)."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _pick(field: str, known: object) -> Discriminator:
    """Choose among ``known`` by ``field``; a value that none of them is tagged with chooses ``unknown``."""
    tags = {meta.tag for member in get_args(known) for meta in get_args(member) if isinstance(meta, Tag)}

    def tag(value: object) -> str:
        kind = _read(value, field)
        return kind if isinstance(kind, str) and kind in tags else "unknown"

    return Discriminator(tag)


class UrlImage(Wire):
    type: Literal["url"] = Field(description="An image elsewhere; it was seen to make its whole page fail.")
    url: str = Field(description="Its address.")


class Base64Image(Wire):
    type: Literal["base64"] = Field(description="An image inside the message.")
    media_type: str = Field(description="MIME type.")
    data: str = Field(description="The image in base64, easily hundreds of kB.")
    detail: str | None = Field(None, description="How closely the model looks: low, high, auto.")


class LettaImage(Wire):
    type: Literal["letta"] = Field(description="An image Letta stores: the only kind seen in lists.")
    file_id: str = Field(description="The stored file.")
    media_type: str | None = Field(None, description="MIME type.")
    data: str | None = Field(None, description="The image in base64; lists send it along.")
    detail: str | None = Field(None, description="How closely the model looks: low, high, auto.")


_KnownImage: TypeAlias = (
    Annotated[UrlImage, Tag("url")]
    | Annotated[Base64Image, Tag("base64")]
    | Annotated[LettaImage, Tag("letta")]
)
ImageSource: TypeAlias = Annotated[
    _KnownImage | Annotated[Unknown, Tag("unknown")], _pick("type", _KnownImage)
]


class TextContent(Wire):
    type: Literal["text"] = Field(description="Text.")
    text: str = Field(description="The text.")
    signature: str | None = Field(None, description="The provider's seal on the reasoning behind it.")


class ImageContent(Wire):
    type: Literal["image"] = Field(description="An image.")
    source: ImageSource = Field(description="Where it is.")


class ToolCallContent(Wire):
    type: Literal["tool_call"] = Field(description="A tool call (Gemini), which `tool_calls` has too.")
    id: str = Field(description="The call's id.")
    name: str = Field(description="The tool.")
    input: JsonObject = Field(description="The arguments as an object; everywhere else they are JSON text.")
    signature: str | None = Field(None, description="The provider's seal on the reasoning behind it.")


class ToolReturnContent(Wire):
    type: Literal["tool_return"] = Field(description="A tool's result as content.")
    tool_call_id: str = Field(description="The call it answers.")
    content: str = Field(description="The result.")
    is_error: bool = Field(description="Whether the tool failed.")


class ReasoningContent(Wire):
    type: Literal["reasoning"] = Field(description="Readable reasoning.")
    is_native: bool = Field(description="True from a reasoning model, false from prompting.")
    reasoning: str = Field(description="The reasoning.")
    signature: str | None = Field(None, description="The provider's seal on it.")


class RedactedReasoningContent(Wire):
    type: Literal["redacted_reasoning"] = Field(description="Reasoning that the provider made unreadable.")
    data: str = Field(description="The unreadable form.")


class OmittedReasoningContent(Wire):
    type: Literal["omitted_reasoning"] = Field(description="Reasoning that took place but was not sent.")
    signature: str | None = Field(None, description="The provider's seal on it.")


class SummaryPart(Wire):
    index: int = Field(description="Position, from 0.")
    text: str = Field(description="The text.")


class SummarizedReasoningContent(Wire):
    type: Literal["summarized_reasoning"] = Field(description="A summary of reasoning (OpenAI responses).")
    id: str = Field(description="The provider's id of the reasoning.")
    summary: list[SummaryPart] = Field(description="The summary.")
    encrypted_content: str | None = Field(None, description="The full reasoning, encrypted.")


_KnownContent: TypeAlias = (
    Annotated[TextContent, Tag("text")]
    | Annotated[ImageContent, Tag("image")]
    | Annotated[ToolCallContent, Tag("tool_call")]
    | Annotated[ToolReturnContent, Tag("tool_return")]
    | Annotated[ReasoningContent, Tag("reasoning")]
    | Annotated[RedactedReasoningContent, Tag("redacted_reasoning")]
    | Annotated[OmittedReasoningContent, Tag("omitted_reasoning")]
    | Annotated[SummarizedReasoningContent, Tag("summarized_reasoning")]
)
ContentPart: TypeAlias = Annotated[
    _KnownContent | Annotated[Unknown, Tag("unknown")], _pick("type", _KnownContent)
]
# A string, or a list of parts. A single text part comes as a string.
Content: TypeAlias = Annotated[
    Annotated[str, Tag("string")] | Annotated[list[ContentPart], Tag("parts")],
    Discriminator(lambda value: "parts" if isinstance(value, list) else "string"),
]


class ToolCall(Wire):
    """A call as LettaMessages have it. In streams any field may be null: a delta."""

    name: str | None = Field(None, description="The tool.")
    arguments: str | None = Field(None, description="JSON text as the model wrote it; it may not parse.")
    tool_call_id: str | None = Field(None, description="The call's id.")


# The calls of a message. In streams a single delta may stand in place of the list.
ToolCalls: TypeAlias = Annotated[
    Annotated[list[ToolCall], Tag("list")] | Annotated[ToolCall, Tag("delta")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "delta"),
]


class OpenAIFunction(Wire):
    name: str | None = Field(None, description="The tool; null in a delta.")
    arguments: str | None = Field(None, description="JSON text as the model wrote it; it may not parse.")


class OpenAIToolCall(Wire):
    """A call as Messages have it (batches, search)."""

    id: str = Field(description="The call's id.")
    function: OpenAIFunction = Field(description="What is called, and with what.")
    type: Literal["function"] = Field(description="Always `function`.")


class _Returned(Wire):
    status: ToolStatus = Field(description="How the tool ended.")
    stdout: list[str] | None = Field(None, description="What it printed.")
    stderr: list[str] | None = Field(None, description="What it printed as errors.")


class ToolReturn(_Returned):
    """A tool's result as LettaMessages have it."""

    type: Literal["tool"] | None = Field(None, description="Always `tool`.")
    tool_call_id: str = Field(description="The call it answers.")
    tool_return: Content = Field(description="The result; parts where it has images.")


class MessageToolReturn(_Returned):
    """A tool's result as Messages have it (batches, search); without a `type`."""

    tool_call_id: object = Field(None, description="The call it answers; the reference allows any type.")
    func_response: Content | None = Field(None, description="The result; text is JSON: status, message.")


class Approval(Wire):
    """A decision about a call that waited for one."""

    type: Literal["approval"] | None = Field(None, description="Always `approval`.")
    tool_call_id: str = Field(description="The call.")
    approve: bool = Field(description="Whether it may run.")
    reason: str | None = Field(None, description="Why.")


def _approval_form(value: object) -> str:
    kind = _read(value, "type")
    if kind is not None:
        return str(kind) if kind in ("approval", "tool") else "unknown"
    if _read(value, "approve") is not None:
        return "approval"
    # The form of Messages has no type at all: func_response tells it from the form of LettaMessages.
    return "tool" if _read(value, "tool_return") is not None else "message_tool"


# A decision, or the result of a tool that the client ran itself.
ApprovalResult: TypeAlias = Annotated[
    Annotated[Approval, Tag("approval")]
    | Annotated[ToolReturn, Tag("tool")]
    | Annotated[MessageToolReturn, Tag("message_tool")]
    | Annotated[Unknown, Tag("unknown")],
    Discriminator(_approval_form),
]


class UnknownMessage(Wire):
    """An item of a type that is not declared here: only what its row needs is asked of it."""

    id: str = Field(description="The stored message.")
    message_type: str = Field(description="The type's name.")


class _Sent(Wire):
    id: str = Field(description="The stored message.")
    name: str | None = Field(None, description="Who speaks; for a tool's result, the tool.")
    # 7 bits, not two hex digits: the index is the last byte modulo 128, its top bit is still the id's.
    otid: str | None = Field(
        None,
        description="The id with its last 7 bits replaced by the item's index. But user messages have the "
        "sender's or null, approval requests the id itself, system messages and approval responses null.",
    )
    sender_id: str | None = Field(None, description="The identity or agent that sent it.")
    run_id: str | None = Field(None, description="The run it is from.")
    step_id: str | None = Field(None, description="The step it is from.")
    is_err: bool | None = Field(None, description="True in a failed step; LettaMessages have null for false.")


class _Item(_Sent):
    """An item of a stored message: reasoning, text and calls of one turn are items with one `id`."""

    date: Timestamp = Field(description="In whole seconds, so items tie. Lists are not ordered by it.")
    seq_id: int | None = Field(None, description="Position in a stream; null in lists.")


class SystemMessage(_Item):
    message_type: Literal["system_message"] = Field(description="A system prompt.")
    content: Content = Field(description="The prompt; only ever seen as a string.")


class UserMessage(_Item):
    message_type: Literal["user_message"] = Field(description="A user's words; in lists also a summary.")
    content: Content = Field(description="A string, or text and image parts.")


class AssistantMessage(_Item):
    message_type: Literal["assistant_message"] = Field(description="The agent's words.")
    content: Content = Field(description="A string, or text parts.")


class ReasoningMessage(_Item):
    message_type: Literal["reasoning_message"] = Field(description="Reasoning; from steps also plain text.")
    reasoning: str = Field(description="The reasoning.")
    source: Literal["reasoner_model", "non_reasoner_model"] | None = Field(None, description="Native or not.")
    signature: str | None = Field(None, description="The provider's seal on it.")


class HiddenReasoningMessage(_Item):
    message_type: Literal["hidden_reasoning_message"] = Field(description="Reasoning that cannot be read.")
    state: Literal["redacted", "omitted"] = Field(description="Made unreadable, or not sent at all.")
    hidden_reasoning: str | None = Field(None, description="The unreadable form; null where omitted.")


class ToolCallMessage(_Item):
    message_type: Literal["tool_call_message"] = Field(description="Calls of tools.")
    tool_calls: ToolCalls | None = Field(None, description="The calls.")
    tool_call: ToolCall | None = Field(None, deprecated=True, description="The first of `tool_calls`.")


class ToolReturnMessage(_Item):
    message_type: Literal["tool_return_message"] = Field(description="Results of tools.")
    tool_returns: list[ToolReturn] | None = Field(None, description="The results.")
    tool_return: str | None = Field(None, deprecated=True, description="Of the first result, as text.")
    status: ToolStatus | None = Field(None, deprecated=True, description="Of the first result.")
    tool_call_id: str | None = Field(None, deprecated=True, description="Of the first result.")
    stdout: list[str] | None = Field(None, deprecated=True, description="Of the first result.")
    stderr: list[str] | None = Field(None, deprecated=True, description="Of the first result.")


class ApprovalRequestMessage(_Item):
    message_type: Literal["approval_request_message"] = Field(description="Calls that wait for a decision.")
    tool_calls: ToolCalls | None = Field(None, description="The calls.")
    tool_call: ToolCall | None = Field(None, deprecated=True, description="The first of `tool_calls`.")


class ApprovalResponseMessage(_Item):
    message_type: Literal["approval_response_message"] = Field(description="Decisions about calls.")
    approvals: list[ApprovalResult] | None = Field(None, description="One for each call.")
    approve: bool | None = Field(None, deprecated=True, description="Of the first decision.")
    approval_request_id: str | None = Field(
        None,
        deprecated=True,
        description="Of the first decision: the call's id, not a message's as documented.",
    )
    reason: str | None = Field(None, deprecated=True, description="Of the first decision.")


# Of the two spellings each of these types has, the first is the server's, the second the reference's.
class SummaryMessage(_Item):
    message_type: Literal["summary_message", "summary"] = Field(description="What a compaction left.")
    summary: str = Field(description="The summary.")
    compaction_stats: JsonObject | None = Field(None, description="Tokens and messages before and after.")


class EventMessage(_Item):
    message_type: Literal["event_message", "event"] = Field(description="What happened to the agent.")
    event_type: str = Field(description="So far only `compaction`.")
    event_data: JsonObject = Field(description="Details of the event.")


_KnownMessage: TypeAlias = (
    Annotated[SystemMessage, Tag("system_message")]
    | Annotated[UserMessage, Tag("user_message")]
    | Annotated[AssistantMessage, Tag("assistant_message")]
    | Annotated[ReasoningMessage, Tag("reasoning_message")]
    | Annotated[HiddenReasoningMessage, Tag("hidden_reasoning_message")]
    | Annotated[ToolCallMessage, Tag("tool_call_message")]
    | Annotated[ToolReturnMessage, Tag("tool_return_message")]
    | Annotated[ApprovalRequestMessage, Tag("approval_request_message")]
    | Annotated[ApprovalResponseMessage, Tag("approval_response_message")]
    | Annotated[SummaryMessage, Tag("summary_message")]
    | Annotated[SummaryMessage, Tag("summary")]
    | Annotated[EventMessage, Tag("event_message")]
    | Annotated[EventMessage, Tag("event")]
)
LettaMessage: TypeAlias = Annotated[
    _KnownMessage | Annotated[UnknownMessage, Tag("unknown")], _pick("message_type", _KnownMessage)
]


class _Record(Wire):
    id: str = Field(description="Its id.")
    created_at: Timestamp | None = Field(None, description="When it was made, in microseconds.")
    updated_at: Timestamp | None = Field(None, description="When it last changed, in microseconds.")
    created_by_id: str | None = Field(None, description="The user who made it.")
    last_updated_by_id: str | None = Field(None, description="The user who last changed it.")


class Message(_Sent, _Record):
    """A message as Letta stores it: what batches and the older search answer with."""

    role: str = Field(description="assistant, user, tool, function, system, approval, summary.")
    content: list[ContentPart] | None = Field(None, description="Always parts, never a string.")
    model: str | None = Field(None, description="The model that answered.")
    agent_id: str | None = Field(None, description="The agent.")
    group_id: str | None = Field(None, description="The group it was sent in.")
    conversation_id: str | None = Field(None, description="The conversation it was sent in.")
    batch_item_id: str | None = Field(None, description="The batch's request it answers.")
    tool_calls: list[OpenAIToolCall] | None = Field(None, description="The calls of role assistant.")
    tool_call_id: str | None = Field(None, description="The call that role tool answers.")
    tool_returns: list[MessageToolReturn] | None = Field(None, description="The results of role tool.")
    approvals: list[ApprovalResult] | None = Field(None, description="The decisions of role approval.")
    approve: bool | None = Field(None, description="The single decision of older messages.")
    approval_request_id: str | None = Field(None, description="What the single decision is about.")
    denial_reason: str | None = Field(None, description="Why the single decision was no.")


class MessageSearchResult(Wire):
    """A hit of an agent-level search, with its scores."""

    embedded_text: str = Field(description="The text that was searched.")
    message: Message = Field(description="The message.")
    rrf_score: float = Field(description="Reciprocal rank fusion of both ranks; more is better.")
    fts_rank: int | None = Field(None, description="Rank in the full-text search.")
    vector_rank: int | None = Field(None, description="Rank in the vector search.")


class MessageSearchItem(Wire):
    """A hit of `/v1/messages/search` by the server's source (0.16): an item of a message, without scores."""

    message_id: str = Field(description="The stored message; there is no `id`.")
    message_type: str = Field(description="Of LettaMessage; system, user, assistant, reasoning.")
    created_at: Timestamp = Field(description="When; there is no `date`.")
    agent_id: str | None = Field(None, description="The agent.")
    conversation_id: str | None = Field(None, description="The conversation it was sent in.")
    content: Content | None = Field(None, description="The words; null for reasoning.")
    reasoning: str | None = Field(None, description="The reasoning.")


SearchHit: TypeAlias = Annotated[
    Annotated[MessageSearchResult, Tag("scored")] | Annotated[MessageSearchItem, Tag("item")],
    Discriminator(lambda value: "item" if _read(value, "message") is None else "scored"),
]


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


class Agent(_Record, _Templated):
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


class Batch(_Record, _Work):
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


class Conversation(_Record):
    """One of an agent's threads; a fork shares messages with its origin, under the same ids."""

    agent_id: str = Field(description="The agent.")
    summary: str | None = Field(None, description="What it is about, or its title.")
    last_message_at: Timestamp | None = Field(None, description="When it was last written to.")
    in_context_message_ids: list[str] | None = Field(None, description="The messages in context.")
    isolated_block_ids: list[str] | None = Field(None, description="Memory of its own.")
    model: str | None = Field(None, description="In place of the agent's.")
    model_settings: JsonObject | None = Field(None, description="In place of the agent's.")


_DEFER: Final = ConfigDict(defer_build=True)
_LETTA_MESSAGE: Final[TypeAdapter[Any]] = TypeAdapter(LettaMessage, config=_DEFER)

WIRE: Final[dict[str, TypeAdapter[Any]]] = {
    "agents": TypeAdapter(Agent),
    "groups": TypeAdapter(Group),
    "runs": TypeAdapter(Run),
    "steps": TypeAdapter(Step),
    "conversations": TypeAdapter(Conversation),
    "batches": TypeAdapter(Batch),
    "agent_messages": _LETTA_MESSAGE,
    "group_messages": _LETTA_MESSAGE,
    "step_messages": _LETTA_MESSAGE,
    "conversation_messages": _LETTA_MESSAGE,
    "messages": _LETTA_MESSAGE,
    "batch_messages": TypeAdapter(Message),
    "message_search": TypeAdapter(SearchHit, config=_DEFER),
}
"""By resource: ``WIRE[resource].validate_python(item)`` gives the model, or raises ``ValidationError``."""
