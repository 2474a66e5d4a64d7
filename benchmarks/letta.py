"""The real Letta server, filled with many messages."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg2
from psycopg2 import sql

from benchmarks.server import Server
from tests.support.letta_server import LettaServer, letta_server
from tests.support.seed import TOOLS, UNICODE, Api
from tests.support.truth import read_truth

_SAID = (
    f"Please think. {UNICODE}",
    "think and use roll_dice and shout",
    "Tell me what you know of the plans for Thursday, and what was said of them before.",
)

# Columns of ids and of the order, and those that name a run of the copied agent.
_OWN = ("id", "agent_id", "created_at", "sequence_id", "otid", "run_id", "step_id", "conversation_id")

_COPY = """
insert into messages ({own}, {others})
select 'message-' || gen_random_uuid(), %s, now() - interval '60 days' + number * interval '1 second',
    nextval('message_seq_id'), null, null, null, null, {others}
from (
    select copy * (select count(*) from messages where agent_id = %s) + place as number, said.*
    from generate_series(0, %s) as copy, (
        select *, row_number() over (order by sequence_id) as place from messages where agent_id = %s
    ) as said
    order by number
    limit %s
) as ordered
"""


@dataclass(frozen=True)
class RealLetta(Server):
    """A server without statistics: what the made-up one tells is found from outside."""

    database_url: str
    _seen: list[float] = field(default_factory=list)

    def reset(self) -> None:
        self._seen.clear()
        threading.Thread(target=self._watch, daemon=True).start()

    def asked(self) -> tuple[float | None, int | None]:
        return (self._seen[0] if self._seen else None), None

    def items(self) -> int:
        # In its own process: a child's memory is never counted as less than its parent's.
        with multiprocessing.Pool(1) as pool:
            return pool.apply(_items, (self.database_url,))

    def _watch(self) -> None:
        """Note when the first connection is established."""
        port = f":{urlsplit(self.url).port:04X}"
        while not self._seen:
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
                _, _, to, state, *_ = line.split()
                if to.endswith(port) and state == "01":
                    self._seen.append(time.monotonic())
                    break
            time.sleep(0.005)


def _items(database_url: str) -> int:
    return sum(map(len, read_truth(database_url).agent_items.values()))


@contextmanager
def real_letta(work_dir: Path, agents: int, messages: int) -> Iterator[RealLetta]:
    """Run a fresh server with `agents` agents of `messages` messages each, copies of what one agent said."""
    with letta_server(work_dir) as server:
        with httpx.Client(base_url=server.base_url, timeout=60) as client:
            _fill(server, client, agents, messages)
        yield RealLetta(server.base_url, server.database_url)


def _fill(server: LettaServer, client: httpx.Client, agents: int, messages: int) -> None:
    api = Api(server, client)
    tools = [api.create_tool(TOOLS[name], needs_approval=False) for name in ("roll_dice", "shout")]
    spoken = api.create_agent("spoken", "letta_v1_agent", tools)
    for said in _SAID:
        api.turn(spoken, said)
    others = [api.create_agent(f"agent {number}", "letta_v1_agent", []) for number in range(agents)]
    with closing(psycopg2.connect(server.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select column_name from information_schema.columns where table_name = 'messages'")
        copied = [name for (name,) in cursor.fetchall() if name not in _OWN]
        statement = sql.SQL(_COPY).format(
            own=sql.SQL(", ").join(map(sql.Identifier, _OWN)),
            others=sql.SQL(", ").join(map(sql.Identifier, copied)),
        )
        for agent_id in others:
            cursor.execute(statement, (agent_id, spoken, messages, spoken, messages))
        cursor.execute("analyze")
        connection.commit()
