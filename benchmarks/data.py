"""Made-up conversations, as the JSON that the API sends.

The shapes are those of recorded responses; ids, times and texts come from a seed. Millions of items fit in
memory: an agent is one run of bytes, and an id encodes the place of its message.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Literal

from benchmarks.mixed import STORED, Turn

Kind = Literal["mixed", "plain"]
"""Kind of data: turns of six plain items each, or turns as in `benchmarks.mixed`."""

KINDS: tuple[Kind, ...] = ("mixed", "plain")

TURN_ITEMS = 6
"""Number of items in a turn of plain items."""

# Even the last turn of a million items is long ago, outside the overlap that loads read again.
_BEGIN = datetime(2025, 1, 1, tzinfo=timezone.utc)
_MOST_SECONDS = 180

# Turns a place into digits that look random, so that ids compress as badly as real ones.
_PLACES = 1 << 48
_SCATTER = 0x9E3779B97F4B
_GATHER = pow(_SCATTER, -1, _PLACES)

_SAID = (
    "the agent remembers what was said before and answers with what it knows about the person, a tool "
    "returns a result or none, then memory is edited: plans, dates, 42 prices and so on"
)
_WORDS = _SAID.split()
_ESCAPED = ["prices:\n-", '"result"', "said.\n\nThen"]
_NOT_ASCII = ["naïve", "Grüße,", "“so”", "世界", "мир", "🎲"]


class Agent:
    """One agent and its messages.

    Attributes:
        id: the agent's id.
        listed: the agent as JSON, as the list of agents shows it.
        messages: number of stored messages.
    """

    def __init__(
        self, random: Random, texts: list[str], items: int, prompt: str, kind: Kind, created: datetime
    ) -> None:
        self._key = random.getrandbits(48)
        self.id = f"agent-{_uuid(random, self._key)}"
        listed = {"id": self.id, "name": self.id[:14], "created_at": created.isoformat()}
        if prompt:
            listed["system"] = prompt
        self.listed = json.dumps(listed, separators=(",", ":"), ensure_ascii=False).encode()
        self._json = bytearray()
        # Where each stored message begins; the last entry is where the next would.
        self._begins = array("Q", [0])
        self._say(random, texts, items, kind)

    @property
    def messages(self) -> int:
        return len(self._begins) - 1

    def page(self, begin: int, end: int) -> memoryview:
        """Return stored messages, each of one or two items, as a JSON array without its brackets."""
        first = self._begins[begin]
        return memoryview(self._json)[first : max(first, self._begins[end] - 1)]

    def items(self, end: int) -> int:
        """Return how many items the messages before this one have."""
        return self._json.count(b'"message_type":', 0, self._begins[end])

    def place(self, message_id: str) -> int:
        """Return the index of a message, from 0."""
        return (int(message_id[-12:], 16) - self._key) * _GATHER % _PLACES

    def last_id(self, end: int) -> str:
        """Return the id of the last message before this one."""
        begin = self._begins[end - 1] + len('{"id":"')
        return self._json[begin : begin + len("message-") + 36].decode()

    def _say(self, random: Random, texts: list[str], items: int, kind: Kind) -> None:
        sent, left = _BEGIN, items
        while left > 0:
            sent += timedelta(seconds=random.randint(20, _MOST_SECONDS))
            ids = [
                _uuid(random, (place * _SCATTER + self._key) % _PLACES)
                for place in range(self.messages, self.messages + (4 if kind == "plain" else STORED))
            ]
            if kind == "plain":
                turn: Iterable[list[str]] = _turn(random, texts, ids, sent.isoformat(), left)
            else:
                turn = Turn(random, texts, ids, sent.isoformat()).messages()
            for message in turn:
                if left <= 0:
                    break
                self._json += ",".join(message[:left]).encode() + b","
                self._begins.append(len(self._json))
                left -= len(message)


def make_agents(agents: int, items: int, listed: int = 0, seed: int = 1, kind: Kind = "plain") -> list[Agent]:
    """Return `agents` agents of `items` items each; a plain item is about 920 bytes of JSON, a mixed one 860.

    Args:
        listed: length of an agent's prompt, which the list of agents shows.
    """
    random = Random(seed)
    texts = [_text(random) for _ in range(4000)]
    prompt = " ".join(json.loads(f'"{text}"') for text in texts)
    begins = random.choices(range(len(prompt) - listed), k=agents) if listed else [0] * agents
    return [
        Agent(
            random, texts, items, prompt[at : at + listed], kind, _BEGIN - timedelta(seconds=agents - number)
        )
        for number, at in enumerate(begins)
    ]


def _text(random: Random) -> str:
    """Return half of a text, as JSON without its quotes.

    Of whole texts, a fifth are not ASCII, and half contain line breaks or quotes.
    """
    words = [*_WORDS]
    if random.random() < 0.106:
        words += _NOT_ASCII
    if random.random() < 0.293:
        words += _ESCAPED
    return json.dumps(" ".join(random.choices(words, k=random.randint(20, 62))), ensure_ascii=False)[1:-1]


def _uuid(random: Random, end: int) -> str:
    digits = f"{random.getrandbits(80):020x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:]}-{end:012x}"


def _turn(random: Random, texts: list[str], ids: list[str], date: str, left: int) -> list[list[str]]:
    """Return the stored messages of a turn as lists of items, six items in all, or as many as are left."""
    run, step = _uuid(random, random.getrandbits(48)), _uuid(random, random.getrandbits(48))
    call = f"call_{random.getrandbits(96):024x}"

    def item(kind: str, message: int, index: int, fields: str, name: str = "null") -> str:
        return (
            f'{{"id":"message-{ids[message]}","date":"{date}","name":{name},"message_type":"{kind}",'
            f'"otid":"{ids[message][:-2]}{index:02x}","sender_id":null,"step_id":"step-{step}",'
            f'"is_err":null,"seq_id":null,"run_id":"run-{run}",{fields}}}'
        )

    def text() -> str:
        # All different: a warehouse would store equal texts once.
        return f"{random.getrandbits(48):x} {random.choice(texts)} {random.choice(texts)}"

    def thought() -> str:
        return f'"source":"reasoner_model","reasoning":"{text()}","signature":null'

    query = random.choice(texts).partition("\\")[0][:100]
    sent_call = (
        f'{{"name":"search_memory","arguments":"{{\\"query\\": \\"{random.getrandbits(48):x} {query}\\"}}",'
        f'"tool_call_id":"{call}"}}'
    )
    result = f'"tool_return":"{text()}","status":"success","tool_call_id":"{call}","stdout":[],"stderr":[]'
    returned = f'{result},"tool_returns":[{{"type":"tool",{result}}}]'
    items = [
        (0, item("user_message", 0, 0, f'"content":"{text()}"')),
        (1, item("reasoning_message", 1, 0, thought())),
        (1, item("tool_call_message", 1, 2, f'"tool_call":{sent_call},"tool_calls":[{sent_call}]')),
        (2, item("tool_return_message", 2, 0, returned, '"search_memory"')),
        (3, item("reasoning_message", 3, 0, thought())),
        (3, item("assistant_message", 3, 1, f'"content":"{text()}"')),
    ][:left]
    return [[one for at, one in items if at == message] for message in range(items[-1][0] + 1)]
