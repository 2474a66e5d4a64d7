"""Turns like those of real conversations: nearly every page contains something unusual.

`SHARES` says how often each thing occurs. The README shows them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

STORED = 8
"""The most ids that one turn needs."""

SHARES = {
    "content in parts, with an image by its id": 0.12,
    "a turn without a tool": 0.25,
    "two tools called at once": 0.15,
    "a tool that needs approval": 0.04,
    "a tool that fails or prints": 0.3,
    "hidden reasoning": 0.03,
    "a summary": 0.02,
    "an event with free-form data": 0.02,
}
"""Shares of all turns, or, where a tool is named, of turns with a tool."""


class Turn:
    """The stored messages of one turn, with the items of each as JSON.

    Args:
        ids: of the stored messages; no more are used than there are messages.
        texts: halves of texts, as JSON without their quotes.
    """

    def __init__(self, random: Random, texts: list[str], ids: list[str], date: str) -> None:
        self._random = random
        self._texts = texts
        self._ids = iter(ids)
        self._date = date
        self._run, self._step = self._uuid(), self._uuid()

    def messages(self) -> Iterator[list[str]]:
        """Yield the items of each stored message."""
        if self._occurs("a summary"):
            stats = {
                "trigger": "context_window_exceeded",
                "messages_count_before": self._random.randrange(90),
            }
            yield self._message(("summary_message", {"summary": self._text(), "compaction_stats": stats}))
        if self._occurs("an event with free-form data"):
            yield self._message(("event_message", {"event_type": "compaction", "event_data": self._event()}))
        yield self._message(("user_message", {"content": self._said()}), otid=False)
        if not self._occurs("a turn without a tool"):
            yield from self._tools()
        yield self._message(self._thought(), ("assistant_message", {"content": self._text()}))

    def _tools(self) -> Iterator[list[str]]:
        calls = [self._call() for _ in range(1 + self._occurs("two tools called at once"))]
        called = {"tool_call": calls[0], "tool_calls": calls}
        if self._occurs("a tool that needs approval"):
            yield self._message(self._thought(), ("approval_request_message", called))
            decisions = [
                {"type": "approval", "tool_call_id": call["tool_call_id"], "approve": True, "reason": None}
                for call in calls
            ]
            answer = {
                "approvals": decisions,
                "approve": True,
                "approval_request_id": calls[0]["tool_call_id"],
                "reason": None,
            }
            yield self._message(("approval_response_message", answer), otid=False)
        else:
            yield self._message(self._thought(), ("tool_call_message", called))
        returns = [self._return(call) for call in calls]
        first = {name: value for name, value in returns[0].items() if name != "type"}
        yield self._message(("tool_return_message", {**first, "tool_returns": returns}), name="search_memory")

    def _message(
        self, *items: tuple[str, dict[str, Any]], otid: bool = True, name: str | None = None
    ) -> list[str]:
        message_id = next(self._ids)
        return [
            json.dumps(
                {
                    "id": f"message-{message_id}",
                    "date": self._date,
                    "name": name,
                    "message_type": kind,
                    "otid": f"{message_id[:-2]}{index:02x}" if otid else None,
                    "sender_id": None,
                    "step_id": f"step-{self._step}",
                    "is_err": None,
                    "seq_id": None,
                    "run_id": f"run-{self._run}",
                    **fields,
                },
                separators=(",", ":"),
                ensure_ascii=False,
            )
            for index, (kind, fields) in enumerate(items)
        ]

    def _thought(self) -> tuple[str, dict[str, Any]]:
        if self._occurs("hidden reasoning"):
            return "hidden_reasoning_message", {"state": "redacted", "hidden_reasoning": self._text()}
        return "reasoning_message", {"source": "reasoner_model", "reasoning": self._text(), "signature": None}

    def _said(self) -> Any:
        if not self._occurs("content in parts, with an image by its id"):
            return self._text()
        source = {
            "type": "letta",
            "file_id": f"file-{self._uuid()}",
            "media_type": "image/png",
            "data": None,
            "detail": None,
        }
        text = {"type": "text", "text": self._text(), "signature": None}
        return [text, {"type": "image", "source": source}]

    def _call(self) -> dict[str, Any]:
        query = f"{self._random.getrandbits(48):x} {self._text()[13:113]}"
        return {
            "name": "search_memory",
            "arguments": json.dumps({"query": query, "limit": 5}, ensure_ascii=False),
            "tool_call_id": f"call_{self._random.getrandbits(96):024x}",
        }

    def _return(self, call: dict[str, Any]) -> dict[str, Any]:
        odd = self._occurs("a tool that fails or prints")
        return {
            "type": "tool",
            "tool_return": self._text(),
            "status": "error" if odd else "success",
            "tool_call_id": call["tool_call_id"],
            "stdout": ["searching…", "2 of 9"] if odd else [],
            "stderr": ["Timeout"] if odd else [],
        }

    def _event(self) -> dict[str, Any]:
        # All different, even in their keys.
        pressure = self._random.random()
        return {
            "trigger": "post_step_context_check",
            "context_token_estimate": self._random.randrange(200_000),
            "pressure": pressure,
            "kept": [f"message-{self._uuid()}" for _ in range(self._random.randrange(4))],
            f"model_{self._random.randrange(5)}": {
                "share": 1 - pressure,
                "note": "naïve 世界",
                "prior": None,
            },
        }

    def _text(self) -> str:
        # All different: a warehouse would store equal texts once.
        said: str = json.loads(f'"{self._random.choice(self._texts)} {self._random.choice(self._texts)}"')
        return f"{self._random.getrandbits(48):x} {said}"

    def _occurs(self, what: str) -> bool:
        return self._random.random() < SHARES[what]

    def _uuid(self) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
