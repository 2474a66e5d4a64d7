"""Pages of every resource: recorded ones, and generated ones with normal and odd items.

Only `make` needs them: the pages are stored with their rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from letta_source.demo.shapes import (
    Json,
    agent_template,
    approval_response_item,
    assistant_item,
    batch_message_template,
    batch_template,
    call,
    conversation_template,
    group_template,
    indexed_otid,
    reasoning_item,
    recorded,
    run_template,
    step_template,
    system_item,
    tool_call_item,
    tool_return_item,
    user_item,
)
from tests.oracle.dumps import MESSAGES, Page

# Placeholders for values that Python's json cannot write; their bytes go into the body as they are.
_RAW = {
    "@nan": b"NaN",
    "@infinity": b"-Infinity",
    "@huge float": b"1e400",
    "@long integer": b"1" + b"0" * 4400,
    "@deep": b"[" * 250 + b"]" * 250,
    "@twice": b'{"a": 1, "a": 2}',
}
_TEXTS = (
    "", " ", "hello", "Grüße, 世界 🙂", "line\nbreak\ttab", 'a "quote" and \\', "nul\0here",
    "half \ud83d here",
    "\udfff", "null", "true", "12", "[1, 2]", '{"a": 1}', "2024-05-04T12:00:00Z", "x" * 5000, "\u2028", "é",
)  # fmt: skip
_ODD = (
    None, True, False, 0, -1, 1.0, 1.5, -0.0, 1e22, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, [], {},
    [None], [[1, "a"], {"b": None}], {"a": {"b": [1.0, 2**64]}}, {"\0": 1, "\ud800": 2}, *_TEXTS, *_RAW,
)  # fmt: skip
_IMAGES: tuple[Json, ...] = (
    {"type": "base64", "media_type": "image/png", "data": "aGFsbG8=", "detail": None},
    {"type": "url", "url": "https://example.com/cat.png"},
    {"type": "letta", "file_id": "file-1", "media_type": "image/jpeg", "data": None, "detail": "low"},
    {"type": "base64", "data": "aGFsbG8=", "width": 20},
)


# Values without invalid characters.
_SAFE = tuple(odd for odd in _ODD if not re.search(r"\\x00|\\ud[8f]", repr(odd)))
_LISTED = ("content", "tool_calls", "tool_returns", "approvals", "tool_call")
_PART_TYPES = (
    "text", "image", "tool_call", "tool_return", "reasoning", "redacted_reasoning", "summarized_reasoning",
    "function", "new", None,
)  # fmt: skip
_ENTITIES: dict[str, Callable[[], Json]] = {
    "agents": lambda: agent_template("letta_v1_agent"),
    "groups": group_template,
    "runs": run_template,
    "steps": step_template,
    "conversations": conversation_template,
    "batches": batch_template,
}
_FIELDS = (
    "new_field", "agent_id", "date", "created_at", "message_type", "content", "content", "tool_call",
    "tool_calls", "tool_return", "tool_returns", "approvals", "status", "stdout", "stderr",
    "tool_call_id", "approve", "reason", "approval_request_id", "seq_id", "otid", "name", "event_data",
    "summary", "is_err", "extra", "position", "text", "_deleted", "idx", "message_id", "secrets",
    "metadata", "total_tokens", "ttft_ns", "rrf_score", "completed_at",
)  # fmt: skip
_PART_FIELDS = (
    "text", "signature", "reasoning", "is_native", "data", "source", "tool_call_id", "id", "name",
    "input", "is_error", "content", "summary", "encrypted_content", "arguments", "function",
    "tool_return", "func_response", "status", "stdout", "stderr", "approve", "reason", "new", "url",
    "media_type",
)  # fmt: skip


def recorded_pages() -> Iterator[Page]:
    """Yield the non-empty lists of the package's recordings."""
    files = (
        "agents", "group_messages", "step_messages", "conversations", "batch_messages", "agent_messages",
        "agent_messages_default_rendering", "all_messages",
    )  # fmt: skip
    for file in files:
        for number, line in enumerate(recorded(file)):
            found = _resource_of(line["path"]) if line["status"] == 200 else None
            if found is None:
                continue
            resource, parent_id = found
            body = line["body"]
            if isinstance(body, dict):
                body = body.get("messages", [body])
            if body:
                sent = json.dumps(body, ensure_ascii=False).encode()
                yield Page(f"{file} {number}", resource, parent_id, sent.decode())


