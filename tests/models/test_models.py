"""The models accept recorded items, those of the API reference, and additions of newer servers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import letta_source
from letta_source import models
from letta_source.demo.shapes import recorded
from letta_source.schema.resources import RESOURCES

Item = dict[str, Any]

RECORDINGS = Path(letta_source.__file__).with_name("demo") / "recordings"
ANSWERS = (
    (r"/v1/agents/", "agents"),
    (r"/v1/agents/[^/]+/messages", "agent_messages"),
    (r"/v1/groups/", "groups"),
    (r"/v1/groups/[^/]+/messages", "group_messages"),
    (r"/v1/runs/", "runs"),
    (r"/v1/runs/[^/]+/steps", "steps"),
    (r"/v1/steps/[^/]+/messages", "step_messages"),
    (r"/v1/conversations/", "conversations"),
    (r"/v1/conversations/[^/]+/messages", "conversation_messages"),
    (r"/v1/messages/batches(/[^/]+)?", "batches"),
    (r"/v1/messages/batches/[^/]+/messages", "batch_messages"),
    (r"/v1/messages/", "messages"),
    (r"/v1/blocks/", "blocks"),
    (r"/v1/agents/[^/]+/core-memory/blocks", "agent_blocks"),
    (r"/v1/steps/[^/]+/metrics", "step_metrics"),
    (r"/v1/tools/", "tools"),
    (r"/v1/identities/", "identities"),
    (r"/v1/archives/", "archives"),
    (r"/v1/agents/[^/]+/archival-memory", "passages"),
)


def _recorded() -> dict[str, list[Item]]:
    items: dict[str, list[Item]] = {}
    for file in sorted(RECORDINGS.glob("*.jsonl")):
        for answer in recorded(file.stem):
            if answer["status"] != 200 or answer["path"] == "/v1/health/":
                continue
            (resource,) = (name for path, name in ANSWERS if re.fullmatch(path, answer["path"]))
            body = answer["body"]
            if isinstance(body, dict):
                body = body["messages"] if resource == "batch_messages" else [body]
            items.setdefault(resource, []).extend(body)
    return items


RECORDED = _recorded()
FALLBACKS: set[type[BaseModel]] = {models.Unknown, models.UnknownMessage}


def _check(resource: str, item: object) -> BaseModel:
    model = RESOURCES[resource].adapter.validate_python(item)
    assert isinstance(model, BaseModel)
    return model


def _dump(resource: str, model: BaseModel) -> object:
    return RESOURCES[resource].adapter.dump_python(model, mode="json", exclude_unset=True, warnings="error")


def _within(value: object) -> Iterator[BaseModel]:
    """Yield every model in ``value``, at any depth."""
    if isinstance(value, BaseModel):
        yield value
        for name in value.model_fields_set:
            yield from _within(vars(value).get(name))
    elif isinstance(value, list):
        for one in value:
            yield from _within(one)


def _undeclared(model: BaseModel) -> list[BaseModel]:
    """Return the inner models that are fallbacks or have undeclared fields."""
    return [one for one in _within(model) if type(one) in FALLBACKS or one.model_extra]


def _message(message_type: str, **fields: object) -> Item:
    return {"id": "message-1", "date": "2026-01-02T03:04:05+00:00", "message_type": message_type, **fields}


def _user(*parts: Item) -> Item:
    return _message("user_message", content=list(parts))


def _approved(*approvals: Item) -> Item:
    return _message("approval_response_message", approvals=list(approvals))


def _same(names: str, value: object) -> Item:
    return {name: value for name in names.split()}


def _stored(**fields: object) -> Item:
    return {"id": "message-1", "role": "assistant", **fields}


CALL: Item = {"name": "roll", "arguments": '{"sides": 6}', "tool_call_id": "call-1"}
DELTA = {"name": None, "arguments": '{"si', "tool_call_id": "call-1"}
NAME_DELTA = {"name": "roll", "arguments": None, "tool_call_id": None}
RETURN: Item = {
    "type": "tool",
    "tool_return": "4",
    "status": "success",
    "tool_call_id": "call-1",
    "stdout": ["a"],
}
STORED_RETURN: Item = {
    "tool_call_id": "call-1",
    "status": "error",
    "func_response": "{}",
    "stdout": None,
    "stderr": ["b"],
}
TEXT = {"type": "text", "text": "hello", "signature": "s"}
IMAGE: Item = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
OPENAI_CALL = {"id": "call-1", "type": "function", "function": {"name": "roll", "arguments": "{}"}}
DECISION = {"type": "approval", "tool_call_id": "call-1", "approve": False, "reason": "no"}
FOUND = {"message_id": "message-1", "created_at": "2026-01-02T03:04:05.678901Z", "agent_id": "agent-1"}

MESSAGES: dict[str, list[Item]] = {
    "SystemMessage": [_message("system_message", content="Be kind.")],
    "UserMessage": [_message("user_message", content="hello"), _user(TEXT, IMAGE)],
    "AssistantMessage": [
        _message("assistant_message", content="hi"),
        _message("assistant_message", content=[TEXT]),
    ],
    "ReasoningMessage": [
        _message("reasoning_message", reasoning="hm", source="reasoner_model", signature="s"),
        _message("reasoning_message", reasoning="hm", source="non_reasoner_model"),
    ],
    "HiddenReasoningMessage": [
        _message("hidden_reasoning_message", state="redacted", hidden_reasoning="xx"),
        _message("hidden_reasoning_message", state="omitted"),
    ],
    "ToolCallMessage": [
        _message("tool_call_message", tool_call=CALL, tool_calls=[CALL, CALL]),
        _message("tool_call_message", tool_call=DELTA, tool_calls=DELTA, seq_id=3),
        _message(
            "tool_call_message",
            tool_call=NAME_DELTA,
            tool_calls=[NAME_DELTA],
            is_err=True,
            sender_id="agent-1",
        ),
    ],
    "ToolReturnMessage": [
        _message("tool_return_message", tool_return="4", status="success", tool_call_id="call-1", stdout=[]),
        _message("tool_return_message", tool_returns=[RETURN, {**RETURN, "tool_return": [TEXT, IMAGE]}]),
    ],
    "ApprovalRequestMessage": [_message("approval_request_message", tool_call=CALL, tool_calls=[CALL])],
    "ApprovalResponseMessage": [
        _approved(DECISION, RETURN) | {"approve": False, "approval_request_id": "call-1", "reason": "no"}
    ],
    "SummaryMessage": [
        _message("summary", summary="We talked."),
        _message(
            "summary_message", summary="We talked.", compaction_stats={"trigger": "t", "context_window": 9}
        ),
    ],
    "EventMessage": [
        _message("event", event_type="compaction", event_data={"a": 1}),
        _message("event_message", event_type="compaction", event_data={}),
    ],
}
PARTS: dict[str, Item] = {
    "TextContent": TEXT,
    "ImageContent": IMAGE,
    "ToolCallContent": {
        "type": "tool_call",
        "id": "call-1",
        "name": "roll",
        "input": {"sides": 6},
        "signature": "s",
    },
    "ToolReturnContent": {"type": "tool_return", "tool_call_id": "call-1", "content": "4", "is_error": False},
    "ReasoningContent": {"type": "reasoning", "is_native": True, "reasoning": "hm", "signature": "s"},
    "RedactedReasoningContent": {"type": "redacted_reasoning", "data": "xx"},
    "OmittedReasoningContent": {"type": "omitted_reasoning", "signature": "s"},
    "SummarizedReasoningContent": {
        "type": "summarized_reasoning",
        "id": "rs-1",
        "summary": [{"index": 0, "text": "hm"}],
        "encrypted_content": "xx",
    },
}
SOURCES: dict[str, Item] = {
    "UrlImage": {"type": "url", "url": "https://example.com/a.png"},
    "Base64Image": {"type": "base64", "media_type": "image/png", "data": "aGk=", "detail": "low"},
    "LettaImage": {
        "type": "letta",
        "file_id": "file-1",
        "media_type": "image/png",
        "data": "aGk=",
        "detail": None,
    },
}
APPROVALS: dict[str, list[Item]] = {
    "Approval": [DECISION, {"tool_call_id": "call-1", "approve": False}],
    "ToolReturn": [RETURN, {key: RETURN[key] for key in RETURN if key != "type"}],
    "MessageToolReturn": [
        STORED_RETURN,
        {"status": "success"},
        {"status": "success", "func_response": [TEXT, IMAGE]},
    ],
}
FOUND_ITEMS: list[tuple[str, Item]] = [
    (
        "MessageSearchResult",
        {"embedded_text": "a", "message": _stored(), "rrf_score": 0.5, "fts_rank": 1},
    ),
    (
        "MessageSearchResult",
        {"embedded_text": "a", "message": _stored(), "rrf_score": 1, "vector_rank": 2},
    ),
    (
        "MessageSearchItem",
        {**FOUND, "message_type": "user_message", "content": "hello", "conversation_id": "c"},
    ),
    ("MessageSearchItem", {**FOUND, "message_type": "assistant_message", "content": [TEXT]}),
    ("MessageSearchItem", {**FOUND, "message_type": "reasoning_message", "reasoning": "hm"}),
]
WHEN = "2026-01-02T03:04:05.678901Z"
# Fields that are always null in the recordings, with types of the server's own schema.
NEVER_RECORDED: dict[tuple[str, str], Item] = {
    ("Agent", "agents"): {
        **_same("project_id template_id base_template_id deployment_id entity_id", "a"),
        **_same("blocks identities secrets sources tools", [{"id": "a"}]),
        **_same("identity_ids tags", ["a"]),
        **_same("metadata response_format", {"a": 1}),
        "tool_exec_environment_variables": [{"id": "a"}],
        "description": "a",
        "embedding": "openai/a",
        "hidden": True,
        "last_run_completion": WHEN,
        "last_run_duration_ms": 5,
        "pending_approval": _message("approval_request_message", tool_calls=[CALL]),
    },
    ("Group", "groups"): {
        **_same("project_id template_id base_template_id deployment_id termination_token", "a"),
        **_same("max_message_buffer_length min_message_buffer_length", 5),
        "hidden": False,
        "shared_block_ids": ["a"],
    },
    ("Run", "runs"): {
        **_same("base_template_id conversation_id callback_url callback_error", "a"),
        "callback_sent_at": WHEN,
        "callback_status_code": 200,
        "ttft_ns": 5_000_000_000,
    },
    ("Step", "steps"): {
        **_same("error_type origin project_id provider_id request_id tid trace_id", "a"),
        **_same("cache_write_tokens cached_input_tokens reasoning_tokens", 5),
        "error_data": {"a": 1},
        "feedback": "positive",
        "messages": [{"id": "a"}],
        "tags": ["a"],
    },
    ("Conversation", "conversations"): {
        **_same("in_context_message_ids isolated_block_ids", ["a"]),
        "model": "openai/a",
        "model_settings": {"a": 1},
        "archived": True,
        "archived_at": WHEN,
        "description": "a",
        "context_window_limit": 32000,
    },
    ("Batch", "batches"): {
        **_same("agent_id callback_error callback_url created_by_id last_updated_by_id", "a"),
        **_same("callback_sent_at completed_at", WHEN),
        "background": True,
        "callback_status_code": 200,
        "stop_reason": "end_turn",
        **_same("total_duration_ns ttft_ns", 5),
    },
    ("Block", "blocks"): {
        **_same("created_by_id last_updated_by_id project_id template_id", "a"),
        **_same("base_template_id deployment_id entity_id template_name", "a"),
        "hidden": True,
        "tags": ["a"],
    },
    ("Tool", "tools"): {
        "source_code": "def a(): ...",
        "project_id": "a",
        "args_json_schema": {"type": "object"},
        "default_requires_approval": True,
        "pip_requirements": [{"name": "numpy", "version": None}],
        "npm_requirements": [{"name": "left-pad", "version": "1.0.0"}],
    },
    ("Identity", "identities"): {"project_id": "a", **_same("agent_ids block_ids", ["a"])},
    ("Archive", "archives"): {"metadata": {"a": 1}},
    ("Passage", "passages"): {**_same("file_id file_name source_id", "a"), "tags": ["a"]},
    ("StepMetrics", "step_metrics"): {
        **_same("base_template_id project_id provider_id template_id", "a"),
        **_same("step_start_ns llm_request_start_ns tool_execution_ns", 1_764_323_115_000_000_000),
    },
    ("Message", "batch_messages"): {
        **_same("approval_request_id conversation_id created_by_id denial_reason group_id", "a"),
        **_same("last_updated_by_id otid run_id sender_id step_id", "a"),
        **_same("approve is_err", True),
        "approvals": [DECISION],
    },
}
STORED = _stored(
    created_at="2019-12-27T18:11:19.117Z",
    tool_calls=[OPENAI_CALL],
    tool_returns=[STORED_RETURN, {"status": "success", "tool_call_id": {}, "func_response": [TEXT, IMAGE]}],
)
# The model that must accept the item, its resource, and the item.
DOCUMENTED: list[tuple[str, str, Item]] = [
    *((shape, "agent_messages", item) for shape, items in MESSAGES.items() for item in items),
    *((shape, "messages", _user(part)) for shape, part in PARTS.items()),
    *((shape, "batch_messages", _stored(content=[part])) for shape, part in PARTS.items()),
    *((shape, "messages", _user({"type": "image", "source": source})) for shape, source in SOURCES.items()),
    *((shape, "messages", _approved(one)) for shape, all_ in APPROVALS.items() for one in all_),
    *(
        (shape, "batch_messages", _stored(approvals=[one]))
        for shape, all_ in APPROVALS.items()
        for one in all_
    ),
    *((shape, "batch_messages", STORED) for shape in ("Message", "OpenAIToolCall", "MessageToolReturn")),
    *((shape, "message_search", item) for shape, item in FOUND_ITEMS),
    *(
        (shape, resource, {**RECORDED[resource][0], **fields})
        for (shape, resource), fields in NEVER_RECORDED.items()
    ),
]


def test_wire_names_every_resource() -> None:
    parents = {"agents", "groups", "runs", "steps", "conversations", "batches"}
    messages = {f"{of}_messages" for of in ("agent", "group", "step", "conversation", "batch")} | {"messages"}
    memory = {"blocks", "agent_blocks", "archives", "passages"}
    others = {"message_search", "step_metrics", "tools", "identities"}
    assert set(RESOURCES) == parents | messages | memory | others


def test_recordings_cover_every_resource_but_search() -> None:
    assert set(RECORDED) == set(RESOURCES) - {"message_search"}
    assert all(RECORDED.values())


@pytest.mark.parametrize("resource", RECORDED)
def test_recorded_items_round_trip(resource: str) -> None:
    for item in RECORDED[resource]:
        assert _dump(resource, _check(resource, item)) == item


@pytest.mark.parametrize("resource", RECORDED)
def test_recorded_items_have_no_undeclared_fields(resource: str) -> None:
    for item in RECORDED[resource]:
        assert not _undeclared(_check(resource, item))


@pytest.mark.parametrize(("shape", "resource", "item"), DOCUMENTED)
def test_documented_shapes(shape: str, resource: str, item: Item) -> None:
    model = _check(resource, item)
    assert shape in {type(one).__name__ for one in _within(model)}
    assert not _undeclared(model)
    assert _dump(resource, model) == item


def test_every_declared_field_has_an_example_with_a_value() -> None:
    examples = [(resource, item) for _, resource, item in DOCUMENTED]
    examples += [(resource, item) for resource in RECORDED for item in RECORDED[resource]]
    seen: dict[type[BaseModel], set[str]] = {}
    for resource, item in examples:
        for model in _within(_check(resource, item)):
            filled = {name for name in model.model_fields_set if vars(model).get(name) is not None}
            seen.setdefault(type(model), set()).update(filled)
    exported = (getattr(models, name) for name in models.__all__)
    shapes = {one for one in exported if isinstance(one, type) and issubclass(one, BaseModel)} - FALLBACKS
    missing = {shape.__name__: set(shape.model_fields) - seen.get(shape, set()) for shape in shapes}
    # Fields that all LettaMessages inherit need one example, not one per type.
    common = set(models.SystemMessage.model_fields) - {"message_type", "content"}
    anywhere = set().union(*(fields for shape, fields in seen.items() if shape.__name__ in MESSAGES))
    assert common <= anywhere
    for name in MESSAGES:
        missing[name] -= common
    assert {name: fields for name, fields in missing.items() if fields} == {}


@pytest.mark.parametrize(
    ("resource", "item", "fallback"),
    [
        ("messages", _message("hologram_message", content=5, tool_calls="?"), models.UnknownMessage),
        ("messages", {"id": "message-1", "message_type": "unknown"}, models.UnknownMessage),
        ("messages", _user(TEXT, {"type": "smell", "text": 5}), models.Unknown),
        ("messages", _user({"type": "image", "source": {"type": "hologram", "url": 5}}), models.Unknown),
        ("messages", _approved({"type": "maybe", "approve": 5}), models.Unknown),
        ("batch_messages", _stored(content=[{"type": "smell"}]), models.Unknown),
        ("batch_messages", _stored(approvals=[{"type": "maybe", "status": 5}]), models.Unknown),
    ],
)
def test_unknown_types_are_kept_whole(resource: str, item: Item, fallback: type[BaseModel]) -> None:
    model = _check(resource, item)
    assert fallback in {type(one) for one in _within(model)}
    assert _dump(resource, model) == item


@pytest.mark.parametrize(
    ("resource", "item"),
    [
        ("messages", _message("user_message", content="a", mood={"joy": [1]})),
        ("messages", _user({**TEXT, "mood": 1}, {"type": "image", "source": {**IMAGE["source"], "mood": 1}})),
        ("messages", _message("tool_call_message", tool_calls=[{**CALL, "mood": 1}])),
        ("messages", _message("tool_return_message", tool_returns=[{**RETURN, "mood": 1}])),
        ("batch_messages", _stored(mood=1, tool_returns=[{**STORED_RETURN, "mood": 1}])),
        ("agents", {"id": "agent-1", "name": "a", "mood": 1, "managed_group": None}),
        ("runs", {**RECORDED["runs"][0], "mood": 1, "stop_reason": "bored"}),
    ],
)
def test_unknown_fields_and_words_are_kept(resource: str, item: Item) -> None:
    assert "mood" in json.dumps(item)
    assert _dump(resource, _check(resource, item)) == item
