"""Rounds of random writes to the real server, each loaded by change detection alone: nothing is missed.

`LIVE_ROUNDS` and `LIVE_AGENTS` make it longer: how many rounds, and among how many silent agents. It sorts
last, because the other tests would read its agents too.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.conftest import Letta
from tests.live.test_live import shown
from tests.support.loaded_duckdb import LoadedDuckDB
from tests.support.seed import Api
from tests.support.server_rows import Tables

pytestmark = pytest.mark.live

logger = logging.getLogger(__name__)

ROUNDS = int(os.environ.get("LIVE_ROUNDS", "6"))
SILENT = int(os.environ.get("LIVE_AGENTS", "100"))
RESOURCES = "agents,conversations,runs,steps,agent_messages,conversation_messages"
# Requests at most of a load that finds nothing new, however many agents there are.
NOTHING_NEW = 12
# No overlap, and no sweep that is due: what comes, comes because it was found.
OPTIONS = ("--resources", RESOURCES, "--changes", "on", "--lag", "0", "--sweep-interval", "1000d")


class Writer:
    """Some agents with conversations, and every kind of write to them."""

    def __init__(self, letta: Letta, seed: int) -> None:
        self._letta = letta
        self._api = Api(letta.server, letta.client)
        self._random = random.Random(seed)
        self._tools = list(letta.ids.tools.values())
        self._agents: list[str] = []
        self._conversations: list[str] = []
        for _ in range(4):
            self.create_agent()
            self.create_conversation()
        for conversation in self._conversations:
            for _ in range(3):
                self._api.converse(conversation, "Something to sum up. " * 20)
        self.kinds: dict[str, Callable[[], object]] = {
            "turn": lambda: self._api.turn(self._agent, "Hello; think"),
            "stream": lambda: self._api.turn(self._agent, "use shout", stream=True),
            "approval": self._approve,
            "conversation turn": lambda: self._api.converse(self._conversation, "Hello in a thread. " * 20),
            "conversation stream": lambda: self._api.converse(self._conversation, "Hello.", stream=True),
            "new conversation": self.create_conversation,
            "fork": lambda: self._conversations.append(self._api.fork(self._conversation)),
            "compaction": lambda: self._api.compact(self._conversation),
            "summary": lambda: self._api.summarize(self._agent),
            "capture": lambda: self._api.capture(self._agent),
            "new agent": self.create_agent,
            "import": lambda: self._agents.extend(self._api.copy_agent(self._agent)),
        }

    @property
    def _agent(self) -> str:
        return self._random.choice(self._agents)

    @property
    def _conversation(self) -> str:
        return self._random.choice(self._conversations)

    def create_agent(self) -> None:
        self._agents.append(self._api.create_agent("written to", "letta_v1_agent", self._tools))

    def create_conversation(self) -> None:
        self._conversations.append(self._api.create_conversation(self._agent))

    def _approve(self) -> None:
        agent = self._api.create_agent("approving", "letta_v1_agent", self._tools)
        self._api.turn(agent, "use danger")
        self._api.decide(agent, approve=self._random.random() < 0.5, reason=None)

    def write(self) -> list[str]:
        """Write up to three times; return what."""
        kinds = self._random.choices(list(self.kinds), k=self._random.randrange(4))
        for at, kind in enumerate(kinds):
            try:
                self.kinds[kind]()
            except RuntimeError as error:
                # Such as a summary of nothing.
                kinds[at] = f"{kind} (refused: {error})"
        return kinds


def test_random_writes_are_all_loaded(letta: Letta, tmp_path: Path) -> None:
    writer = Writer(letta, seed=ROUNDS)
    with Tables(letta.server.database_url) as tables:
        tables.copy_agent(letta.ids.agents["v1 silent"], SILENT)
    warehouse = LoadedDuckDB(tmp_path, letta.server.base_url)
    for number in range(ROUNDS + 1):
        written = writer.write() if number else []
        loaded = warehouse.run(*OPTIONS)
        assert loaded.returncode == 0, (written, loaded.stderr)
        truth = letta.truth()
        assert warehouse.items("agent_messages", "agent_id") == truth.agent_items, written
        in_threads = shown(truth, truth.conversation_messages)
        assert warehouse.pairs("conversation_messages", "conversation_id") == in_threads, written
        for table in ("agents", "conversations", "runs", "steps"):
            assert warehouse.ids(table) == getattr(truth, table), (table, written)
        assert warehouse.doubled_keys() == []
        requests = _requests(warehouse)
        logger.info("%s: %s requests", written, requests)
        if number and not written and requests > NOTHING_NEW:
            # A slow server finished a run after the last load: that was news. Now there is none.
            assert warehouse.run(*OPTIONS).returncode == 0
            assert _requests(warehouse) <= NOTHING_NEW


def _requests(warehouse: LoadedDuckDB) -> int:
    """Return how many requests the last load took."""
    [(requests,)] = warehouse.rows(
        "SELECT sum(requests) FROM load_log GROUP BY run_id ORDER BY max(ended_at) DESC LIMIT 1"
    )
    return int(requests)