def _resource_of(path: str) -> tuple[str, str] | None:
    """Return the resource and the parent id of a recorded path."""
    parts = path.removeprefix("/v1/").replace("messages/batches", "batches").strip("/").split("/")
    if parts[-1] == "steps" and len(parts) == 3:
        return "steps", ""
    if parts[-1] == "messages" and len(parts) == 3:
        kind = parts[0].removesuffix("es") if parts[0] == "batches" else parts[0].removesuffix("s")
        return f"{kind}_messages", parts[1]
    known = ("agents", "groups", "runs", "conversations", "batches", "messages")
    return (parts[0], "") if parts[0] in known else None


def generated_pages(seed: int = 20261122) -> Iterator[Page]:
    """Yield generated pages of plain messages, of mixed ones, and of odd items of every resource."""
    for resource in (*MESSAGES, "batch_messages", "message_search", *_ENTITIES):
        made = _Maker(Random(f"{seed} {resource}"), resource)
        if resource in MESSAGES:
            yield made.page("plain", made.turns(12, plain=True))
            yield made.page("plain again", made.turns(4, plain=True), again=True)
            yield made.page("mixed", made.turns(25))
            yield made.page("mixed again", made.turns(25), again=True)
        if resource not in _ENTITIES:
            yield made.page("parts", made.every_part())
        for number in range(3):
            yield made.page(f"odd {number}", made.odd(40), again=bool(number % 2))


