"""A conversation as a person reads it.

What others wrote is quoted, line by line, and its control characters are made visible: no message can look
like the line that names the next speaker, whether it is read as it is or as Markdown.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import dlt

from letta_source.errors import ConfigError
from letta_source.export.frames import parsed
from letta_source.export.reading import arrow
from letta_source.export.selection import select
from letta_source.safe_text import parse_json, visible

DEFAULT = "default"
"""What is in no conversation; so the API calls it too."""
_LONGEST_THOUGHT = 300
_CHILDREN = ("tool_calls", "tool_returns", "approvals")
_COLUMNS = (
    *("created_at", "message_type", "run_id", "text", "reasoning", "hidden_reasoning", "name", "is_err"),
    *("approve", "reason", "summary", "event_type", "event_data", "id"),
)
_SPEAKERS = {
    "user_message": "User",
    "assistant_message": "Assistant",
    "system_message": "System",
    "reasoning_message": "Thought",
    "hidden_reasoning_message": "Thought",
    "tool_call_message": "Tool call",
    "tool_return_message": "Tool return",
    "approval_request_message": "Approval asked",
    "approval_response_message": "Approval",
    "summary_message": "Summary",
    "event_message": "Event",
}
# With role user the server also tells the agent what no person said, as a JSON text.
_EVENTS = ("heartbeat", "login", "system_alert")


@dataclass(frozen=True)
class Conversation:
    """Attributes:
    rows: of `agent_messages`, dicts with their children as lists, in the order they were said.
    """

    agent_id: str
    agent_name: str | None
    conversation_id: str | None
    rows: list[dict[str, Any]]

    def __str__(self) -> str:
        """Markdown: a paragraph each message, what tools got and gave as blocks."""
        title = f"# {visible(self.agent_name or 'Agent')} ({visible(self.agent_id)})"
        if self.conversation_id:
            title += f"\n\nConversation: {visible(self.conversation_id)}"
        said = [_said(row) for row in self.rows]
        return "\n\n".join([title, *(said or ["No messages."])])

    def _repr_markdown_(self) -> str:
        """Return what a notebook shows."""
        return str(self)


def read_conversation(
    pipeline: dlt.Pipeline,
    agent_id: str,
    conversation_id: str | None,
    start_date: str | date | None,
    end_date: str | date | None,
) -> Conversation:
    """See `letta_source.export.conversation`."""
    if not agent_id.strip():
        raise ConfigError("agent_id is empty: the table agents lists them")
    dates = {"start_date": start_date, "end_date": end_date}
    selection = select("agent_messages", _COLUMNS, _CHILDREN, agent_ids=[agent_id], **dates)
    agents = arrow(pipeline, select("agents", ["id", "name"])).to_pylist()
    rows = arrow(pipeline, selection).to_pylist()
    names = {agent["id"]: agent["name"] for agent in agents}
    if agent_id not in names and not rows:
        raise ConfigError(
            f"no agent {agent_id} was loaded: it is none of the {len(names):,} in the table agents;"
            f" `letta-source run --agent-id {agent_id}` loads it"
        )
    if conversation_id:
        runs = arrow(pipeline, select("runs", ["id", "conversation_id"], agent_ids=[agent_id])).to_pylist()
        held = {run["id"]: run["conversation_id"] or DEFAULT for run in runs}
        known = {DEFAULT, *held.values()}
        if conversation_id not in known:
            raise ConfigError(
                f"no conversation {conversation_id} of {agent_id} was loaded: there are"
                f" {', '.join(sorted(known))}"
            )
        rows = [row for row in rows if held.get(row["run_id"], DEFAULT) == conversation_id]
    return Conversation(agent_id, names.get(agent_id), conversation_id, rows)


def _said(row: dict[str, Any]) -> str:
    kind = row["message_type"] or "message"
    speaker = _SPEAKERS.get(kind, kind.removesuffix("_message").replace("_", " ").capitalize())
    text = row["text"] or row["summary"] or ""
    if kind == "user_message" and (event := event_of(text)):
        speaker, text = f"System event, {event}", _quoted(text)
    elif kind == "system_message":
        text = textwrap.shorten(text, _LONGEST_THOUGHT, placeholder=" …")
    elif thought := row["reasoning"] or row["hidden_reasoning"]:
        text = f"*{textwrap.shorten(thought, _LONGEST_THOUGHT, placeholder=' …')}*"
    elif kind == "event_message":
        speaker, text = f"Event, {row['event_type']}", _quoted(row["event_data"] or text)
    elif kind == "approval_response_message":
        text = text or row["reason"] or ""
    if row["is_err"]:
        speaker += ", of a failed step"
    time = row["created_at"].strftime("%Y-%m-%d %H:%M:%S UTC") if row["created_at"] else "no date"
    body = "\n\n".join([*([text] if text else []), *_tools(row)])
    head = f"**{_name(speaker)}** · {time}"
    return f"{head}\n\n{_cited(body)}" if body else head


def _cited(body: str) -> str:
    """Quote each line; CR and other characters that some take for a line's end are made visible."""
    lines = visible(body.replace("\r\n", "\n"), keep="\n\t").split("\n")
    return "\n".join(f"> {line}" if line else ">" for line in lines)


def _name(name: str) -> str:
    """Return a name that stands between marks of ours, without marks of its own."""
    return re.sub("[*`]", "'", visible(name))


def _tools(row: dict[str, Any]) -> Iterator[str]:
    for call in row["tool_calls"]:
        yield f"`{_name(call['name'] or 'no name')}`\n\n{_quoted(call['arguments'] or '')}"
    for answer in row["tool_returns"]:
        status = answer["status"] or "no status"
        name = _name(row["name"] or answer["tool_call_id"] or "no name")
        yield f"`{name}`: {status}\n\n{_quoted(answer['tool_return'] or '')}"
        for stream in ("stdout", "stderr"):
            if lines := parsed(answer[stream]):
                yield f"{stream}\n\n{_quoted(_lines(lines))}"
    for approval in row["approvals"]:
        if approval["type"] == "tool":
            name, status = _name(approval["tool_call_id"] or "no id"), approval["status"] or "no status"
            yield f"`{name}`, run by the caller: {status}\n\n{_quoted(approval['tool_return'] or '')}"
        else:
            why = f": {approval['reason']}" if approval["reason"] else ""
            done = "approved" if approval["approve"] else "denied"
            yield f"`{_name(approval['tool_call_id'] or 'no id')}` {done}{why}"
    if row["message_type"] == "approval_response_message" and not row["approvals"]:
        yield "denied" if row["approve"] is False else "approved" if row["approve"] else "not decided"


def event_of(text: str) -> str | None:
    """Return the type of what Letta itself says in the user's name; None of what a person says."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        said = parse_json(text.encode(errors="surrogatepass"))
    except ValueError:
        return None
    return said["type"] if isinstance(said, dict) and said.get("type") in _EVENTS else None


def _lines(said: Any) -> str:
    return "\n".join(map(str, said)) if isinstance(said, list) else str(said)


def _quoted(text: str) -> str:
    """A block that no text can end: its fence is longer than any in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
