"""The Letta that the models are built from: all recordings, and what no recording has."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from letta_source.demo import Letta, recorded_letta
from letta_source.demo.shapes import Json, recorded, run_template

# Longer than any chunk, with multi-byte characters.
LONG = "Long ✅ " * 150_000
_BEGIN = datetime(2026, 11, 20, 23, 59, 58, tzinfo=timezone.utc)


def told() -> Letta:
    """Return parallel conversations, approvals, heartbeats, running and failed runs, and cached tokens."""
    letta = recorded_letta()
    _put_runs_of_conversations(letta)
    agent_id = letta.add_agent(name="story")
    first, second = (letta.add_conversation(agent_id) for _ in range(2))
    letta.talk(agent_id, "one", tools=("roll_dice",), date=_BEGIN, conversation_id=first)
    letta.talk(agent_id, "uno", tools=("roll_dice", "roll_dice"), date=_BEGIN, conversation_id=second)
    letta.talk(agent_id, "two", approval=True, reasoning=True, date=_after(1), conversation_id=first)
    for text in ('{"type": "heartbeat", "reason": "go on"}', '{"type": "order", "of": "a person"}', LONG):
        letta.add_message(agent_id, text=text, date=_after(2))
    failed = letta.talk(agent_id, "three", date=_after(3), finished=False)
    letta.finish_run(failed, "failed")
    letta.talk(agent_id, "four", tools=("roll_dice",), date=_after(4), finished=False)
    _let_users_talk(letta)
    for number, step_id in enumerate(letta.tables["steps"].rows):
        if number % 3 == 0:
            letta.replace_row("steps", step_id, **_CACHED)
        if number % 7 == 6:
            letta.replace_row("steps", step_id, model="nobody-knows", model_handle="some/nobody-knows")
        if number % 5 == 0:
            letta.replace_row("steps", step_id, feedback="negative" if number % 2 else "positive")
    return letta


USERS: dict[str | None, int] = {"identity-owner": 2, "identity-guest": 1}
"""The turns of each user that is known."""


def _let_users_talk(letta: Letta) -> None:
    """Add an agent of one identity, to which a guest writes too, another agent, and one of two identities."""
    owned, shared = letta.add_agent(name="owned"), letta.add_agent(name="shared")
    letta.replace_row("agents", owned, identity_ids=["identity-owner"])
    letta.replace_row("agents", shared, identity_ids=["identity-owner", "identity-guest"])
    senders = {"mine": None, "a guest's": "identity-guest", "another agent's": "agent-of-somebody"}
    for number, text in enumerate(senders):
        letta.talk(owned, text, date=_after(10 + number))
    letta.talk(shared, "whose?", date=_after(10))
    for message in letta.messages.rows.values():
        for item in message.items:
            if message.agent_id == owned and item["message_type"] == "user_message":
                item["sender_id"] = senders[item["content"]]


_CACHED: Json = {
    "prompt_tokens": 1000,
    "cached_input_tokens": 600,
    "cache_write_tokens": 100,
    "completion_tokens": 50,
    "reasoning_tokens": 20,
    "total_tokens": 1050,
    "model": "claude-sonnet-4-5",
    "model_handle": "anthropic/claude-sonnet-4-5",
}


def _after(seconds: int) -> datetime:
    return _BEGIN + timedelta(seconds=seconds)


def _put_runs_of_conversations(letta: Letta) -> None:
    """Add the runs that the recorded conversations belong to; they were not recorded themselves."""
    for line in recorded("conversations"):
        kind, parent_id = line["path"].split("/")[2:4]
        if kind != "conversations" or not line["path"].endswith("/messages"):
            continue
        for item in line["body"]:
            run_id = item["run_id"]
            if run_id and run_id not in letta.tables["runs"].rows:
                agent_id = letta.messages.rows[item["id"]].agent_id
                letta.put(
                    "runs",
                    {
                        **run_template(),
                        "id": run_id,
                        "agent_id": agent_id,
                        "conversation_id": parent_id,
                        "created_at": item["date"],
                        "completed_at": None,
                        "total_duration_ns": None,
                    },
                )
