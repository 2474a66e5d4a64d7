"""A conversation for people to read.

Other people's text is quoted line by line, and its control characters are made visible: no message can look
like the line that names the next speaker, neither as plain text nor as Markdown.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import dlt

from letta_source.errors import ConfigError
from letta_source.export.dataframes import parsed
from letta_source.export.readers import has_table, open_reader
from letta_source.export.selection import select
from letta_source.export.stream import arrow
from letta_source.export.transcript_formats import html_page, markdown
from letta_source.safe_text import parse_json
from letta_source.times import written

DEFAULT = "default"
"""The name of the messages in no conversation; the API uses it, too."""
_LONGEST_THOUGHT, _LONGEST_ARGUMENTS = 300, 100
_CHILDREN = ("tool_calls", "tool_returns", "approvals")
_COLUMNS = (
    *("created_at", "message_type", "run_id", "text", "reasoning", "hidden_reasoning", "name", "is_err"),
    *("approve", "reason", "summary", "event_type", "event_data", "id"),
)
_DECISIONS = {True: "approved", False: "denied", None: "not decided"}
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
# With role user, the server also sends events that no person wrote, as JSON text.
_EVENTS = ("heartbeat", "login", "system_alert")


@dataclass(frozen=True)
class Part:
    """A part of a message.

    Attributes:
        label: a line before the text, such as a tool's name, as pieces; every second piece is a name.
        text: a message, reasoning, or a tool's arguments or result.
        kind: `said`, `thought`, or `block` for preformatted text.
    """

    text: str | None
    kind: str = "said"
    label: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """A message as it is shown."""

    speaker: str
    time: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Conversation:
    """An agent's messages, or those of one of its conversations.

    Attributes:
        rows: rows of `agent_messages` or `conversation_messages` in order: dicts with children as lists.
        full: True to show reasoning and system messages whole; else they are cut after some 300 characters.
    """

    agent_id: str
    agent_name: str | None
    conversation_id: str | None
    rows: list[dict[str, Any]]
    full: bool = False

    def __str__(self) -> str:
        """Return Markdown: a paragraph for each message; arguments and results of tools are blocks."""
        return markdown(self)

    def _repr_markdown_(self) -> str:
        """Return the Markdown that a notebook shows."""
        return str(self)

    def html(self) -> str:
        """Return an HTML page that makes no requests and runs no scripts."""
        return html_page(self)

    def messages(self) -> Iterator[Message]:
        """Yield the messages as they are shown."""
        calls: dict[str | None, Mapping[str, Any]] = {}
        for row in self.rows:
            for call in row["tool_calls"]:
                # Older clients answer a request with the id of its message, and mean its first call.
                calls.setdefault(row["id"], call)
                calls[call.get("tool_call_id")] = call
            calls.pop(None, None)
            yield _shown(row, self.full, calls)


def read_conversation(
    pipeline: dlt.Pipeline,
    agent_id: str,
    conversation_id: str | None,
    start_date: str | date | None,
    end_date: str | date | None,
    full: bool = False,
) -> Conversation:
    """Read a conversation; see `letta_source.export.conversation`."""
    if not isinstance(agent_id, str):
        raise ConfigError(f"agent_id must be a text, not {agent_id!r}")
    if not agent_id.strip():
        raise ConfigError("agent_id is empty: the table agents lists them")
    dates = {"start_date": start_date, "end_date": end_date}
    with open_reader(pipeline) as reader:
        there = {name for name in (*_HOLDING, "agent_messages") if has_table(reader, name)}
    agents = arrow(pipeline, select("agents", ["id", "name"])).to_pylist()
    names = {agent["id"]: agent["name"] for agent in agents}
    rows = []
    if (
        "agent_messages" in there
        or "conversation_messages" not in there
        or conversation_id in (None, DEFAULT)
    ):
        selection = select("agent_messages", _COLUMNS, _CHILDREN, agent_ids=[agent_id], **dates)
        rows = arrow(pipeline, selection).to_pylist()
    if agent_id not in names and not rows:
        raise ConfigError(
            f"no agent {agent_id} was loaded: it is none of the {len(names):,} in the table agents;"
            f" `letta-source run --agent-id {agent_id}` loads it"
        )
    if conversation_id:
        held = _held(pipeline, agent_id, there)
        known = {DEFAULT, *held.values()}
        rows = [row for row in rows if held.get(row["run_id"], DEFAULT) == conversation_id]
        # Runs may be loaded without the agent's messages, or with those of another time.
        if not rows and (conversation_id not in known or "conversation_messages" in there):
            rows = _of_conversation(pipeline, agent_id, conversation_id, there, known, dates)
    return Conversation(agent_id, names.get(agent_id), conversation_id, rows, full)


_HOLDING = ("runs", "conversations", "conversation_messages")
"""Tables that tell the conversation of a message, if they were loaded."""


def _held(pipeline: dlt.Pipeline, agent_id: str, there: Container[str]) -> dict[str, str]:
    """Map each run to its conversation."""
    if "runs" not in there:
        return {}
    runs = arrow(pipeline, select("runs", ["id", "conversation_id"], agent_ids=[agent_id])).to_pylist()
    return {run["id"]: run["conversation_id"] or DEFAULT for run in runs}


def _of_conversation(
    pipeline: dlt.Pipeline,
    agent_id: str,
    conversation_id: str,
    there: Container[str],
    known: set[str],
    dates: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return the messages of a conversation from `conversation_messages`.

    Raises:
        ConfigError: the agent has no such conversation.
    """
    named: list[dict[str, Any]] = []
    if "conversations" in there:
        named = arrow(pipeline, select("conversations", ["id"], agent_ids=[agent_id])).to_pylist()
    if conversation_id not in (known := known | {one["id"] for one in named}):
        raise ConfigError(
            f"no conversation {conversation_id} of {agent_id} was loaded: there are"
            f" {', '.join(sorted(known))}"
        )
    if "conversation_messages" not in there:
        raise ConfigError(
            f"the messages of {conversation_id} are unknown: load them with `letta-source run --resources"
            " runs`, or `--resources conversation_messages`"
        )
    columns = ("conversation_id", *_COLUMNS)
    # Its agent is known by `conversations`; where that is not loaded, runs have named it.
    agents = [agent_id] if "conversations" in there else None
    selection = select("conversation_messages", columns, _CHILDREN, agent_ids=agents, **dates)
    rows = arrow(pipeline, selection).to_pylist()
    return [row for row in rows if row["conversation_id"] == conversation_id]


