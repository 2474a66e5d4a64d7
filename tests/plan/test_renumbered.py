"""A conversation is read whole, however often it is compacted between two loads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from letta_source.api.client import Client
from letta_source.demo.letta import AgentType
from letta_source.demo.shapes import assistant_item
from letta_source.paging.pages import Endpoint
from letta_source.paging.walk import Event, Gap, Page
from letta_source.plan import renumbered
from letta_source.plan.renumbered import walk_renumbered
from letta_source.state.cursors import Cursors
from letta_source.times import Overlap
from tests.support.full_letta import FullLetta
from tests.support.wire import gather, no_waits, playing

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


@pytest.fixture(autouse=True, scope="module")
def _small_pages() -> Iterator[None]:
    """A page, its head and its border are small, so that conversations need not be long."""
    with no_waits(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(renumbered, "_HEAD", 8)
        patch.setattr(renumbered, "_NEAR", 6)
        yield


class Loads:
    """One conversation, and what loads have read of it; a minute passes before each write and each load."""

    def __init__(self, agent_type: AgentType = "letta_v1_agent") -> None:
        self.letta = FullLetta(seed=0)
        self._time = NOON
        self.letta.now = lambda: self._time
        self.agent = self.letta.add_agent(agent_type)
        self.conversation = self.letta.add_conversation(self.agent)
        self._state: dict[str, Any] = {}
        self.known: set[str] = set()
        self.requests = 0
        self.gaps: dict[tuple[str, str], bool] = {}
        self.pages: list[Page] = []

    @property
    def stored(self) -> list[str]:
        """The ids that the conversation holds, in the server's order."""
        return self.letta.list_of("conversation", self.conversation).ids()

    def talk(self, times: int = 1) -> None:
        for _ in range(times):
            self.pass_time()
            self.letta.talk(self.agent, "Hello.", conversation_id=self.conversation)

    def say(self, items: list[dict[str, Any]] | None = None) -> None:
        self.pass_time()
        self.letta.add_message(self.agent, items, conversation_ids=[self.conversation])

    def compact(self, kept: int = 0) -> str:
        self.pass_time()
        return self.letta.compact_conversation(self.conversation, kept)

    def load(self, rereads: bool = False) -> list[str]:
        """Read on from the cursor, with no overlap; return the ids that came."""
        self.pass_time()
        cursors = Cursors(self._state, Overlap(self._time, timedelta(0), self.letta.now))
        endpoint = Endpoint(f"/v1/conversations/{self.conversation}/messages", page_size=12)
        cursor = cursors.get(self.conversation)

        def walk(client: Client) -> AsyncIterator[Event]:
            client.server.clock.observe({"date": format_datetime(self._time, usegmt=True)})
            return walk_renumbered(client, endpoint, cursor, rereads, self.gaps)

        with playing(self.letta):
            walked = gather(walk).whole()
        self.gaps = {(one.after_id, one.before_id): False for one in walked.others if isinstance(one, Gap)}
        for page in walked.pages:
            if page.in_order:
                cursors.observe(self.conversation, page.items)
        cursors.commit()
        self.requests = walked.requests
        self.known |= set(walked.ids)
        self.pages = walked.pages
        return walked.ids

    def pass_time(self, time: timedelta = timedelta(minutes=1)) -> None:
        self._time += time


WRITES = st.one_of(
    st.tuples(st.just("talk"), st.integers(1, 6)),
    st.tuples(st.just("compact"), st.integers(0, 5)),
    st.tuples(st.just("load"), st.booleans()),
)


@given(st.lists(WRITES, max_size=14).filter(lambda writes: sum(name == "compact" for name, _ in writes) < 5))
@hypothesis_settings(max_examples=150, deadline=None)
def test_repeated_compactions_lose_nothing(writes: list[tuple[str, int]]) -> None:
    loads = Loads()
    for name, number in writes:
        getattr(loads, name)(number)
    loads.load()
    assert loads.known == set(loads.stored)


def test_a_summary_in_second_place_is_loaded_next() -> None:
    loads = Loads()
    loads.talk(times=20)
    loads.load()
    # Its date is the cursor's.
    last_turn = loads.stored[-2:]
    summary = loads.compact()
    assert loads.stored.index(summary) == 2
    assert set(loads.load()) == {summary, *last_turn}


def test_turns_placed_before_the_cursor_are_loaded_next() -> None:
    loads = Loads()
    loads.talk(times=20)
    loads.load()
    loads.compact()
    loads.load()
    loads.talk(times=2)
    places = [loads.stored.index(one) for one in loads.letta.list_of("agent", loads.agent).ids()[-4:]]
    assert max(places) < len(loads.stored) - 20
    loads.load()
    assert loads.known == set(loads.stored)


def test_messages_that_share_a_place_at_the_end_of_a_page_are_loaded() -> None:
    loads = Loads()
    loads.talk(times=20)
    loads.compact()
    loads.talk(times=20)
    assert len(loads.load()) > len(loads.stored)
    assert loads.known == set(loads.stored)


def test_messages_read_before_are_not_loaded_again() -> None:
    loads = Loads()
    loads.talk(times=20)
    summary = loads.compact()
    loads.load()
    # The newest message is not the last one of the list.
    loads.load()
    loads.talk()
    new = loads.letta.list_of("agent", loads.agent).ids()[-2:]
    assert set(loads.load()) == {summary, *new}
    assert set(loads.load(rereads=True)) == set(loads.stored)


