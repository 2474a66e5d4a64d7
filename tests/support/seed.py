"""Fill a Letta server with every kind of message its agents, conversations, groups and batches can have."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.language_model import EMBEDDING_DIMENSIONS, EMBEDDING_MODEL, MODEL
from tests.support.letta_server import LettaServer
from tests.support.server_rows import Tables

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

# The server's sandbox takes seconds to pass an argument to a tool, so most have none.
TOOLS = {
    "roll_dice": '''
def roll_dice(sides: int) -> str:
    """Roll a dice.

    Args:
        sides (int): How many sides it has.
    """
    return f"Rolled a {sides} 🎲"
''',
    "divide": '''
def divide() -> str:
    """Divide by zero, which fails."""
    return str(1 / 0)
''',
    "shout": '''
def shout() -> str:
    """Print on both streams."""
    import sys
    print("LOUD")
    print("second line")
    print("careful", file=sys.stderr)
    return "printed"
''',
    "danger": '''
def danger() -> str:
    """Do something that a person has to approve."""
    return "done"
''',
}

# How much of the messages is summed up.
_ALL = {"compaction_settings": {"mode": "all"}}

UNICODE = "Grüße, 世界! 👩🏽‍🚀 שלום “quotes” \\backslash\ttab\nnew line {braces} 'single'"


@dataclass
class Seeded:
    """The server's ids of the seeded objects, by the names that tests use."""

    agents: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    batches: dict[str, str] = field(default_factory=dict)
    conversations: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    late_sequence_id: int = 0
    """A number of the server's message sequence that is taken but unused, as by an open transaction."""
    late_message_id: str = ""
    """The message that `more` gave that number."""


def seed(server: LettaServer, client: httpx.Client) -> Seeded:
    """Fill an empty server; `client` has its `base_url`."""
    api = Api(server, client)
    ids = Seeded()
    for name, source in TOOLS.items():
        ids.tools[name] = api.create_tool(source, needs_approval=name == "danger")
    for name, agent_type in {
        "v1": "letta_v1_agent",
        "v1 pending": "letta_v1_agent",
        "v1 reset": "letta_v1_agent",
        "v1 silent": "letta_v1_agent",
        "memgpt": "memgpt_v2_agent",
        "memgpt deleted": "memgpt_v2_agent",
    }.items():
        ids.agents[name] = api.create_agent(name, agent_type, list(ids.tools.values()))
    _seed_turns(api, ids)
    _seed_conversations(api, ids)
    _seed_groups(api, ids)
    with Tables(server.database_url) as tables:
        agents = [ids.agents["v1"], ids.agents["memgpt"]]
        for agent_id in agents:
            tables.add_rare_messages(agent_id)
        ids.batches["completed"] = tables.add_batch("completed", agents, messages=120)
        ids.batches["running"] = tables.add_batch("running", agents, messages=4)
        ids.batches["empty"] = tables.add_batch("completed", agents, messages=0)
        ids.late_sequence_id = tables.take_sequence_id()
    # So that the number taken is smaller than some that are in use.
    api.turn(ids.agents["v1"], "The last turn before the first load.")
    return ids


def more(server: LettaServer, client: httpx.Client, ids: Seeded) -> None:
    """Change a seeded server in every way a load has to notice; adds the new agent to `ids`."""
    api = Api(server, client)
    api.turn(ids.agents["v1"], "A later turn; think, then use roll_dice and shout")
    api.turn(ids.agents["memgpt"], "A later turn; use roll_dice")
    ids.agents["new"] = api.create_agent("new", "letta_v1_agent", list(ids.tools.values()))
    api.turn(ids.agents["new"], "The first turn of a new agent.")
    api.reset(ids.agents["v1 reset"])
    with Tables(server.database_url) as tables:
        tables.delete_messages(ids.agents["v1 reset"])
        tables.finish_batch(ids.batches["running"], [ids.agents["v1"], ids.agents["memgpt"]], messages=6)
        ids.late_message_id = tables.add_late_message(ids.agents["v1"], ids.late_sequence_id)
    api.turn(ids.agents["v1 reset"], "The first turn after the reset.")
    api.delete_agent(ids.agents["memgpt deleted"])


