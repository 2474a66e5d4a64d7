"""Items that do not fit a model fail with the place; and rules for all models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from letta_source import models
from letta_source.demo.shapes import run_template
from letta_source.schema.resources import RESOURCES
from tests.support.paths import ROOT

Item = dict[str, Any]


def _shapes(base: type[BaseModel] = models.Wire) -> Iterator[type[BaseModel]]:
    for shape in base.__subclasses__():
        if shape.__module__.startswith("letta_source."):
            yield shape
        yield from _shapes(shape)


def _message(message_type: str, **fields: object) -> Item:
    return {"id": "message-1", "date": "2026-01-02T03:04:05+00:00", "message_type": message_type, **fields}


def _user(*parts: Item) -> Item:
    return _message("user_message", content=list(parts))


def _approved(*approvals: Item) -> Item:
    return _message("approval_response_message", approvals=list(approvals))


def _stored(**fields: object) -> Item:
    return {"id": "message-1", "role": "assistant", **fields}


CALL: Item = {"name": "roll", "arguments": '{"sides": 6}', "tool_call_id": "call-1"}
RETURN: Item = {
    "type": "tool",
    "tool_return": "4",
    "status": "success",
    "tool_call_id": "call-1",
    "stdout": ["a"],
}
DECISION = {"type": "approval", "tool_call_id": "call-1", "approve": False, "reason": "no"}
FOUND = {"message_id": "message-1", "created_at": "2026-01-02T03:04:05.678901Z", "agent_id": "agent-1"}


@pytest.mark.parametrize(
    ("resource", "item", "where", "says"),
    [
        ("messages", "hello", "unknown", "valid dictionary"),
        ("messages", {}, "unknown.id", "Field required"),
        ("messages", _message("user_message"), "user_message.content", "Field required"),
        ("messages", _message("user_message", content=5), "user_message.content.string", "valid string"),
        ("messages", _message("user_message", content=None), "user_message.content.string", "valid string"),
        (
            "messages",
            _user({"type": "text", "text": 5}),
            "user_message.content.parts.0.text.text",
            "valid string",
        ),
        ("messages", _user({"text": "a"}), "user_message.content.parts.0.unknown.type", "Field required"),
        (
            "messages",
            _user({"type": "image", "source": {"type": "url", "url": 5}}),
            "user_message.content.parts.0.image.source.url.url",
            "valid string",
        ),
        (
            "messages",
            _message("tool_call_message", tool_calls=[{**CALL, "name": 5}]),
            "tool_call_message.tool_calls.list.0.name",
            "valid string",
        ),
        (
            "messages",
            _message("tool_return_message", tool_returns=[{**RETURN, "status": "maybe"}]),
            "tool_return_message.tool_returns.0.status",
            "'success' or 'error'",
        ),
        (
            "messages",
            _message("tool_return_message", tool_return="4", stdout="a"),
            "tool_return_message.stdout",
            "valid list",
        ),
        (
            "messages",
            _approved({**DECISION, "approve": "yes"}),
            "approval_response_message.approvals.0.approval.approve",
            "valid boolean",
        ),
        (
            "messages",
            _approved({}),
            "approval_response_message.approvals.0.message_tool.status",
            "Field required",
        ),
        (
            "messages",
            _message("hidden_reasoning_message", state="lost"),
            "hidden_reasoning_message.state",
            "'omitted'",
        ),
        (
            "messages",
            _message("event_message", event_type="a", event_data="b"),
            "event_message.event_data",
            "dictionary",
        ),
        (
            "messages",
            {**_message("summary", summary="a"), "date": "yesterday"},
            "summary.date",
            "match pattern",
        ),
        (
            "messages",
            {**_message("summary", summary="a"), "date": 1767323045},
            "summary.date",
            "valid string",
        ),
        (
            "messages",
            _message("system_message", content="a", seq_id="5"),
            "system_message.seq_id",
            "valid integer",
        ),
        ("batch_messages", _stored(content="hello"), "content", "valid list"),
        (
            "batch_messages",
            _stored(tool_calls=[{"id": "a", "type": "function"}]),
            "tool_calls.0.function",
            "required",
        ),
        ("message_search", {**FOUND, "message_type": 5}, "item.message_type", "valid string"),
        ("message_search", {"message": _stored(), "rrf_score": "1"}, "scored.rrf_score", "valid number"),
        ("agents", {"id": "agent-1", "name": "a", "llm_config": "gpt"}, "llm_config", "valid dictionary"),
        (
            "groups",
            {"id": "group-1", "manager_type": "dynamic", "agent_ids": "agent-1"},
            "agent_ids",
            "valid list",
        ),
        ("runs", {**run_template(), "total_duration_ns": 1.5}, "total_duration_ns", "valid integer"),
        ("steps", {"id": "step-1", "total_tokens": "827"}, "total_tokens", "valid integer"),
        ("conversations", {"id": "conv-1", "agent_id": None}, "agent_id", "valid string"),
        (
            "batches",
            {"id": "job-1", "status": "running", "created_at": "2026"},
            "created_at",
            "match pattern",
        ),
    ],
)
def test_wrong_shapes_fail_with_their_place(resource: str, item: object, where: str, says: str) -> None:
    with pytest.raises(ValidationError) as failure:
        RESOURCES[resource].adapter.validate_python(item)
    found = {".".join(map(str, error["loc"])): error["msg"] for error in failure.value.errors()}
    assert says in found[where]
    assert says in str(failure.value)


def test_every_model_is_exported() -> None:
    shapes = {shape.__name__ for shape in _shapes() if not shape.__subclasses__()}
    assert shapes <= set(models.__all__)


def test_every_field_is_described() -> None:
    bare = [
        f"{shape.__name__}.{name}"
        for shape in _shapes()
        for name, of in shape.model_fields.items()
        if not of.description
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("shape", "doubles"),
    [
        (models.ToolCallMessage, {"tool_call"}),
        (models.ToolReturnMessage, {"tool_return", "status", "tool_call_id", "stdout", "stderr"}),
        (models.ApprovalRequestMessage, {"tool_call"}),
        (models.ApprovalResponseMessage, {"approve", "approval_request_id", "reason"}),
    ],
)
def test_singular_doubles_are_marked_deprecated(shape: type[BaseModel], doubles: set[str]) -> None:
    assert {name for name, of in shape.model_fields.items() if of.deprecated} == doubles


def test_importing_builds_no_validators() -> None:
    code = (
        "from letta_source.models import Wire;"
        "import letta_source.schema.tables;"
        "assert not any(shape.__pydantic_complete__ for shape in Wire.__subclasses__())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
