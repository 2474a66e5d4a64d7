"""Count the tokens of a step as its provider does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from letta_source.demo.shapes import Json

from .cast import Model

_PROMPT = 6_400
# Beyond this share of the context, the oldest messages are summarized.
_FULL = 0.4


class Usage:
    """The growing context of one conversation."""

    def __init__(self, model: Model) -> None:
        self._model, self._context, self._cached = model, _PROMPT, 0

    def add(self, items: Sequence[Json]) -> None:
        """Add the tokens of these items to the context."""
        self._context += sum(_tokens(item) for item in items)

    def step(self, said: Sequence[Json], random: Random) -> Json:
        """Return the fields of a step that answered with these items."""
        prompt = min(self._context, int(self._model.context * _FULL))
        thought = sum(_tokens(item) for item in said if item["message_type"] == "reasoning_message")
        thinking = thought * random.randrange(2, 6) if self._model.thinks else 0
        completion = sum(_tokens(item) for item in said) - thought + thinking
        cached = min(self._cached, prompt)
        written = prompt - cached if self._model.writes_cache else 0
        # The provider caches what was sent for the next step, unless that comes late.
        self._cached = prompt if self._model.writes_cache else prompt // 128 * 128 * (random.random() < 0.7)
        local = self._model.provider == "ollama"
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "cached_input_tokens": None if local else cached,
            "cache_write_tokens": None if local else written,
            "reasoning_tokens": None if local else thinking,
            "prompt_tokens_details": {
                "cached_tokens": cached, "cache_read_tokens": cached, "cache_creation_tokens": written
            },
            "completion_tokens_details": {"reasoning_tokens": thinking},
        }  # fmt: skip


def _tokens(item: Json) -> int:
    """Count the tokens of an item roughly: one per four characters; 85 for a picture of any size."""
    content = item.get("content")
    if isinstance(content, list):
        return sum(len(part["text"]) // 4 if part["type"] == "text" else 85 for part in content) + 4
    said = content or item.get("reasoning") or item.get("tool_return")
    return len(said or json.dumps(item.get("tool_calls") or [], ensure_ascii=False)) // 4 + 4
