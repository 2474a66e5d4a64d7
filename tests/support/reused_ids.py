"""A Letta in which ids of tool calls repeat."""

from __future__ import annotations

from functools import cache
from typing import Any

from letta_source.demo import Letta
from tests.support.dbt_story import told


@cache
def reused() -> Letta:
    """Return a Letta in which the model reuses the id `call_1` in each turn of an agent; do not change it."""
    letta = told()
    agent_id = letta.add_agent(name="repeats itself")
    for number in range(4):
        letta.talk(agent_id, f"again {number}", tools=("roll_dice",), approval=number == 2)
    for message_id, message in letta.messages.rows.items():
        if message.agent_id == agent_id:
            letta.replace_items(message_id, [_with_one_id(item) for item in message.items])
    return letta


def _with_one_id(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_one_id(one) for one in value]
    if isinstance(value, dict):
        return {
            key: "call_1" if key == "tool_call_id" and one else _with_one_id(one)
            for key, one in value.items()
        }
    return value