def _seed_turns(api: Api, ids: Seeded) -> None:
    v1, memgpt = ids.agents["v1"], ids.agents["memgpt"]
    api.turn(v1, "Hello there.")
    api.turn(v1, f"Please think. {UNICODE}")
    api.turn(v1, "think and use roll_dice and divide and shout")
    api.turn(v1, "think, use shout", stream=True)
    api.turn(v1, [{"type": "text", "text": "What is on this image?"}, _image()])
    for approve, reason in ((True, None), (False, "Not today — too dangerous 🚫")):
        api.turn(v1, "use danger")
        api.decide(v1, approve=approve, reason=reason)
    api.turn(ids.agents["v1 pending"], "think, then use danger")
    api.turn(ids.agents["v1 reset"], "Something that will be forgotten.")
    api.turn(memgpt, "Hello there; think.")
    api.turn(memgpt, f"use roll_dice and divide. {UNICODE}")
    api.turn(memgpt, "use shout", stream=True)
    api.turn(memgpt, [{"type": "text", "text": "And this one?"}, _image()])
    api.turn(ids.agents["memgpt deleted"], "Something that will be deleted; use roll_dice")


def _seed_conversations(api: Api, ids: Seeded) -> None:
    v1, memgpt = ids.agents["v1"], ids.agents["memgpt"]
    for name, agent in {"v1": v1, "v1 other": v1, "silent": v1, "memgpt": memgpt}.items():
        ids.conversations[name] = api.create_conversation(agent)
    # The server answers 500 to a memgpt agent's turn in a conversation.
    for name in ("v1", "v1 other"):
        api.converse(ids.conversations[name], "think, then use shout")
    ids.conversations["fork"] = api.fork(ids.conversations["v1"])
    api.converse(ids.conversations["v1"], "Only in the origin.")
    api.converse(ids.conversations["fork"], "Only in the fork.")


def _seed_groups(api: Api, ids: Seeded) -> None:
    v1, memgpt = ids.agents["v1"], ids.agents["memgpt"]
    round_robin = {"manager_type": "round_robin"}
    supervised = {"manager_type": "supervisor", "manager_agent_id": v1}
    ids.groups["round robin"] = api.create_group([v1, memgpt], round_robin)
    ids.groups["supervised"] = api.create_group([memgpt], supervised)
    ids.groups["empty"] = api.create_group([memgpt], round_robin)
    with Tables(api.server.database_url) as tables:
        tables.add_group_messages(ids.groups["round robin"], [v1, memgpt], turns=12)
        tables.add_group_messages(ids.groups["supervised"], [v1, memgpt], turns=3)


def _image() -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