def _shown(row: dict[str, Any], full: bool, calls: Mapping[str | None, Mapping[str, Any]]) -> Message:
    kind = row["message_type"] or "message"
    speaker = _SPEAKERS.get(kind, kind.removesuffix("_message").replace("_", " ").capitalize())
    text, form = row["text"] or row["summary"] or "", "said"
    if kind == "user_message" and (event := event_of(text)):
        speaker, form = f"System event, {event}", "block"
    elif kind == "system_message":
        text = text if full else _shortened(text)
    elif thought := row["reasoning"] or row["hidden_reasoning"]:
        text, form = thought if full else _shortened(thought), "thought"
    elif kind == "event_message":
        speaker, text, form = f"Event, {row['event_type']}", row["event_data"] or text, "block"
    elif kind == "approval_response_message":
        text = text or row["reason"] or ""
    if row["is_err"]:
        speaker += ", of a failed step"
    time = f"{written(row['created_at'])} UTC" if row["created_at"] else "no date"
    own = [Part(text, form)] if text or form == "block" else []
    return Message(speaker, time, (*own, *_tools(row, calls)))


def _shortened(text: str, longest: int = _LONGEST_THOUGHT) -> str:
    """Return the beginning in one line, not cut at a space: Chinese, Japanese and JSON may have none."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 2]} …"


def _tools(row: dict[str, Any], calls: Mapping[str | None, Mapping[str, Any]]) -> Iterator[Part]:
    """Yield the parts of a message that concern tools.

    Args:
        calls: the last call by its id, and by the id of the message that it was the first call of.
    """
    for call in row["tool_calls"]:
        yield Part(call["arguments"] or "", "block", ("", call["name"] or "no name"))
    for answer in row["tool_returns"]:
        status = answer["status"] or "no status"
        # A message that returns several calls has one name, that of the first.
        called = calls.get(answer["tool_call_id"], {}).get("name")
        name = called or row["name"] or answer["tool_call_id"] or "no name"
        yield Part(answer["tool_return"] or "", "block", ("", name, f": {status}"))
        for stream in ("stdout", "stderr"):
            if lines := parsed(answer[stream]):
                yield Part(_lines(lines), "block", (stream,))
    for approval in row["approvals"]:
        call = calls.get(approval["tool_call_id"], {})
        name = call.get("name") or approval["tool_call_id"] or "no id"
        if approval["type"] == "tool":
            status = approval["status"] or "no status"
            yield Part(approval["tool_return"] or "", "block", ("", name, f", run by the caller: {status}"))
        else:
            why = f": {approval['reason']}" if approval["reason"] else ""
            done = _DECISIONS[approval["approve"]]
            # Several calls of one tool may wait: their arguments tell which is meant.
            given = _shortened(call.get("arguments") or "", _LONGEST_ARGUMENTS)
            yield Part(
                None, label=("", name, " ", given, f" {done}{why}") if given else ("", name, f" {done}{why}")
            )
    if row["message_type"] == "approval_response_message" and not row["approvals"]:
        yield Part(None, label=(_DECISIONS[row["approve"]],))


def event_of(text: str) -> str | None:
    """Return the type of an event that Letta sends with role user; None for a person's message."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        event = parse_json(text.encode(errors="surrogatepass"))
    except ValueError:
        return None
    return event["type"] if isinstance(event, dict) and event.get("type") in _EVENTS else None


def _lines(stream: Any) -> str:
    return "\n".join(map(str, stream)) if isinstance(stream, list) else str(stream)
