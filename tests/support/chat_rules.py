"""Rules that readers of chat formats impose on a line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest

Line = Any


def assert_openai(line: Line) -> None:
    """Check OpenAI's rules: each call is answered once, right after its message, and nothing else is."""
    assert line.keys() == {"messages", "metadata"}
    waiting: list[str] = []
    roles = set()
    for message in line["messages"]:
        role = message["role"]
        roles.add(role)
        if role == "tool":
            assert message.keys() == {"role", "tool_call_id", "content"}
            assert waiting.pop(0) == message["tool_call_id"]
            assert isinstance(message["content"], str)
            continue
        assert waiting == []
        if role == "assistant":
            assert message.keys() <= {"role", "content", "tool_calls", "reasoning_content"}
            assert message["content"] or message["tool_calls"]
            for call in message.get("tool_calls", ()):
                assert call.keys() == {"id", "type", "function"}
                assert call["type"] == "function"
                assert re.fullmatch(r"[\w-]{1,64}", call["function"]["name"])
                assert isinstance(call["function"]["arguments"], str)
                waiting.append(call["id"])
            continue
        assert role in ("system", "user")
        for part in message["content"] if isinstance(message["content"], list) else ():
            assert part["type"] in ("text", "image_url")
            assert part["type"] != "image_url" or re.match("https?://", part["image_url"]["url"])
    assert waiting == []
    assert {"user", "assistant"} <= roles
    ids = [call["id"] for one in line["messages"] for call in one.get("tool_calls", ())]
    assert len(ids) == len(set(ids))


def assert_sharegpt(line: Line) -> None:
    """Check that each message with calls is followed by as many results, in the same order."""
    assert line.keys() == {"conversations", "metadata"}
    called: list[str] = []
    for turn in line["conversations"]:
        assert turn.keys() == {"from", "value"}
        assert turn["from"] in ("system", "human", "gpt", "tool")
        blocks = [
            (tag, json.loads(body))
            for tag, body in re.findall(
                r"<(tool_call|tool_response)>\n([^<]+)\n</\1>", turn["value"] if _is_ours(turn) else ""
            )
        ]
        if turn["from"] == "tool":
            assert [body["name"] for _, body in blocks] == called
            called = []
            continue
        assert called == []
        called = [body["name"] for tag, body in blocks if tag == "tool_call"]
        assert all(isinstance(body["arguments"], dict) for _, body in blocks)
    assert called == []
    assert {"human", "gpt"} <= {turn["from"] for turn in line["conversations"]}


def _is_ours(turn: dict[str, str]) -> bool:
    return turn["from"] in ("gpt", "tool")


def validate_trajectories(lines: list[Line]) -> None:
    """Run the validator bundled with `agent-trajectory`, which does not export it.

    Raises:
        AssertionError: it rejects a line.
    """
    pytest.importorskip("trajectory")
    node = shutil.which("node")
    if node is None:
        pytest.skip("agent-trajectory needs Node.js")
    [bundle] = [
        file for file in metadata.files("agent-trajectory") or () if file.name == "trajectory-cli.mjs"
    ]
    [rules] = re.findall(r"^// src/validate\.ts\n(.+?)^// src/", bundle.read_text(), re.DOTALL | re.MULTILINE)
    script = (
        "class NormalizationError extends Error { constructor(code, message) { super(message); } }\n"
        f"{rules}\n"
        "for (const one of JSON.parse(require('fs').readFileSync(0, 'utf8'))) validateTranscript(one);\n"
    )
    done = subprocess.run(
        [node, "-e", script], input=json.dumps(lines), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def assert_trajectory(line: Line) -> None:
    """Check the rules of trajectory v1 that other readers rely on, for machines without Node.js."""
    assert line[0] == {"role": "meta", "source": "letta"}
    answered: list[str] = []
    called: list[str] = []
    for record in line[1:]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", record["timestamp"])
        if record["role"] == "tool":
            answered.append(record["tool_call_id"])
        for call in record.get("tool_calls", ()):
            assert isinstance(json.loads(call["args"]), dict)
            called.append(call["id"])
    assert called == answered
    assert len(called) == len(set(called))


RULES: dict[str, Callable[[Line], None]] = {
    "chat": assert_openai,
    "sharegpt": assert_sharegpt,
    "trajectory": assert_trajectory,
}