class _Maker:
    """Makes pages of one resource."""

    def __init__(self, random: Random, resource: str) -> None:
        self._random = random
        self._resource = resource
        self._parent = "" if resource in (*_ENTITIES, "messages") else f"{resource}-parent"
        self._messages = 0

    def page(self, name: str, items: list[Any], again: bool = False) -> Page:
        # Servers may escape what is not ASCII; lone surrogates must be escaped.
        text = json.dumps(items, ensure_ascii=self._random.random() < 0.5)
        body = text.encode(errors="backslashreplace")
        for mark, raw in _RAW.items():
            body = body.replace(json.dumps(mark).encode(), raw)
        return Page(f"{self._resource} {name}", self._resource, self._parent, body.decode(), again)

    def turns(self, count: int, plain: bool = False) -> list[Json]:
        """Return the items of some turns, in the order and with the fields that the server sends.

        Args:
            plain: True for turns without parts, approvals and free-form values.
        """
        return [item for _ in range(count) for message in self._turn(plain) for item in self._stored(message)]

    def every_part(self) -> list[Json]:
        """Return items with elements of each type: with all fields, with one, and with conflicting fields."""
        items = []
        for type_ in _PART_TYPES:
            usual = {name: f"{name} of {type_}" for name in _PART_FIELDS} | {
                "input": {"a": 1},
                "summary": ["b"],
            }
            elements = [{"type": type_, **usual}]
            elements += [{"type": type_, name: value} for name, value in usual.items()]
            elements += [{"type": type_, "source": source} for source in _IMAGES]
            elements += [
                {"type": type_, "source": source, "data": "beside", "url": None} for source in _IMAGES
            ]
            for field in ("content", "tool_calls", "tool_returns", "approvals"):
                for sent in (elements[0], elements):
                    items += [{**item, field: sent} for item in self._base()[:1]]
        return items

    def odd(self, count: int) -> list[Any]:
        """Return wrong or unusual items, with duplicates and with values that are not items."""
        items: list[Any] = []
        while len(items) < count:
            message = self._base()
            items += [self._twisted(item) for item in message]
            if self._random.random() < 0.1:
                items.append(self._random.choice(items))
            if self._random.random() < 0.1:
                items.append(
                    self._random.choice([None, "text", 7, [], {}, {"id": 5}, {"id": "a/b"}, [{"id": "x"}]])
                )
        return items

    def _turn(self, plain: bool) -> Iterator[list[Json]]:
        chance, text = self._random.random, self._random.choice(("hello", "Wie geht es? 🙂", "{}", "x" * 300))
        yield [user_item(self._parts(text) if not plain and chance() < 0.3 else text, self._uuid())]
        said = [reasoning_item(f"think about {text}"), assistant_item(f"Reply: {text}")]
        calls = [self._call() for _ in range(self._random.choice((1, 1, 2)))]
        if chance() < 0.5:
            yield [*said, tool_call_item(calls)]
            yield [tool_return_item(calls, "done")]
        elif not plain and chance() < 0.3:
            yield [*said[:1], tool_call_item(calls[:1], approval=True)]
            yield [approval_response_item(calls[0], approve=chance() < 0.5, reason=None)]
        if not plain and chance() < 0.2:
            yield [
                {
                    "message_type": "summary_message",
                    "summary": text,
                    "compaction_stats": {"before": 9, "after": 1},
                }
            ]
            event = {
                "event_type": "compaction",
                "event_data": {"trigger": text, "n": [1, 2.5, None], "big": 2**70},
            }
            yield [{"message_type": "event_message", **event}]
        yield said
        if chance() < 0.1:
            yield [system_item(text)]

    def _stored(self, message: list[Json]) -> list[Json]:
        """Return the items as the server sends them."""
        message_id = f"message-{self._uuid()}"
        self._messages += 1
        date = f"2026-11-21T08:{self._messages // 60 % 60:02}:{self._messages % 60:02}+00:00"
        common = {
            "id": message_id,
            "date": date,
            "name": None,
            "sender_id": None,
            "is_err": None,
            "seq_id": None,
        }
        ids = {"step_id": f"step-{self._messages // 4}", "run_id": f"run-{self._messages // 8}"}
        return [
            {"otid": indexed_otid(message_id, index), **common, **ids, **item}
            for index, item in enumerate(message)
        ]

    def _parts(self, text: str) -> list[Json]:
        image = {"type": "image", "source": self._random.choice(_IMAGES)}
        choices: tuple[list[Json], ...] = (
            [{"type": "text", "text": text, "signature": None}, image],
            [image],
            [{"type": "text", "text": text}, {"type": "text", "text": "second"}],
        )
        return self._random.choice(choices)

    def _call(self) -> Json:
        arguments = self._random.choice(('{"sides": 6}', "{}", "not json", '{"a": [1, "ü"]}', '{"n": 1e3}'))
        return call("roll_dice", arguments, f"call_{self._random.getrandbits(48):012x}")

    def _base(self) -> list[Json]:
        """Return a normal message or entity of the resource."""
        if template := _ENTITIES.get(self._resource):
            return [{**template(), "id": f"{self._resource}-{self._uuid()}"}]
        if self._resource in MESSAGES:
            message = self._random.choice(list(self._turn(plain=False)))
            return self._stored(message)
        stored = {**batch_message_template(), "id": f"message-{self._uuid()}"}
        stored["tool_calls"] = [self._call(), {"id": "call-1", "type": "function", "function": self._call()}]
        stored["tool_returns"] = [
            {"status": "success", "func_response": "6", "stdout": ["a"], "stderr": None}
        ]
        if self._resource == "batch_messages":
            return [stored]
        ranks = {
            "rrf_score": self._random.random(),
            "fts_rank": 1,
            "vector_rank": None,
            "embedded_text": "hi",
        }
        return [
            self._random.choice(
                ({"message": stored, **ranks}, {**stored, **ranks}, {"message_id": stored["id"]})
            )
        ]

    def _twisted(self, item: Json) -> Json:
        twisted = dict(item)
        for _ in range(self._random.choice((0, 1, 1, 2, 4))):
            name = self._random.choice((*item, *_FIELDS))
            change = self._random.random()
            if change < 0.15:
                twisted.pop(name, None)
            elif name != "id" or change > 0.9:
                twisted[name] = self._odd_value(name)
        return twisted

    def _odd_value(self, name: str) -> Any:
        odd = self._random.choice(_ODD)
        if name not in _LISTED or odd is None:
            return odd
        if name == "tool_call" or self._random.random() < 0.3:
            # One object in place of a list. Commit cc101f0 failed if it contained invalid characters.
            return self._random.choice((self._element(_SAFE), self._random.choice(_SAFE)))
        return self._random.choice(([self._element(), odd], [self._element(), self._element()], [odd], []))

    def _element(self, values: Sequence[Any] = _ODD) -> Json:
        part = {self._random.choice(_PART_FIELDS): self._random.choice(values) for _ in range(4)}
        return {"type": self._random.choice(_PART_TYPES), **part}

    def _uuid(self) -> str:
        bits = f"{self._random.getrandbits(128):032x}"
        return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-8{bits[17:20]}-{bits[20:]}"
