"""A small Letta with three days of data, always the same; the stored warehouses hold the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest

from letta_source.demo import Letta
from letta_source.demo.letta import AgentType
from letta_source.demo.shapes import Json, user_item

_START = datetime(2024, 5, 4, 8, tzinfo=timezone.utc)
DAYS = 3
_KINDS: tuple[AgentType, ...] = ("letta_v1_agent", "memgpt_v2_agent", "letta_v1_agent", "letta_v1_agent")
_PART = {"type": "text", "text": "look", "signature": None}
_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGFsbG8="}}


def odd_items(day: int) -> list[list[Json]]:
    """Return messages of every kind that is more than plain text."""
    return [
        [user_item([_PART, _IMAGE])],
        [{"message_type": "summary_message", "summary": f"day {day}", "compaction_stats": {"before": 9}}],
        [{"message_type": "event_message", "event_type": "compaction", "event_data": {"n": [1, 2.5, 2**70]}}],
        [user_item("Grüße 🙂, nul\0 and half \ud83d")],
        [{"message_type": "new_message", "new_field": {"day": day}, "is_err": "no bool", "content": None}],
        [{"message_type": "hidden_reasoning_message", "state": "redacted", "hidden_reasoning": "…"}],
    ]


class Story:
    """The Letta and its events, all of them long ago.

    Attributes:
        unreadable: The id of a message of the first day.
        batches: The ids of all batches; the first is finished on the last day, and then in no list any more.
    """

    def __init__(self) -> None:
        self.letta = Letta(seed=20261122)
        self._days = 0
        self._agents: list[str] = []
        self._open_runs: list[str] = []
        self.batches: list[str] = []
        self._hour = _START
        self.day()
        self.unreadable = self.letta.list_of("agent", self._agents[0]).ids()[4]

    @contextmanager
    def _hours(self) -> Iterator[None]:
        """Advance the server's clock by a second at each look while the block runs."""

        def now() -> datetime:
            self._hour += timedelta(seconds=1)
            return self._hour

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.letta, "now", now)
            # The small Letta of that commit did not change agents' dates.
            patch.setattr(self.letta, "touch", lambda agent_id: None)
            yield

    def day(self) -> None:
        """Add agents, let all talk, and finish what was unfinished the day before."""
        self._days += 1
        self._hour = _START + timedelta(days=self._days)
        letta = self.letta
        with self._hours():
            for run_id in self._open_runs:
                letta.finish_run(run_id)
            for batch_id in self.batches:
                letta.add_batch_messages(batch_id, 2)
            # Not earlier: finished batches are in no list, and no load would know of it.
            if self._days == DAYS:
                letta.finish_batch(self.batches[0])
            new = [letta.add_agent(kind) for kind in (_KINDS if self._days == 1 else _KINDS[:1])]
            for number, agent_id in enumerate(new):
                group_id = letta.add_group([agent_id], "supervisor" if number % 2 else "round_robin")
                letta.add_message(agent_id, text="to the group", group_ids=[group_id])
            self._agents += new
            for agent_id in self._agents:
                letta.talk(agent_id, f"day {self._days}", tools=["roll", "look"], reasoning=True)
            first, second = self._agents[:2]
            for items in odd_items(self._days):
                letta.add_message(first, items)
            letta.talk(second, "may I?", approval=True)
            conversation_id = letta.add_conversation(first)
            letta.talk(first, "by the way", conversation_id=conversation_id)
            letta.fork_conversation(conversation_id)
            letta.replace_row("agents", second, name=f"renamed {self._days}")
            self._open_runs = [letta.talk(second, "think", tools=["roll"], finished=False)]
            self.batches.append(letta.add_batch(first))
