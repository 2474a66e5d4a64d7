"""Fills every column that the real server can fill: what its own calls leave null is set in its tables.

In use, most of these are filled by Cloud, other model providers and longer histories. The server renders
them as its own.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from typing import Any

from tests.support.server_rows import Tables

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
CALLBACK: dict[str, Any] = {
    "callback_url": "https://example.com/done",
    "callback_sent_at": NOW.replace(tzinfo=None),
    "callback_status_code": 502,
    "callback_error": "Bad Gateway",
    "ttft_ns": 1_234,
    "total_duration_ns": 56_789,
}
SENDER = "identity-of-rare-rows"
FROM_TEMPLATE = {"base_template_id": "base-1", "template_id": "template-1", "deployment_id": "deployment-1"}
TEXT: dict[str, Any] = {"type": "text", "text": "With a signature.", "signature": "signed"}
IMAGE: dict[str, Any] = {
    "type": "image",
    "source": {
        "type": "letta",
        "file_id": "file-1",
        "media_type": "image/png",
        "data": PIXEL,
        "detail": "low",
    },
}
REASONING: dict[str, Any] = {
    "type": "reasoning",
    "is_native": True,
    "reasoning": "So it is.",
    "signature": "signed",
}
REDACTED: dict[str, Any] = {"type": "redacted_reasoning", "data": "b3BhcXVl"}
# Parts that Gemini and the Responses API send; lists of messages show none of them as content.
RARE_PARTS: list[dict[str, Any]] = [
    {"type": "tool_call", "id": "call-part", "name": "roll", "input": {"sides": 6}, "signature": "signed"},
    {"type": "tool_return", "tool_call_id": "call-part", "content": "5", "is_error": False},
    {
        "type": "summarized_reasoning",
        "id": "rs_1",
        "summary": [{"index": 0, "text": "In short."}],
        "encrypted_content": "opaque",
    },
]


def fill_agent(tables: Tables, agent_id: str) -> None:
    """Set an agent's columns, including its models' handles."""
    configs = {
        name: tables.one(f"select {name} from agents where id = %s", agent_id)
        for name in ("llm_config", "embedding_config")
    }
    handles = {name: {**config, "handle": "openai/a-model"} for name, config in configs.items()}
    tables.change(
        "agents",
        agent_id,
        **handles,
        **FROM_TEMPLATE,
        project_id="project-1",
        entity_id="entity-1",
        description="Fills every column.",
        metadata_={"team": "a"},
        response_format={"type": "json_object"},
        enable_sleeptime=False,
        hidden=True,
        last_run_completion=NOW,
        last_run_duration_ms=12,
    )


def fill_group(tables: Tables, group_id: str, message_id: str) -> None:
    """Set a group's columns: those of every manager type."""
    tables.change(
        "groups",
        group_id,
        **FROM_TEMPLATE,
        project_id="project-1",
        termination_token="DONE",
        max_turns=3,
        sleeptime_agent_frequency=4,
        turns_counter=5,
        last_processed_message_id=message_id,
        max_message_buffer_length=60,
        min_message_buffer_length=30,
        hidden=True,
    )


def fill_run(tables: Tables, run_id: str, conversation_id: str) -> None:
    """Set a run's columns."""
    tables.change(
        "runs", run_id, **CALLBACK, **FROM_TEMPLATE, conversation_id=conversation_id, background=True
    )


def fill_step(tables: Tables, step_id: str) -> None:
    """Set a step's columns: those of a failed call, and of providers that report more about tokens."""
    tables.change(
        "steps",
        step_id,
        provider_id=tables.one("select id from providers limit 1"),
        model_handle="openai/a-model",
        cached_input_tokens=1,
        cache_write_tokens=2,
        reasoning_tokens=3,
        prompt_tokens_details={"cached_tokens": 1},
        completion_tokens_details={"reasoning_tokens": 3},
        stop_reason="error",
        origin="a script",
        project_id="project-1",
        tid="transaction-1",
        trace_id="trace-1",
        request_id="request-1",
        tags=["vip"],
        feedback="negative",
        error_type="LLMError",
        error_data={"message": "no"},
    )


def fill_step_metrics(tables: Tables, step_id: str) -> None:
    """Set the columns of a step's metrics."""
    tables.change(
        "step_metrics",
        step_id,
        provider_id=tables.one("select id from providers limit 1"),
        step_start_ns=1,
        llm_request_start_ns=2,
        base_template_id="base-1",
        template_id="template-1",
        project_id="project-1",
    )


def fill_block(tables: Tables, agent_id: str) -> str:
    """Set the columns of a block of an agent; return its id."""
    block_id: str = tables.one("select block_id from blocks_agents where agent_id = %s limit 1", agent_id)
    tables.change(
        "block",
        block_id,
        **FROM_TEMPLATE,
        entity_id="entity-1",
        project_id="project-1",
        template_name="A template",
        description="Of a person.",
        metadata_={"team": "a"},
        hidden=True,
    )
    return block_id


