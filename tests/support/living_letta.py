"""A Letta that changes while it is loaded, and the rules for its warehouse, for any pipeline.

`LettaMachine.reads` says what a load must read. Server behavior that no loader could follow does not
occur at all:

- Beyond the overlap nothing arrives late and nothing changes. Dates are of now or of 2024; those of 2024
  advance by a minute each, so that no list gets an item before one that is as old. Messages are changed,
  and arrive late, only among those of now.
- Without an overlap (`lag` 0) nothing arrives late after the load: what it could read is fixed, and nothing
  new is dated 2024.
- A batch that was created and finished between two loads is in no list: its id cannot be known.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from letta_source.demo.api import Dialect
from letta_source.demo.shapes import wire_time
from letta_source.loading.outcome import LoadFailed
from letta_source.loading.run import Load, load
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES
from letta_source.state.session import ROWS_PER_YIELD, Packages, Session
from letta_source.times import created_at, parse_time
from tests.support.full_letta import FullLetta
from tests.support.library_loads import Row, columns_of
from tests.support.played_dlt import Crash, DltFaults
from tests.support.warehouse_model import Model, Unit, units_of
from tests.support.wire import HOST, no_waits, playing

_YOUNG = datetime(2025, 1, 1, tzinfo=timezone.utc)
RESOURCES_LOADED = tuple(name for name, resource in RESOURCES.items() if not resource.on_request)
SELECTIONS = (
    RESOURCES_LOADED,
    ("agents", "agent_messages"),
    ("runs", "steps", "step_messages"),
    ("groups", "group_messages", "conversations"),
    ("batches", "batch_messages"),
)
# Loaded in their current state, whatever the window.
_TIMELESS = ("agents", "groups", "conversations")
# A load that needs more requests than this for each thing on the server never ends.
_REQUESTS_EACH, _REQUESTS_MORE = 40, 400

PLACES = st.integers(0, 9)
YEARS = st.sampled_from(["now", "2024"])
PHASES = st.sampled_from(["walk", "extract", "normalize", "load"])


def _now() -> datetime:
    return datetime.now(timezone.utc)


class Endless(BaseException):
    """The load does not stop sending requests."""


class LettaMachine(RuleBasedStateMachine):
    """The rules. Subclasses define `open`, `rows` and `lose_folder`."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.faults = DltFaults()
        self.model = Model()
        self.letta = FullLetta(seed=0)
        self.settings: dict[str, Any] = {
            "base_url": HOST,
            "retries": 1,
            "page_size": 2,
            "max_workers": 2,
            "changes": "on",
        }
        self.lag = "10m"
        self._rows_per_yield = ROWS_PER_YIELD
        self._old = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
        self._fixed: set[str] = set()
        self._late = False
        # Batches, by resource, that a load has seen: it reads them until they finish.
        self._seen_batches: dict[str, set[str]] = {"batches": set(), "batch_messages": set()}
        self._poisoned_once: set[tuple[str, str]] = set()
        self._requests_left = 0

    def open(self) -> None:
        raise NotImplementedError

    def rows(self, table: str) -> list[Row]:
        raise NotImplementedError

    def lose_folder(self) -> None:
        raise NotImplementedError

    def teardown(self) -> None:
        self.stack.close()

    @initialize(dialect=st.sampled_from(["self-hosted", "cloud"]), agents=st.integers(1, 2))
    def begin(self, dialect: Dialect, agents: int) -> None:
        self.dialect: Dialect = dialect
        self.stack.enter_context(no_waits())
        self.stack.enter_context(playing(self.letta, dialect, self._asked))
        self._patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        self.open()
        for _ in range(agents):
            self.letta.add_agent()

    @rule(hidden=st.booleans(), memgpt=st.booleans())
    def create(self, hidden: bool, memgpt: bool) -> None:
        if len(self._agents()) < 3:
            self.letta.add_agent("memgpt_v2_agent" if memgpt else "letta_v1_agent", hidden=hidden)

    @rule(
        place=PLACES,
        year=YEARS,
        tools=st.integers(0, 2),
        approval=st.booleans(),
        reasoning=st.booleans(),
        finished=st.booleans(),
        in_conversation=st.booleans(),
    )
    def talk(self, place: int, year: str, tools: int, in_conversation: bool, **turn: Any) -> None:
        agent = self._one(self._agents(), place)
        if agent is None:
            return
        conversations = [
            row["id"]
            for row in self.letta.tables["conversations"].rows.values()
            if row["agent_id"] == agent and in_conversation
        ]
        conversation = self._one(conversations, place)
        about: dict[str, Any] = {"tools": ["roll", "look_up"][:tools], "conversation_id": conversation}
        self.letta.talk(agent, "hi", date=self._date(year), **about, **turn)
        if conversation:
            # The server dates its own rows by its clock, whatever the messages' dates.
            self.letta.replace_row("conversations", conversation, last_message_at=wire_time(_now()))

    @rule(place=PLACES, kind=st.sampled_from(["summarize", "capture"]))
    def write_without_a_run(self, place: int, kind: str) -> None:
        if agent := self._one(self._agents(), place):
            getattr(self.letta, kind)(agent)

    @rule(place=PLACES)
    def compact(self, place: int) -> None:
        if conversation := self._one(self.letta.tables["conversations"].ids(), place):
            self.letta.compact_conversation(conversation)

    @rule(place=PLACES, hours=st.one_of(st.none(), st.integers(-5, 5)))
    def say_at_odds(self, place: int, hours: int | None) -> None:
        """Add a message without a date, or with one that may be older than the previous message's."""
        if agent := self._one(self._agents(), place):
            item = {"message_type": "user_message", "content": "when?"}
            undated = {"date": None} if hours is None else {}
            date = self._old + timedelta(hours=hours or 0)
            self.letta.add_message(agent, [item | undated], date=date)

    @precondition(lambda self: self._running("runs"))
    @rule(place=PLACES)
    def finish_run(self, place: int) -> None:
        if run := self._one(self._running("runs"), place):
            self.letta.finish_run(run)

    @rule(place=PLACES, manager=st.sampled_from(["round_robin", "supervisor"]), hidden=st.booleans())
    def create_group(self, place: int, manager: str, hidden: bool) -> None:
        if len(self.letta.tables["groups"]) < 4 and (agents := self._agents()):
            first = place % len(agents)
            self.letta.add_group([*agents[first:], *agents[:first]], manager, hidden=hidden)
            # The group is visible through its manager.
            self.letta.touch(agents[first])

    @rule(place=PLACES, year=YEARS)
    def say_in_group(self, place: int, year: str) -> None:
        group = self._one(self.letta.tables["groups"].ids(), place)
        row = (
            self.letta.tables["groups"].rows[group] if group else {"agent_ids": [], "manager_agent_id": None}
        )
        members = [one for one in (*row["agent_ids"], row["manager_agent_id"]) if one in self._agents()]
        if group and (agent := self._one(members, place)):
            self.letta.add_message(agent, text="all", group_ids=[group], date=self._date(year))

    @rule(place=PLACES, forked=st.booleans())
    def open_conversation(self, place: int, forked: bool) -> None:
        conversations = self.letta.tables["conversations"].ids()
        if len(conversations) > 5:
            return
        if forked and conversations:
            self.letta.fork_conversation(conversations[place % len(conversations)])
        elif agent := self._one(self._agents(), place):
            self.letta.add_conversation(agent)

    @rule(place=PLACES, before=PLACES, year=YEARS)
    def say_late(self, place: int, before: int, year: str) -> None:
        """Commit a message late: it is inserted before messages that may have been read."""
        agent = self._one(self._agents(), place)
        if agent and (within := self._within_overlap(agent)):
            date = self._old if year == "2024" else None
            self.letta.add_message(agent, text="late", date=date, before=within[before % len(within)])
            self._late = True

    @rule(place=PLACES, message=PLACES, texts=st.integers(0, 2), calls=st.booleans())
    def edit(self, place: int, message: int, texts: int, calls: bool) -> None:
        agent = self._one(self._agents(), place)
        young = [one for one in self._within_overlap(agent) if self._is_young(one)] if agent else []
        one = self._one(young, message)
        if one is None or one in self.letta.poisoned:
            return
        items: list[dict[str, Any]] = [
            {"message_type": "assistant_message", "content": f"edit {n}"} for n in range(texts)
        ]
        if calls or not items:
            call = {"name": "roll", "arguments": "{}", "tool_call_id": f"call-{message}"}
            items.append({"message_type": "tool_call_message", "tool_call": call, "tool_calls": [call]})
        self.letta.replace_items(one, items)
        self._late = True

    @rule(place=PLACES, message=st.integers(0, 30))
    def delete_message(self, place: int, message: int) -> None:
        agent = self._one(self._agents(), place)
        if agent and (one := self._one(self.letta.list_of("agent", agent).ids(), message)):
            self.letta.delete_message(one)

    @rule(place=PLACES)
    def reset_agent(self, place: int) -> None:
        if agent := self._one(self._agents(), place):
            self.letta.reset_messages(agent)

    @rule(place=PLACES)
    def reset_between_loads(self, place: int) -> None:
        self._load(("agent_messages",))
        self.reset_agent(place)
        self._load(("agent_messages",))

    @rule(place=PLACES)
    def delete_agent(self, place: int) -> None:
        if len(self._agents()) > 1 and (agent := self._one(self._agents(), place)):
            self.letta.delete_agent(agent)

    @rule(place=PLACES, messages=st.integers(0, 5))
    def create_batch(self, place: int, messages: int) -> None:
        if agent := self._one(self._agents(), place):
            self.letta.add_batch(agent, messages)

    @precondition(lambda self: self._running("batches"))
    @rule(place=PLACES, messages=st.integers(1, 3))
    def go_on_with_batch(self, place: int, messages: int) -> None:
        agents = self._agents()
        rows = self.letta.tables["batches"].rows
        batch = self._one([one for one in self._running("batches") if rows[one]["agent_id"] in agents], place)
        if batch:
            self.letta.add_batch_messages(batch, messages)

    @precondition(lambda self: self._running("batches"))
    @rule(place=PLACES)
    def finish_batch(self, place: int) -> None:
        if batch := self._one(self._running("batches"), place):
            self.letta.finish_batch(batch)

    @rule(message=st.integers(0, 60))
    def poison(self, message: int) -> None:
        one = self._one(self.letta.messages.ids(), message)
        if one and len(self.letta.poisoned) < 2:
            self.letta.poison(one)

    @precondition(lambda self: self.letta.poisoned)
    @rule(place=PLACES)
    def cure(self, place: int) -> None:
        if one := self._one(list(self.letta.poisoned), place):
            self.letta.cure(one)

    @rule(
        page_size=st.integers(1, 7),
        max_workers=st.integers(1, 4),
        lag=st.sampled_from(["10m", "10m", "0"]),
        changes=st.sampled_from(["on", "on", "off"]),
        sweep_interval=st.sampled_from(["1d", "1d", "0"]),
    )
    def change_settings(self, page_size: int, max_workers: int, lag: str, **changes: str) -> None:
        self.settings |= {"page_size": page_size, "max_workers": max_workers, **changes}
        self.lag = lag

    @rule(rows=st.sampled_from([1, 5, 20, 1_000_000]), a_yield=st.sampled_from([1, 4, 10_000]))
    def change_checkpoints(self, rows: int, a_yield: int) -> None:
        self.settings["checkpoint_rows"] = rows
        self._rows_per_yield = a_yield

    @rule(selected=st.sampled_from(SELECTIONS))
    def load(self, selected: tuple[str, ...]) -> None:
        self._load(selected)

    @rule(selected=st.sampled_from(SELECTIONS[1:]))
    def load_some(self, selected: tuple[str, ...]) -> None:
        self._load(selected)

    @rule(selected=st.sampled_from(SELECTIONS), phase=PHASES, steps=st.integers(0, 25))
    def load_and_crash(self, selected: tuple[str, ...], phase: str, steps: int) -> None:
        self.faults.phase, self.faults.steps = phase, steps
        self._load(selected)
        self.faults.phase = ""

    @rule(selected=st.sampled_from(SELECTIONS), otherwise=st.sampled_from(["moved", "window", "refresh"]))
    def load_otherwise(self, selected: tuple[str, ...], otherwise: str) -> None:
        """Load on a new machine, a window of young messages, or everything again."""
        if otherwise == "moved":
            self.lose_folder()
        more: dict[str, dict[str, Any]] = {"window": {"start_date": _YOUNG}, "refresh": {"refresh": True}}
        self._load(selected, **more.get(otherwise, {}))

    def run(self, what: Load, session: Session) -> None:
        """Load as the command line does."""
        load(what, session=session)

    def _load(self, selected: tuple[str, ...], **more: Any) -> None:
        # Late messages need a load with an overlap.
        lag = "10m" if self._late or selected != RESOURCES_LOADED or more else self.lag
        units = [unit for name in selected for unit in units_of(self.letta, self.dialect, name)]
        lost = self._out_of_reach(units)
        window = "start_date" in more
        self.model.attempt(units)
        if "step_messages" in selected and self.letta.poisoned:
            # Unreadable messages make pages small, and which `send_message` parts steps hide depends on that.
            self.model.allow(units_of(self.letta, self.dialect, "step_messages", apart=True))
        self._requests_left = _REQUESTS_MORE + _REQUESTS_EACH * len(units)
        self._poisoned_once |= {(unit.resource, unit.parent_id) for unit in units if self._is_poisoned(unit)}
        if lag == "0":
            self._fixed = set(self.letta.messages.ids())
        session = Session(packages=Packages(rows_per_yield=self._rows_per_yield))
        try:
            self.run(Load({**self.settings, "lag": lag, **more}, selected), session)
        except Crash:
            return
        except Endless:
            raise AssertionError(f"no end of requests for {len(units)} things") from None
        except LoadFailed as failed:
            # More than half of the parents are unreadable, or Cloud has no batches; all else was loaded.
            is_absent = self.dialect == "cloud" and all(name.startswith("batch") for name in selected)
            if failed.loaded is None or not (self.letta.poisoned or is_absent):
                raise
        out_of_reach = set(map(id, lost))
        self.model.ended(lambda unit: id(unit) not in out_of_reach and self.reads(unit, window))
        self.model.check(RESOURCES_LOADED, self.rows)
        self._check_issues(session, [unit for unit in lost if self.reads(unit, window)])
        if not window:
            self._late = self._late and selected != RESOURCES_LOADED
            running = self._running("batches")
            for name in self._seen_batches.keys() & set(selected):
                self._seen_batches[name].update(running)

    def reads(self, unit: Unit, window: bool) -> bool:
        """Return True if a completed load must match the server for this unit, had all been readable."""
        if unit.resource in self._seen_batches:
            batch = unit.id if unit.resource == "batches" else unit.parent_id
            if batch not in self._running("batches") and (
                window or batch not in self._seen_batches[unit.resource]
            ):
                return False
        if unit.resource == "steps":
            # Whatever their age, steps lose their run when their agent is deleted. They have no date.
            return not window and unit.items[0]["agent_id"] in self._agents()
        if window and unit.resource not in _TIMELESS:
            return all((created_at(item) or _YOUNG) >= _YOUNG for item in unit.items)
        return True

    def _out_of_reach(self, units: list[Unit]) -> list[Unit]:
        """Return the unreadable units, and those that cannot be requested because of them."""
        by_parent: dict[tuple[str, str], list[Unit]] = defaultdict(list)
        for unit in units:
            by_parent[unit.resource, unit.parent_id].append(unit)
        lost: list[Unit] = []
        for (resource, parent_id), siblings in by_parent.items():
            places = [place for place, unit in enumerate(siblings) if self._is_poisoned(unit)]
            if not places:
                continue
            first, last = places[0], places[-1]
            if resource == "batch_messages":
                # One request returns all of them, or none.
                first, last = 0, len(siblings)
            if (
                resource == "group_messages"
                and not self.letta.tables["groups"].rows[parent_id]["manager_agent_id"]
            ):
                # These lists can only be read from one side.
                last = len(siblings)
            lost += siblings[first : last + 1]
        return lost

    def _check_issues(self, session: Session, lost: list[Unit]) -> None:
        """Check that issues, of this load or waiting for a retry, name what is missing, and nothing else."""
        names = columns_of(LOAD_ISSUES.name)
        rows = [dict(zip(names, row, strict=True)) for row in self.rows(LOAD_ISSUES.name)]
        assert {(row["resource"], row["parent_id"]) for row in rows} <= self._poisoned_once
        named = {
            (row["resource"], row["parent_id"])
            for row in rows
            if row["load_started_at"] == session.started_at
            or (row["next_try_at"] and row["next_try_at"] > session.started_at)
        }
        for unit in lost:
            if self._is_poisoned(unit) and self.model.lacks(unit):
                assert (unit.resource, unit.parent_id) in named, f"{unit} is missing, and nothing says so"

    def _asked(self) -> None:
        self._requests_left -= 1
        if self._requests_left < 0:
            raise Endless
        self.faults.step("walk")

    def _agents(self) -> list[str]:
        return self.letta.tables["agents"].ids()

    def _running(self, kind: Literal["runs", "batches"]) -> list[str]:
        """Return the ids of those that run; of batches, only these are in the server's list."""
        return [one for one, row in self.letta.tables[kind].rows.items() if row["status"] == "running"]

    @staticmethod
    def _one(ids: list[str], place: int) -> str | None:
        return ids[place % len(ids)] if ids else None

    def _date(self, year: str) -> datetime | None:
        if year == "now" or self._fixed:
            return None
        self._old += timedelta(minutes=1)
        return self._old

    def _is_young(self, message: str) -> bool:
        date = self.letta.messages.rows[message].items[0]["date"]
        return date is not None and parse_time(date) >= _YOUNG

    def _is_poisoned(self, unit: Unit) -> bool:
        return unit.id in self.letta.poisoned and RESOURCES[unit.resource].parent is not None

    def _within_overlap(self, agent: str) -> list[str]:
        """Return the first message of now and all after it, which the next load reads again."""
        ids = [one for one in self.letta.list_of("agent", agent).ids() if one not in self._fixed]
        young = next((place for place, one in enumerate(ids) if self._is_young(one)), len(ids))
        return ids[young:]