class Api:
    """The server's REST API, as far as it is needed to fill it."""

    def __init__(self, server: LettaServer, client: httpx.Client) -> None:
        self.server = server
        self._client = client

    def create_tool(self, source: str, *, needs_approval: bool) -> str:
        body = {"source_code": source, "default_requires_approval": needs_approval}
        return str(self._send("POST", "/v1/tools/", body)["id"])

    def create_agent(self, name: str, agent_type: str, tool_ids: list[str]) -> str:
        model = {
            "model": MODEL,
            "model_endpoint_type": "openai",
            "model_endpoint": self.server.model_url,
            "context_window": 128_000,
            "parallel_tool_calls": True,
        }
        body = {
            "name": name,
            "agent_type": agent_type,
            "tool_ids": tool_ids,
            "llm_config": model,
            "embedding_config": self._embedding(),
            "memory_blocks": [{"label": "human", "value": "A person."}],
        }
        return str(self._send("POST", "/v1/agents/", body)["id"])

    def set_agent(self, agent_id: str, **body: object) -> None:
        self.change(f"/v1/agents/{agent_id}", **body)

    def change(self, path: str, **body: object) -> None:
        """Set fields of what the path names."""
        self._send("PATCH", path, body)

    def create_identity(self, name: str, **more: object) -> str:
        body = {"identifier_key": name, "name": name, "identity_type": "user", **more}
        return str(self._send("POST", "/v1/identities/", body)["id"])

    def create_source(self, name: str) -> str:
        body = {"name": name, "embedding_config": self._embedding()}
        return str(self._send("POST", "/v1/sources/", body)["id"])

    def remember(self, agent_id: str, text: str, **body: object) -> None:
        """Add a passage to an agent's archive."""
        self._send("POST", f"/v1/agents/{agent_id}/archival-memory", {"text": text, **body})

    def attach(self, agent_id: str, relation: str, item_id: str) -> None:
        """Attach an identity, source, … to an agent."""
        self._send("PATCH", f"/v1/agents/{agent_id}/{relation}/attach/{item_id}")

    def delete_agent(self, agent_id: str) -> None:
        self._send("DELETE", f"/v1/agents/{agent_id}")

    def turn(self, agent_id: str, content: str | list[dict[str, Any]], *, stream: bool = False) -> None:
        body = {"messages": [{"role": "user", "content": content}]}
        self._send("POST", f"/v1/agents/{agent_id}/messages{'/stream' if stream else ''}", body)

    def decide(self, agent_id: str, *, approve: bool, reason: str | None) -> None:
        """Approve or deny the tool call that the agent is waiting with."""
        newest = self._send("GET", f"/v1/agents/{agent_id}/messages?limit=1&order=desc")[0]
        decision = {"approve": approve, "reason": reason, "type": "approval"}
        approvals = [{**decision, "tool_call_id": call["tool_call_id"]} for call in newest["tool_calls"]]
        body = {"messages": [{"type": "approval", "approvals": approvals}]}
        self._send("POST", f"/v1/agents/{agent_id}/messages", body)

    def reset(self, agent_id: str) -> None:
        body = {"add_default_initial_messages": False}
        self._send("PATCH", f"/v1/agents/{agent_id}/reset-messages", body)

    def create_conversation(self, agent_id: str, **body: object) -> str:
        return str(self._send("POST", f"/v1/conversations/?agent_id={agent_id}", body)["id"])

    def fork(self, conversation_id: str) -> str:
        return str(self._send("POST", f"/v1/conversations/{conversation_id}/fork")["id"])

    def converse(self, conversation_id: str, content: str, *, stream: bool = False) -> None:
        body = {"messages": [{"role": "user", "content": content}], "streaming": stream}
        self._send("POST", f"/v1/conversations/{conversation_id}/messages", body)

    def compact(self, conversation_id: str) -> None:
        """Have a conversation summed up."""
        self._send("POST", f"/v1/conversations/{conversation_id}/compact", _ALL)

    def summarize(self, agent_id: str) -> None:
        self._send("POST", f"/v1/agents/{agent_id}/summarize", _ALL)

    def capture(self, agent_id: str) -> None:
        """Store an exchange that another program had with its model."""
        request = [{"role": "user", "content": "Captured."}]
        response = {"content": "An answer that was captured."}
        body = {"provider": "openai", "model": MODEL, "request_messages": request, "response_dict": response}
        self._send("POST", f"/v1/agents/{agent_id}/messages/capture", body)

    def copy_agent(self, agent_id: str) -> list[str]:
        """Export an agent, and import it again; return the ids of the copies."""
        exported = self._send("GET", f"/v1/agents/{agent_id}/export")
        content = exported if isinstance(exported, str) else json.dumps(exported)
        sent = self._client.post("/v1/agents/import", files={"file": ("agent.af", content)}, timeout=60)
        assert sent.is_success, sent.text
        return [str(one) for one in sent.json()["agent_ids"]]

    def create_group(self, agent_ids: list[str], manager: dict[str, str]) -> str:
        body = {"agent_ids": agent_ids, "description": "A group.", "manager_config": manager}
        return str(self._send("POST", "/v1/groups/", body)["id"])

    def _embedding(self) -> dict[str, object]:
        return {
            "embedding_model": EMBEDDING_MODEL,
            "embedding_endpoint_type": "openai",
            "embedding_endpoint": self.server.model_url,
            "embedding_dim": EMBEDDING_DIMENSIONS,
        }

    def _send(self, method: str, path: str, body: object = None) -> Any:
        response = self._client.request(method, path, json=body, timeout=60)
        if response.is_error:
            raise RuntimeError(f"{method} {path}: {response.status_code} {response.text}")
        # A stream reports an error in an event of its own, with status 200.
        if response.headers["content-type"].startswith("text/event-stream"):
            if "error_message" in response.text:
                raise RuntimeError(f"{method} {path}: {response.text}")
            return None
        return response.json()