def fill_passages(tables: Tables) -> None:
    """Set the columns of a passage and an archive that their API calls leave null."""
    made = {"_created_by_id": tables.user_id, "_last_updated_by_id": tables.user_id}
    archive, passage = (
        tables.one(f"select id from {table} limit 1") for table in ("archives", "archival_passages")
    )
    tables.change("archives", archive, description="Of papers.", metadata_={"team": "a"}, **made)
    tables.change("archival_passages", passage, metadata_={"page": 3}, **made)


def fill_tool(tables: Tables, tool_id: str) -> None:
    """Set a tool's columns. No agent may call it, because the server would install its packages."""
    tables.change(
        "tools",
        tool_id,
        args_json_schema={"type": "object"},
        pip_requirements=[{"name": "numpy", "version": None}],
        npm_requirements=[{"name": "left-pad", "version": None}],
        project_id="project-1",
    )


def fill_conversation(tables: Tables, conversation_id: str) -> None:
    """Set a conversation's columns: a title and a model of its own."""
    tables.change(
        "conversations",
        conversation_id,
        summary="About dice.",
        model="openai/a-model",
        model_settings={"provider_type": "openai", "temperature": 0.5},
    )


def fill_batch(tables: Tables, batch_id: str, user_id: str) -> None:
    """Set a batch's columns."""
    tables.change(
        "jobs",
        batch_id,
        **CALLBACK,
        _created_by_id=user_id,
        _last_updated_by_id=user_id,
        stop_reason="end_turn",
        background=True,
    )


def add_messages(tables: Tables, **owner: Any) -> list[str]:
    """Add a message of each kind that fills a column of lists of messages; return their ids, in order.

    Args:
        owner: Columns that name the owner: `agent_id`, and some of `group_id`, `step_id` and `run_id`.
    """
    call = _call()
    returned = _returned(call["id"])
    approval = {"type": "approval", "tool_call_id": call["id"], "approve": False, "reason": "Too dear."}
    common = {**owner, "sender_id": SENDER, "is_err": True, "name": "Ann", "otid": "otid-1"}
    return [
        tables.add_message("user", [TEXT, IMAGE], **common),
        tables.add_message("assistant", [REASONING, REDACTED, TEXT], tool_calls=[call], **common),
        tables.add_message("tool", _said(returned), tool_returns=[returned], **common),
        tables.add_message("approval", [], tool_calls=[call], **common),
        # The result of a tool that the client ran itself comes back as an approval.
        tables.add_message("approval", [], approvals=[approval, returned], **common),
    ]


def add_batch_messages(tables: Tables, batch_item_id: str, user_id: str, **owner: Any) -> None:
    """Add messages that fill the columns of a batch's messages: every content part, and older columns.

    Args:
        owner: Columns that name the owner: agent, group, run, step and conversation.
    """
    call = _call()
    made = {"_created_by_id": user_id, "_last_updated_by_id": user_id, "batch_item_id": batch_item_id}
    common = {**owner, **made, "sender_id": SENDER, "is_err": True, "name": "Ann", "otid": "otid-1"}
    parts = [TEXT, IMAGE, REASONING, REDACTED, *RARE_PARTS]
    tables.add_message("assistant", parts, tool_calls=[call], model="a-model", **common)
    returned = _returned(call["id"])
    tables.add_message("tool", _said(returned), tool_returns=[returned], **common)
    decision = {"approve": False, "approval_request_id": call["id"], "denial_reason": "Too dear."}
    tables.add_message("approval", [], **decision, **common)
    approval = {"type": "approval", "tool_call_id": call["id"], "approve": False, "reason": "Too dear."}
    tables.add_message("approval", [], approvals=[approval, returned], **common)


def add_to_conversation(tables: Tables, conversation_id: str, agent_id: str, message_ids: list[str]) -> None:
    """Append messages to a conversation's list."""
    last = tables.one(
        "select max(position) from conversation_messages where conversation_id = %s", conversation_id
    )
    for place, message_id in enumerate(message_ids, start=(last or 0) + 1):
        tables.insert(
            "conversation_messages",
            "message_conv",
            conversation_id=conversation_id,
            agent_id=agent_id,
            message_id=message_id,
            position=place,
            in_context=False,
            organization_id=tables.organization_id,
        )


def _call() -> dict[str, Any]:
    function = {"name": "roll_dice", "arguments": json.dumps({"sides": 6})}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


def _returned(call_id: str) -> dict[str, Any]:
    return {
        "tool_call_id": call_id,
        "status": "success",
        "stdout": ["rolling"],
        "stderr": ["careful"],
        "func_response": json.dumps({"status": "OK", "message": "5"}),
    }


def _said(returned: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the content that accompanies a single result: the server takes the result from there."""
    return [{"type": "text", "text": returned["func_response"]}]
