"""One turn of a conversation, as the messages that the real server stores for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .shapes import (
    SEND_MESSAGE,
    Json,
    approval_response_item,
    assistant_item,
    call,
    reasoning_item,
    tool_call_item,
    tool_return_item,
    user_item,
)


@dataclass(frozen=True)
class Draft:
    """A message to store: its items, and the numbers of its step and its run within the turn."""

    items: list[Json]
    step: int
    run: int = 0


def boot_drafts(new_call_id: Callable[[], str]) -> list[list[Json]]:
    """Return the messages that a memgpt agent is created with, after its system message."""
    hello = call(SEND_MESSAGE, json.dumps({"message": "Hello, I am ready when you are."}), new_call_id())
    first_thought = reasoning_item("Waking up for the first time.", native=False)
    login = json.dumps({"type": "login", "last_login": "Never (first login)"})
    return [
        [first_thought, tool_call_item([hello])],
        [tool_return_item([hello], "None")],
        [user_item(login)],
    ]


def turn_drafts(
    agent_type: str,
    text: str,
    *,
    tools: Sequence[str],
    approval: bool,
    reasoning: bool,
    otid: str,
    new_call_id: Callable[[], str],
) -> Iterator[Draft]:
    """Yield the messages of one turn, in the order in which the server stores them.

    Args:
        agent_type: memgpt agents think in text, call one tool per step and answer through send_message.
        text: What the user says.
        tools: The names of the tools that the agent calls before it answers.
        approval: True if it also calls a tool that must be approved; the approval starts a second run.
        reasoning: True if the model gives its native reasoning.
        otid: The otid that the caller gave to the user message.
        new_call_id: Makes the id of a tool call.
    """
    memgpt = agent_type == "memgpt_v2_agent"
    answer = f"Reply to: {text}"
    native = [reasoning_item(f"Thinking about: {text}")] if reasoning else []
    said = [*native, _text_item(agent_type, answer)]
    step = run = 0
    yield Draft([user_item(text, otid)], step)

    def tool_call(name: str, **arguments: str) -> Json:
        heartbeat = {"request_heartbeat": False} if memgpt else {}
        return call(name, json.dumps({**arguments, **heartbeat}), new_call_id())

    rounds = [[name] for name in tools] if memgpt else [list(tools)] if tools else []
    for names in rounds:
        calls = [tool_call(name, input=text) for name in names]
        yield Draft([*said, tool_call_item(calls)], step)
        yield Draft([tool_return_item(calls, "done")], step)
        step += 1
    if approval:
        request = tool_call("danger", path="/dev/null")
        yield Draft([*said, tool_call_item([request], approval=True)], step)
        run = 1
        yield Draft([approval_response_item(request)], step, run)
        yield Draft([tool_return_item([request], "deleted /dev/null")], step, run)
        step += 1
    if memgpt:
        spoken = tool_call(SEND_MESSAGE, message=answer)
        thought = reasoning_item("thinking about it", native=False)
        yield Draft([*native, thought, tool_call_item([spoken])], step, run)
        yield Draft([tool_return_item([spoken], "Sent message successfully.")], step, run)
    else:
        yield Draft(said, step, run)


def _text_item(agent_type: str, text: str) -> Json:
    """Return an answer's text: an assistant message for a letta_v1_agent, reasoning for others."""
    return assistant_item(text) if agent_type == "letta_v1_agent" else reasoning_item(text, native=False)


def batch_drafts(agent_type: str, count: int, new_call_id: Callable[[], str]) -> Iterator[list[Json]]:
    """Yield messages of a batch: alternately an answer with a tool call, and its return."""
    roll: Json = {}
    for number in range(count):
        if number % 2:
            yield [tool_return_item([roll], "rolled")]
        else:
            roll = call("roll_dice", json.dumps({"sides": number}), new_call_id())
            answer = [reasoning_item(f"think {number}"), _text_item(agent_type, f"answer {number}")]
            yield [*answer, tool_call_item([roll])]