@pytest.mark.parametrize(("turns", "requests"), [(0, 1), (20, 2)])
def test_requests_for_a_conversation_without_news(turns: int, requests: int) -> None:
    loads = Loads()
    loads.talk(turns)
    loads.say()
    loads.load()
    assert set(loads.load()) <= {loads.stored[-1]}
    assert loads.requests == requests


def test_a_return_stored_after_its_call_was_loaded_is_loaded_next() -> None:
    """A page that has a call of send_message hides its return."""
    loads = Loads("memgpt_v2_agent")
    loads.talk()
    call, back = (loads.letta.messages.rows[one].items for one in loads.stored[-2:])
    assert [items[-1]["message_type"] for items in (call, back)] == [
        "tool_call_message",
        "tool_return_message",
    ]
    for one in loads.stored[1:]:
        loads.letta.delete_message(one)
    loads.say(call)
    loads.load()
    loads.load()
    assert (loads.known, loads.requests) == (set(loads.stored), 2)
    loads.say(back)
    loads.load()
    assert loads.known == set(loads.stored)


@pytest.mark.parametrize(("time", "requests"), [(timedelta(0), 2), (timedelta(days=1), 1)])
def test_no_return_is_looked_for_a_day_after_the_last_answer(time: timedelta, requests: int) -> None:
    loads = Loads()
    loads.say([assistant_item("Done.")])
    loads.load()
    loads.pass_time(time)
    assert set(loads.load()) <= {loads.stored[-1]}
    assert loads.requests == requests


def test_a_fork_with_a_newer_system_message_does_not_count_as_renumbered() -> None:
    loads = Loads()
    loads.talk(times=20)
    loads.conversation = loads.letta.fork_conversation(loads.conversation)
    first = loads.letta.messages.rows[loads.stored[0]].items[0]["date"]
    assert first > loads.letta.messages.rows[loads.stored[1]].items[0]["date"]
    loads.load()
    for _ in range(2):
        loads.say()
        found = loads.load()
    assert found == [loads.stored[-1]]
    assert loads.requests == 3


def test_the_system_message_of_a_fork_is_loaded_once() -> None:
    """Items of one id are told apart by their place on the page: one that comes twice would be two rows."""
    loads = Loads()
    loads.talk()
    loads.conversation = loads.letta.fork_conversation(loads.conversation)
    loads.load()
    loads.load(rereads=True)
    [page] = loads.pages
    assert sorted(item["id"] for item in page.items) == sorted(loads.stored)


@pytest.mark.parametrize("unreadable", [None, 3])
def test_a_newer_system_message_does_not_hide_messages_of_earlier_dates(unreadable: int | None) -> None:
    """If the first page is unreadable, only dates show what is new."""
    loads = Loads()
    loads.talk(times=4)
    before = loads.letta.now()
    loads.pass_time(timedelta(days=1))
    loads.conversation = loads.letta.fork_conversation(loads.conversation)
    missing = {loads.stored[unreadable]} if unreadable else set()
    for message in missing:
        loads.letta.poison(message)
    for _ in range(3):
        loads.load()
        before += timedelta(minutes=1)
        loads.letta.talk(loads.agent, "From an import.", conversation_id=loads.conversation, date=before)
    loads.load()
    assert loads.known == set(loads.stored) - missing


@pytest.mark.parametrize("place", [1, 4, 40])
def test_nothing_is_missing_once_an_unreadable_message_is_readable(place: int) -> None:
    loads = Loads()
    loads.talk(times=20)
    loads.load()
    unreadable = loads.stored[place]
    loads.letta.poison(unreadable)
    loads.compact()
    loads.load()
    loads.talk()
    loads.load()
    missing = set(loads.stored) - loads.known
    assert len(missing) <= (place == 4)
    loads.letta.cure(unreadable)
    loads.load(rereads=True)
    assert loads.known == set(loads.stored)


@pytest.mark.parametrize("seed", [26, 33, 41, 42])
def test_no_new_message_is_missing_where_a_gap_was_closed(seed: int) -> None:
    """Pages end where it was, and a cursor skips what shares the place of a page's last message."""
    random, loads = Random(seed), Loads()
    writes = (
        lambda: loads.talk(random.randint(1, 6)),
        loads.say,
        lambda: loads.compact(random.randint(0, 5)),
    )
    loads.talk(random.randint(4, 20))
    loads.load()
    loads.compact(random.randint(0, 5))
    unreadable = loads.stored[random.randrange(min(9, len(loads.stored)))]
    loads.letta.poison(unreadable)
    for _ in range(random.randint(1, 3)):
        loads.load()
        random.choice(writes)()
    loads.load()
    before = set(loads.stored)
    loads.letta.cure(unreadable)
    for _ in range(random.randint(1, 3)):
        random.choice(writes)()
    loads.load()
    # What was missed before comes when the gap is retried.
    assert loads.known >= set(loads.stored) - before


@pytest.mark.parametrize("place", [0, 3, 7])
def test_an_unreadable_message_is_searched_for_once(place: int) -> None:
    loads, without = Loads(), Loads()
    for one in (loads, without):
        one.talk(times=20)
        one.say()
    unreadable = loads.stored[place]
    loads.letta.poison(unreadable)
    requests = []
    for _ in range(3):
        loads.load()
        without.load()
        requests.append(loads.requests - without.requests)
        assert loads.known == set(loads.stored) - {unreadable}
        assert len(loads.gaps) <= 1
    # The first page fails too, so the whole list is read.
    assert requests[0] > 2 * max(requests[1:])
