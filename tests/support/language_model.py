"""A stand-in for the language model: the part of OpenAI's API that the Letta server calls, on loopback.

The words of the user's message decide the answer: `use roll_dice and divide` calls those tools, in one
message where the request allows it; `think` adds reasoning. Everything else gets a plain answer.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "gpt-4o-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
EMBEDDING_DIMENSIONS = 1536

Json = dict[str, Any]


@contextmanager
def serve_model() -> Iterator[str]:
    """Serve the stand-in from a thread; yield its base URL, which ends in `/v1`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="model", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: Json) -> Json:
    """Return the assistant message for a chat completion request."""
    messages: list[Json] = request["messages"]
    asked_at, text = _last_user_text(messages)
    message: Json = {"role": "assistant", "content": None}
    if re.search(r"\bthink\b", text):
        message["reasoning_content"] = f"Thinking about it: {text[:80]} 🤔"
    tools = {tool["function"]["name"]: tool["function"] for tool in request.get("tools") or []}
    called = {call["function"]["name"] for m in messages[asked_at:] for call in m.get("tool_calls") or []}
    wanted = [name for name in _cues(text) if name in tools and name not in called]
    if wanted:
        message["tool_calls"] = [_tool_call(tools[name], text) for name in wanted]
        if not request.get("parallel_tool_calls"):
            del message["tool_calls"][1:]
    elif "send_message" in tools:
        message["tool_calls"] = [_tool_call(tools["send_message"], text)]
    else:
        message["content"] = _reply(text)
    return message


def _last_user_text(messages: list[Json]) -> tuple[int, str]:
    """Return the index and the text of the last message that a user wrote, not the server on their behalf."""
    for index in range(len(messages) - 1, -1, -1):
        content = messages[index].get("content")
        if messages[index]["role"] != "user" or not content:
            continue
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        # After a tool call, memgpt agents continue with a heartbeat in the user's role.
        if '"type": "heartbeat"' not in text:
            return index, text
    return 0, ""


def _cues(text: str) -> list[str]:
    return [name for cue in re.findall(r"\buse (\w+(?: and \w+)*)", text) for name in cue.split(" and ")]


def _reply(text: str) -> str:
    return f"You said {len(text)} characters. Здравствуй, 世界 👋🏽 — “quoted”\nand a second line."


def _tool_call(tool: Json, text: str) -> Json:
    parameters: Json = tool.get("parameters") or {}
    properties: Json = parameters.get("properties") or {}
    required = set(parameters.get("required") or ())
    arguments = {
        name: _argument(name, schema, text) for name, schema in properties.items() if name in required
    }
    return {
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": tool["name"], "arguments": json.dumps(arguments, ensure_ascii=False)},
    }


def _argument(name: str, schema: Json, text: str) -> object:
    if name == "message":
        return _reply(text)
    values: dict[str, object] = {"integer": 6, "number": 0.5, "boolean": True, "array": [], "object": {}}
    return values.get(str(schema.get("type")), "naïve 🎲 text")


def _deltas(message: Json) -> Iterator[Json]:
    """Cut a message into the deltas of a stream: the tool calls' names first, then their arguments."""
    yield {"role": "assistant"}
    for field in ("reasoning_content", "content"):
        value = message.get(field) or ""
        for start in range(0, len(value), 20):
            yield {field: value[start : start + 20]}
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        yield {
            "tool_calls": [{**call, "index": index, "function": {"name": function["name"], "arguments": ""}}]
        }
        yield {"tool_calls": [{"index": index, "function": {"arguments": function["arguments"]}}]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        models = [{"id": name, "object": "model", "owned_by": "openai"} for name in (MODEL, EMBEDDING_MODEL)]
        self._send({"object": "list", "data": models})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            self._embed(request)
        elif self.path.endswith("/chat/completions"):
            self._complete(request)
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the requests out of the tests' output."""

    def _embed(self, request: Json) -> None:
        inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
        vector = [1.0] + [0.0] * (EMBEDDING_DIMENSIONS - 1)
        data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(len(inputs))]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        self._send({"object": "list", "data": data, "model": EMBEDDING_MODEL, "usage": usage})

    def _complete(self, request: Json) -> None:
        message = answer(request)
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": request["model"]}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish}
            self._send({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        head["object"] = "chat.completion.chunk"
        chunks = [{**head, "choices": [{"index": 0, "delta": delta}]} for delta in _deltas(message)]
        chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        chunks.append({**head, "choices": [], "usage": usage})
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self._send_bytes(body.encode(), "text/event-stream")

    def _send(self, body: Json) -> None:
        self._send_bytes(json.dumps(body).encode(), "application/json")

    def _send_bytes(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
