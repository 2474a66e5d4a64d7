"""The truth read from the database equals the API's responses; all comparisons depend on that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from tests.live.conftest import Letta
from tests.support.truth import Items

pytestmark = pytest.mark.live

# More than any parent of the seed has, so one page holds everything.
LIMIT = 1000
LOSSLESS = {"use_assistant_message": "false"}


def get(client: httpx.Client, path: str, **params: str) -> Any:
    answer = client.get(path, params={"limit": str(LIMIT), "order": "asc", **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def items(client: httpx.Client, path: str, parent: str, **params: str) -> Items:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for item in get(client, path, **params):
        key = parent, item["id"]
        found[key] = (*found.get(key, ()), item["message_type"])
    return found


def ids(rows: Iterable[dict[str, Any]]) -> set[str]:
    return {row["id"] for row in rows}


@pytest.mark.parametrize("family", ["agents", "groups", "runs", "conversations"])
def test_parents(letta: Letta, family: str) -> None:
    assert ids(get(letta.client, f"/v1/{family}/")) == getattr(letta.truth(), family)


def test_steps(letta: Letta) -> None:
    truth = letta.truth()
    steps = [step for run in truth.runs for step in get(letta.client, f"/v1/runs/{run}/steps")]
    assert ids(steps) == truth.steps


def test_batches(letta: Letta) -> None:
    truth = letta.truth()
    unfinished = {batch for batch, status in truth.batches.items() if status in ("created", "running")}
    assert ids(get(letta.client, "/v1/messages/batches")) == unfinished
    statuses = {
        batch: get(letta.client, f"/v1/messages/batches/{batch}")["status"] for batch in truth.batches
    }
    assert statuses == truth.batches


def test_agent_messages(letta: Letta) -> None:
    truth = letta.truth()
    served: Items = {}
    for agent in truth.agents:
        served |= items(letta.client, f"/v1/agents/{agent}/messages", agent, **LOSSLESS)
    assert served == truth.agent_items


def test_agent_messages_are_in_the_servers_order(letta: Letta) -> None:
    agent = letta.ids.agents["v1"]
    served = items(letta.client, f"/v1/agents/{agent}/messages", agent, **LOSSLESS)
    assert list(served) == [key for key in letta.truth().agent_items if key[0] == agent]


def test_tool_calls_and_returns(letta: Letta) -> None:
    truth = letta.truth()
    calls, returns = {}, {}
    for agent in truth.agents:
        for item in get(letta.client, f"/v1/agents/{agent}/messages", **LOSSLESS):
            if item["message_type"] in ("tool_call_message", "approval_request_message"):
                calls[item["id"]] = tuple(call["tool_call_id"] for call in item["tool_calls"])
            elif item["message_type"] == "tool_return_message":
                returns[item["id"]] = tuple(one["tool_call_id"] for one in item["tool_returns"])
    assert calls == truth.tool_calls
    assert returns == truth.tool_returns


def test_group_messages(letta: Letta) -> None:
    truth = letta.truth()
    served: Items = {}
    for group in truth.groups:
        served |= items(letta.client, f"/v1/groups/{group}/messages", group, **LOSSLESS)
    # A group without a manager returns the items of a message in reverse, whatever the requested order.
    assert {key: sorted(kinds) for key, kinds in served.items()} == {
        key: sorted(kinds) for key, kinds in truth.group_items.items()
    }


@pytest.mark.parametrize("family", ["steps", "conversations"])
def test_messages_without_the_lossless_rendering(letta: Letta, family: str) -> None:
    truth = letta.truth()
    stored = truth.step_messages if family == "steps" else truth.conversation_messages
    served: Items = {}
    for parent in getattr(truth, family):
        served |= items(letta.client, f"/v1/{family}/{parent}/messages", parent)
    assert served.keys() == {key for key in stored if key[1] not in truth.hidden_returns}


def test_batch_messages(letta: Letta) -> None:
    truth = letta.truth()
    served = {
        (batch, message["id"], message["role"])
        for batch in truth.batches
        for message in get(letta.client, f"/v1/messages/batches/{batch}/messages")["messages"]
    }
    assert served == truth.batch_messages


def test_the_seed_has_every_kind_of_message(letta: Letta) -> None:
    truth = letta.truth()
    kinds = {kind for _, _, kind in truth.counts(truth.agent_items)}
    assert kinds == {
        "system_message",
        "user_message",
        "assistant_message",
        "reasoning_message",
        "hidden_reasoning_message",
        "tool_call_message",
        "tool_return_message",
        "approval_request_message",
        "approval_response_message",
    }
    assert max(map(len, truth.tool_calls.values())) == max(map(len, truth.tool_returns.values())) == 3
    assert truth.group_items
    assert truth.hidden_returns
    conversations = [message for _, message in truth.conversation_messages]
    assert len(conversations) > len(set(conversations)), "the fork shares its messages"
    sizes = [sum(key[0] == batch for key in truth.batch_messages) for batch in letta.ids.batches.values()]
    assert sorted(sizes)[0] == 0
    assert sorted(sizes)[-1] >= 120


def test_the_seed_has_every_tool_outcome(letta: Letta) -> None:
    agent = letta.ids.agents["v1"]
    served = get(letta.client, f"/v1/agents/{agent}/messages", **LOSSLESS)
    returns = [one for item in served for one in item.get("tool_returns") or ()]
    assert {one["status"] for one in returns} == {"success", "error"}
    assert any("LOUD" in line for one in returns for line in one["stdout"] or ())
    assert any("careful" in line for one in returns for line in one["stderr"] or ())
    # Results of tools that a client ran itself are there, too.
    answers = [one for item in served for one in item.get("approvals") or ()]
    approvals = [one for one in answers if one["type"] == "approval"]
    assert {one["approve"] for one in approvals} == {True, False}
    assert any(one["reason"] for one in approvals)
    pending = letta.ids.agents["v1 pending"]
    newest = get(letta.client, f"/v1/agents/{pending}/messages", **LOSSLESS)[-1]
    assert newest["message_type"] == "approval_request_message"
