"""Whatever happens to a Letta between loads: what it had at the time of a load is in the table, once."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from letta_source.demo import Letta, Server, serve

from .warehouse import Merged, Row, columns_of

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
SHOWN = [
    columns_of("agent_messages").index(name)
    for name in ("agent_id", "id", "position", "message_type", "text")
]

PLACES = st.integers(0, 5)
DATES = st.one_of(st.none(), st.integers(-5, 5).map(lambda hours: OLD + timedelta(hours=hours)))
EVENTS = st.one_of(
    st.tuples(st.just("talk"), PLACES, DATES),
    st.tuples(st.just("undated"), PLACES),
    st.tuples(st.just("late"), PLACES, PLACES, DATES),
    st.tuples(st.just("edit"), PLACES, PLACES),
    st.tuples(st.just("reset"), PLACES),
    st.tuples(st.just("delete"), PLACES),
    st.tuples(st.just("create")),
    st.tuples(st.just("load"), st.integers(1, 7)),
    st.tuples(st.just("load"), st.integers(1, 7)),
)


class World:
    """A Letta, a table that follows it, and what the table must hold.

    Args:
        lag: of every load; without an overlap nothing is committed late, and nothing changes.
    """

    def __init__(self, server: Server, letta: Letta, lag: str) -> None:
        self.server, self.letta, self.lag = server, letta, lag
        self.merged = Merged()
        self.seen: dict[str, list[Row]] = {}

    def play(self, name: str, *arguments: Any) -> None:
        agents = self.letta.tables["agents"].ids()
        if name in ("create", "load"):
            getattr(self, name)(*arguments)
        elif agents:
            place, *rest = arguments
            getattr(self, name)(agents[place % len(agents)], *rest)

    def create(self) -> None:
        self.letta.add_agent()

    def talk(self, agent: str, date: datetime | None) -> None:
        self.letta.talk(agent, "hi", tools=["roll"], reasoning=True, date=date)

    def undated(self, agent: str) -> None:
        self.letta.add_message(agent, [{"message_type": "user_message", "content": "when?", "date": None}])

    def late(self, agent: str, place: int, date: datetime | None) -> None:
        if within := self._within_overlap(agent):
            self.letta.add_message(agent, text="late", date=date, before=within[place % len(within)])

    def edit(self, agent: str, place: int) -> None:
        if within := self._within_overlap(agent):
            item = {"message_type": "assistant_message", "content": "edited"}
            self.letta.replace_items(within[place % len(within)], [item])

    def reset(self, agent: str) -> None:
        self.letta.reset_messages(agent)

    def delete(self, agent: str) -> None:
        self.letta.delete_agent(agent)

    def load(self, page_size: int) -> None:
        self.merged.load(self.server, "agent_messages", page_size=page_size, lag=self.lag)
        for message_id, message in self.letta.messages.rows.items():
            self.seen[message_id] = [
                (message.agent_id, message_id, position, item["message_type"], item.get("content"))
                for position, item in enumerate(message.items)
            ]
        found = [tuple(row[place] for place in SHOWN) for row in self.merged.rows("agent_messages")]
        assert sorted(found, key=repr) == sorted(
            (row for rows in self.seen.values() for row in rows), key=repr
        )

    def _within_overlap(self, agent: str) -> list[str]:
        """The first young message and all after it: so far the next load reads again."""
        ids = self.letta.list_of("agent", agent).ids()
        dates = [self.letta.messages.rows[one].items[0]["date"] or "" for one in ids]
        young = next((place for place, date in enumerate(dates) if date > "2025"), len(ids))
        return [] if self.lag == "0" else ids[young:]


@settings(max_examples=25, deadline=None)
@given(
    dialect=st.sampled_from(["self-hosted", "cloud"]),
    lag=st.sampled_from(["0", "10m"]),
    events=st.lists(EVENTS, min_size=5, max_size=20),
)
def test_everything_a_load_could_see_is_there_once(
    dialect: Any, lag: str, events: list[tuple[Any, ...]]
) -> None:
    letta = Letta(seed=0)
    for _ in range(2):
        letta.add_agent()
    with serve(letta, dialect) as server:
        world = World(server, letta, lag)
        for name, *arguments in events:
            world.play(name, *arguments)
        world.load(3)
