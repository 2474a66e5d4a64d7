"""A Letta whose hours pass: events on it between one load and the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.api import server
from letta_source.demo import Letta
from letta_source.state import session

MINUTE = timedelta(minutes=1)


def stop_clock(moment: datetime, patch: pytest.MonkeyPatch) -> None:
    """Make loads begin at this moment from now on."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return moment.astimezone(tz)

    patch.setattr(session, "datetime", Stopped)
    # Else the responses' dates would show that these hours are over.
    patch.setattr(server.Clock, "skew", timedelta(0))
    patch.setattr(server, "local_now", lambda: moment)


class Story:
    """Agents with groups, conversations and batches; each method is the events of an hour.

    Attributes:
        now: the story's time, to which `at` sets the clocks; it starts a day ago.
    """

    def __init__(self, seed: int = 0) -> None:
        self.letta = Letta(seed)
        self.now = datetime.now(timezone.utc) - timedelta(hours=24)
        self._young: list[str] = []
        with self._hour():
            self.agents = [self.letta.add_agent() for _ in range(3)]
            for agent_id, manager in zip(self.agents, ("round_robin", "supervisor", "dynamic"), strict=True):
                group_id = self.letta.add_group([agent_id], manager)
                for number in range(8):
                    date = self.now + number * MINUTE
                    self.letta.add_message(agent_id, text=f"{number} 🙂", group_ids=[group_id], date=date)
                self.letta.talk(agent_id, "hi", tools=["roll", "look"], approval=True, reasoning=True)
                conversation_id = self.letta.add_conversation(agent_id)
                self.letta.talk(agent_id, "by the way", conversation_id=conversation_id)
                self.batch_id = self.letta.add_batch(agent_id)
            self.unfinished = self.letta.talk(self.agents[0], "think", tools=["roll"], finished=False)
        self._talk_now()

    @contextmanager
    def at(self) -> Iterator[None]:
        """Set the clocks of the Letta, and of loads in this process, to this hour."""
        with pytest.MonkeyPatch.context() as patch:
            stop_clock(self.now, patch)
            for name in ("now", "touched_at"):
                patch.setattr(self.letta, name, lambda: self.now)
            yield

    @contextmanager
    def _hour(self) -> Iterator[None]:
        """Run the block, then let an hour pass, so that everything done in it is old."""
        with self.at():
            yield
        self.now += 60 * MINUTE

    def _talk_now(self) -> None:
        """Add messages within the overlap: the last three messages and their children."""
        before = set(self.letta.messages.ids())
        for agent_id in self.agents[:2]:
            self.letta.talk(agent_id, "now", tools=["roll"], reasoning=True, date=self.now - 3 * MINUTE)
        self._young = [one for one in self.letta.messages.ids() if one not in before]

    def an_hour(self) -> None:
        with self._hour():
            agent_id = self.letta.add_agent()
            self.agents.append(agent_id)
            self.letta.talk(agent_id, "new here", tools=["look"])
            self.letta.talk(self.agents[1], "later", tools=["roll"], approval=True)
            self.letta.replace_row("agents", self.agents[0], name="renamed", updated_at=f"{self.now:%FT%TZ}")
            self.letta.finish_run(self.unfinished)
        self._talk_now()

    def late_arrivals(self) -> None:
        """Insert messages before those that were loaded, as a long transaction does; shrink another."""
        shrink(self.letta, self.longest_young())
        date = self.now - 2 * MINUTE
        for message_id in self._young[:3]:
            agent_id = self.letta.messages.rows[message_id].agent_id
            self.letta.add_message(agent_id, text="late", before=message_id, date=date)
        with self._hour():
            pass
        self._talk_now()

    def a_reset_agent_and_a_batch_that_ends(self) -> None:
        with self._hour():
            self.letta.reset_messages(self.agents[1])
            self.letta.delete_message(self.letta.list_of("agent", self.agents[0]).ids()[2])
            self.letta.add_batch_messages(self.batch_id, 2)
            self.letta.finish_batch(self.batch_id)
        self._talk_now()

    def a_newer_server(self) -> None:
        """Send unknown fields of every type."""
        new = {"new_text": "ä", "new_number": 1.5, "new_list": [{"a": None}], "new_flag": True}
        with self._hour():
            item = {"message_type": "user_message", "content": "new", **new}
            self.letta.add_message(self.agents[0], [item])
            self.letta.add_message(self.agents[0], [{"message_type": "new_message", **new}])
            part = {"type": "new_part", **new}
            self.letta.add_message(self.agents[0], [{"message_type": "user_message", "content": [part]}])
            for agent_id in self.agents:
                self.letta.replace_row("agents", agent_id, **new)
            run_id = self.letta.talk(self.agents[2], "new")
            self.letta.replace_row("runs", run_id, **new)

    def old_messages(self) -> None:
        """Add only messages, all older than the overlap."""
        with self._hour():
            for agent_id in self.agents:
                self.letta.talk(agent_id, "more", tools=["roll"], reasoning=True)

    def quiet(self) -> None:
        """Let an hour pass, so that everything is old."""
        with self._hour():
            pass

    def longest_young(self) -> str:
        """Return the message within the overlap that has the most items."""
        return max(self._young, key=lambda one: len(self.letta.messages.rows[one].items))


def shrink(letta: Letta, message_id: str) -> None:
    """Remove all but one of its items, and all its tool calls."""
    reasoning = {"message_type": "reasoning_message", "reasoning": "less", "source": "reasoner_model"}
    letta.replace_items(message_id, [reasoning])
