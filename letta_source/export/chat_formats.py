"""Convert chats to common formats: OpenAI's messages, ShareGPT with tools, Letta's trajectory v1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import orjson

from letta_source.export.chat_model import Chat, Message, ToolCall

Line = dict[str, Any] | list[dict[str, Any]]


def chat(conversation: Chat, reasoning: bool = False) -> dict[str, Any]:
    """Return `messages` as OpenAI's chat completions take them, and `metadata`.

    Args:
        reasoning: True to include the model's reasoning as `reasoning_content`.
    """
    return {"messages": list(_openai(conversation, reasoning)), "metadata": _metadata(conversation)}


def _openai(conversation: Chat, reasoning: bool) -> Iterator[dict[str, Any]]:
    for message in conversation.messages:
        if message.role != "assistant":
            role = "user" if message.role == "user" else "system"
            yield {"role": role, "content": _content(message)}
            continue
        thought = {"reasoning_content": message.reasoning} if reasoning and message.reasoning else {}
        if not (message.text or message.calls):
            # Reasoning without an answer.
            continue
        answer: dict[str, Any] = {"role": "assistant", "content": message.text or None, **thought}
        if message.calls:
            answer["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in message.calls
            ]
        yield answer
        # OpenAI accepts results only right after their calls, whatever came in between.
        for call in message.calls:
            yield {"role": "tool", "tool_call_id": call.id, "content": call.result}


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.text
    text = [{"type": "text", "text": message.text}] if message.text else []
    return [*text, *({"type": "image_url", "image_url": {"url": url}} for url in message.images)]


def sharegpt(conversation: Chat, reasoning: bool = False) -> dict[str, Any]:
    """Return `conversations` of `system`, `human`, `gpt` and `tool`, with calls in Hermes' format.

    Args:
        reasoning: True to include the model's reasoning in `<think>`.
    """
    return {"conversations": list(_hermes(conversation, reasoning)), "metadata": _metadata(conversation)}


def _hermes(conversation: Chat, reasoning: bool) -> Iterator[dict[str, str]]:
    for message in conversation.messages:
        if message.role != "assistant":
            yield {"from": "human" if message.role == "user" else "system", "value": _with_links(message)}
            continue
        if not (message.text or message.calls):
            continue
        parts = [f"<think>\n{message.reasoning}\n</think>"] if reasoning and message.reasoning else []
        parts += [message.text] if message.text else []
        parts += [
            _block("tool_call", {"name": call.name, "arguments": orjson.loads(_object(call))})
            for call in message.calls
        ]
        yield {"from": "gpt", "value": "\n".join(parts)}
        if message.calls:
            results = [
                _block("tool_response", {"name": call.name, "content": call.result}) for call in message.calls
            ]
            yield {"from": "tool", "value": "\n".join(results)}


def _block(tag: str, value: dict[str, Any]) -> str:
    return f"<{tag}>\n{_json(value)}\n</{tag}>"


def _json(value: Any) -> str:
    # A tool's text must not end its block.
    return orjson.dumps(value).decode().replace("<", "\\u003c")


def trajectory(conversation: Chat, reasoning: bool = True) -> list[dict[str, Any]]:
    """Return the records of a trajectory v1: a `meta`, then the messages, each with its time.

    Args:
        reasoning: True to include the model's reasoning.
    """
    return [{"role": "meta", "source": "letta"}, *_records(conversation, reasoning)]


def _records(conversation: Chat, reasoning: bool) -> Iterator[dict[str, Any]]:
    # Each record needs a time; a message without one takes that of the previous message.
    last = datetime.fromtimestamp(0, timezone.utc)
    for message in conversation.messages:
        last = message.created_at or last
        at = _instant(last)
        if message.role != "assistant":
            role = "observation" if message.role == "event" else message.role
            yield {"role": role, "content": _with_links(message), "timestamp": at}
            continue
        if reasoning and message.reasoning:
            yield {"role": "reasoning", "content": message.reasoning, "timestamp": at}
        if message.text:
            yield {"role": "assistant", "content": message.text, "timestamp": at}
        if message.calls:
            calls = [{"id": call.id, "name": call.name, "args": _object(call)} for call in message.calls]
            yield {"role": "assistant", "content": None, "tool_calls": calls, "timestamp": at}
        for call in message.calls:
            ok = {} if call.is_ok is None else {"ok": call.is_ok}
            when = _instant(call.returned_at or last)
            yield {"role": "tool", "tool_call_id": call.id, "content": call.result, **ok, "timestamp": when}


def _object(call: ToolCall) -> str:
    """Return arguments that are a JSON object; put others, such as truncated ones, into its `_raw`."""
    try:
        is_object = isinstance(orjson.loads(call.arguments), dict)
    except orjson.JSONDecodeError:
        is_object = False
    return call.arguments if is_object else orjson.dumps({"_raw": call.arguments}).decode()


def _instant(time: datetime) -> str:
    # Not strftime: on Linux it writes the year 1 as 1.
    naive = time.astimezone(timezone.utc).replace(tzinfo=None)
    return f"{naive.isoformat(timespec='microseconds')}Z"


def _with_links(message: Message) -> str:
    return "\n".join(
        [*([message.text] if message.text else []), *(f"[image: {url}]" for url in message.images)]
    )


def _metadata(conversation: Chat) -> dict[str, Any]:
    times = [one.created_at for one in conversation.messages if one.created_at]
    return {
        "agent_id": conversation.agent_id,
        "conversation_id": conversation.conversation_id,
        "started_at": _instant(min(times)) if times else None,
    }


FORMATS: Mapping[str, Callable[[Chat, bool], Line]] = {
    "chat": chat,
    "sharegpt": sharegpt,
    "trajectory": trajectory,
}
