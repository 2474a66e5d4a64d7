"""The warehouse of a command that is killed at random moments again and again, then completes.

Each scenario kills it in every phase of a load package, with or without loss of its working folder, while the
Letta goes on; then nothing may be missing, doubled, or without its parent. `--hypothesis-profile=long` plays
more of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Literal

import duckdb
import pytest
from hypothesis import settings

from letta_source.demo import Letta, Server, serve
from letta_source.schema.columns import LOAD_ID
from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.schema.tables import LOAD_ISSUES, Table
from letta_source.state import session as state_session
from tests.support.command import ago
from tests.support.library_loads import Row, Warehouse, columns_of, in_order, quiet_agent
from tests.support.processes import started

pytestmark = pytest.mark.proof

PACKAGE_ROWS = "100"

Phase = Literal["extract", "normalize", "load"]
PHASES: tuple[Phase, ...] = ("extract", "normalize", "load")
Rows = dict[str, list[Row]]

# Two halves of the resources, so that each run costs half as much.
LOADED = (
    ("agents", "runs", "steps", "agent_messages", "step_messages"),
    ("groups", "conversations", "batches", "agent_messages", "group_messages", "batch_messages"),
)


@dataclass
class Usual:
    """The duration of a run from its first request on, and its longest phases, in seconds."""

    total: float = 0.0
    phases: dict[Phase, float] = field(default_factory=dict)


class Loader:
    """`letta-source run` in subprocesses with a warehouse and a working folder of their own."""

    def __init__(self, folder: Path, server: Server, resources: Sequence[str]) -> None:
        self.folder = folder
        self._resources = resources
        self.file = folder / "letta_db.duckdb"
        self._server = server
        folder.mkdir()

    def phase(self) -> Phase:
        """Return the phase: a package waits to be loaded, one waits to be normalized, or none waits."""
        packages = self.folder / "dlt" / "pipelines" / "letta"
        if _has_packages(packages / "load" / "normalized"):
            return "load"
        return "normalize" if _has_packages(packages / "normalize" / "extracted") else "extract"

    def forget(self) -> None:
        """Delete the working folder, as when a container starts anew."""
        shutil.rmtree(self.folder / "dlt", ignore_errors=True)

    def run(self) -> Usual:
        """Run to the end; return the durations."""
        usual = Usual()
        with self._started() as process:
            begun = since = time.monotonic()
            phase = self.phase()
            while process.is_alive():
                time.sleep(0.002)
                if (now := self.phase()) != phase:
                    usual.phases[phase] = max(usual.phases.get(phase, 0.0), time.monotonic() - since)
                    phase, since = now, time.monotonic()
            usual.total = time.monotonic() - begun
            self._assert_ended_well(process)
        return usual

    def kill(self, phase: Phase, moment: float, usual: Usual, random: Random) -> None:
        """Start a run, and kill it in this phase.

        Args:
            moment: the share of a usual run, 0 to 1, after which to wait for the next such phase.
        """
        sooner = 1.0
        while not self._killed(phase, sooner * moment * usual.total, sooner * usual.phases[phase], random):
            # The run ended before, because less was left to read.
            sooner /= 2

    def _killed(self, phase: Phase, wait: float, length: float, random: Random) -> bool:
        with self._started() as process:
            time.sleep(wait)
            while process.is_alive():
                if self.phase() != phase:
                    time.sleep(0.001)
                    continue
                time.sleep(random.uniform(0, length))
                _signal(process, signal.SIGSTOP)
                if self.phase() == phase and process.is_alive():
                    process.kill()
                    return True
                _signal(process, signal.SIGCONT)
            self._assert_ended_well(process)
            return False

    @contextmanager
    def _started(self) -> Iterator[BaseProcess]:
        """Yield a process that has sent its first request, or has ended without one."""
        self._server.requests.clear()
        process = started(
            self.folder,
            f"run --base-url {self._server.base_url} --page-size 10 --resources {','.join(self._resources)}",
            {"DLT_DATA_DIR": str(self.folder / "dlt"), "SOURCES__LETTA__CHECKPOINT_ROWS": PACKAGE_ROWS},
            small_chunks,
        )
        try:
            while not self._server.requests and process.is_alive():
                time.sleep(0.005)
            yield process
        finally:
            process.kill()
            process.join()

    def _assert_ended_well(self, process: BaseProcess) -> None:
        assert process.exitcode == 0, (self.folder / "said").read_text()


def _signal(process: BaseProcess, number: signal.Signals) -> None:
    assert process.pid
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def small_chunks() -> None:
    """Make several load packages of one resource out of little data."""
    state_session.ROWS_PER_YIELD = 25


def _has_packages(folder: Path) -> bool:
    """Return True for a folder; a file is the rest of a package whose writing was killed."""
    return any(entry.is_dir() for entry in folder.glob("*"))


class Talk:
    """A Letta whose agents talked hours ago, and a moment ago, within the overlap."""

    def __init__(self, seed: int) -> None:
        self.letta = Letta(seed)
        self.random = Random(seed)
        for number in range(3):
            agent_id = quiet_agent(self.letta)
            for turn in range(2):
                long_ago = ago(hours=3, minutes=-5 * turn)
                self.letta.talk(agent_id, "hi", tools=["roll", "look"], approval=turn == 1, date=long_ago)
            self._talk_before(agent_id, "supervisor" if number else "round_robin")
            self._talk_now(agent_id)

    def _talk_before(self, agent_id: str, manager_type: str) -> None:
        """Add messages that are old enough for the cursor to advance."""
        group_id = self.letta.add_group([agent_id], manager_type)
        for minutes in range(30):
            self.letta.add_message(agent_id, group_ids=[group_id], date=ago(hours=2, minutes=-minutes))

    def _talk_now(self, agent_id: str) -> None:
        self.letta.talk(agent_id, "and now?", tools=["roll"], reasoning=True, finished=False)
        conversation_id = self.letta.add_conversation(agent_id)
        self.letta.talk(agent_id, "by the way", conversation_id=conversation_id)
        self.letta.add_batch(agent_id)

    def go_on(self) -> None:
        """Make changes that every later load must load, whichever loads were killed before."""
        new_agent_id = quiet_agent(self.letta)
        self._talk_before(new_agent_id, "round_robin")
        self._talk_now(new_agent_id)
        still_read = {one: self._young(one) for one in self.letta.tables["agents"].ids()}
        for young in still_read.values():
            self.shrink(young)
        agent_id, young = self.random.choice([(one, young) for one, young in still_read.items() if young])
        changes: list[Callable[[], object]] = [
            lambda: self.letta.talk(agent_id, "more", tools=["roll"], approval=True),
            lambda: self.letta.add_message(agent_id, text="late", before=self.random.choice(young)),
            lambda: self.letta.add_batch_messages(self.random.choice(self._batches()), 2),
            lambda: self.letta.finish_run(self.random.choice(self.letta.tables["runs"].ids()[-3:])),
        ]
        for change in self.random.sample(changes, k=2):
            change()

    def shrink(self, young: Sequence[str]) -> None:
        """Remove all but one item and all tool calls from a message."""
        long = [one for one in young if len(self.letta.messages.rows[one].items) > 1]
        if long:
            reasoning = {"message_type": "reasoning_message", "reasoning": "less", "source": "reasoner_model"}
            self.letta.replace_items(self.random.choice(long), [reasoning])

    def lose(self) -> None:
        """Remove things from the server that stay in the warehouse."""
        self.letta.reset_messages(self._agent())
        agent_id = self._agent()
        self.letta.delete_message(self.random.choice(self.letta.list_of("agent", agent_id).ids()))
        # Finished batches leave the server's list.
        self.letta.finish_batch(self.random.choice(self._batches()))

    def _agent(self) -> str:
        return self.random.choice(self.letta.tables["agents"].ids())

    def _batches(self) -> list[str]:
        rows = self.letta.tables["batches"].rows
        return [one for one, row in rows.items() if row["status"] == "running"]

    def _young(self, agent_id: str) -> list[str]:
        rows = self.letta.messages.rows
        ids = self.letta.list_of("agent", agent_id).ids()
        return [one for one in ids if rows[one].created_at > ago(minutes=5)]


def held(file: Path, resources: Sequence[str]) -> Rows:
    """Return the sorted rows of every table, without the load's id."""
    names = [table.name for resource in resources for table in RESOURCES[resource].tables]
    with duckdb.connect(str(file)) as connection:
        return {
            name: in_order(connection.sql(f"SELECT {_listed(columns_of(name))} FROM letta.{name}").fetchall())
            for name in [*names, LOAD_ISSUES.name]
        }


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def untouched(letta: Letta, server: Server, folder: Path, resources: Sequence[str]) -> Rows:
    """Return the rows of one load into an empty warehouse, with finished batches requested by id."""
    Warehouse(folder).load(server, *resources, batch_ids=letta.tables["batches"].ids())
    return held(folder / "warehouse.duckdb", resources)


def with_what_is_gone(fresh: Rows, before: Rows) -> Rows:
    """Return the rows a warehouse with `before` must hold: the server's, and those no longer there."""
    merged = dict(fresh)
    for resource in RESOURCES.values():
        if resource.name in before:
            gone = set(_of_messages(before, resource.root)) - set(_of_messages(fresh, resource.root))
            for table in resource.tables:
                rows = zip(before[table.name], _of_messages(before, table), strict=True)
                kept = [row for row, message in rows if message in gone]
                merged[table.name] = in_order([*fresh[table.name], *kept])
    return merged


def _of_messages(rows: Rows, table: Table) -> list[Row]:
    """Return each row's key of its message, or of its run, step, …"""
    return _keys(rows, table, table.merge_key or table.primary_key)


def _keys(rows: Rows, table: Table, key: Sequence[str]) -> list[Row]:
    places = [columns_of(table.name).index(name) for name in key]
    return [tuple(row[place] for place in places) for row in rows[table.name]]


def assert_same(found: Rows, expected: Rows) -> None:
    differences = {
        f"{name}: {what}": list((Counter(some) - Counter(others)).elements())[:3]
        for name in expected
        for what, some, others in (
            ("missing", expected[name], found[name]),
            ("too many", found[name], expected[name]),
        )
        if Counter(some) - Counter(others)
    }
    assert not differences
    assert not found[LOAD_ISSUES.name]


def assert_sound(file: Path, found: Rows) -> None:
    """Check that keys are unique, children have their root, and rows belong to completed loads."""
    for table in all_tables():
        if table.name in found:
            keys = _keys(found, table, table.primary_key)
            assert len(set(keys)) == len(keys), table.name
    for resource in RESOURCES.values():
        if resource.name in found:
            root, *children = resource.tables
            roots = set(_keys(found, root, root.primary_key))
            for child in children:
                assert set(_keys(found, child, child.primary_key[:-1])) <= roots, child.name
    with duckdb.connect(str(file)) as connection:
        ended = connection.sql("SELECT load_id FROM letta._dlt_loads WHERE status = 0").fetchall()
        for name in found:
            loads = connection.sql(f"SELECT DISTINCT {LOAD_ID.name} FROM letta.{name}").fetchall()
            assert set(loads) <= set(ended), name


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Usual:
    """Return the durations of a run on this machine, from which moments are drawn."""
    with serve(Talk(0).letta) as server:
        return Loader(tmp_path_factory.mktemp("usual") / "run", server, LOADED[0]).run()


@pytest.mark.parametrize("seed", range(3 if settings.get_current_profile_name() != "long" else 12))
def test_ten_kills_lose_nothing_and_double_nothing(seed: int, tmp_path: Path, usual: Usual) -> None:
    random = Random(seed)
    talk, resources = Talk(seed), LOADED[seed % 2]
    # A lost folder would hide the faults of a kept one, and vice versa.
    loses = (0.0, 1.0, 0.5)[seed % 3]
    kills = random.sample([*PHASES, *PHASES, *PHASES, "load"], k=10)
    # Everything that is removed from the server after that was loaded before.
    finished_after = random.randint(4, 7)
    with serve(talk.letta) as server:
        loader = Loader(tmp_path / "killed", server, resources)
        before: Rows = {}
        for number, phase in enumerate(kills):
            if number == finished_after:
                loader.run()
                before = untouched(talk.letta, server, tmp_path / "before", resources)
                found = held(loader.file, resources)
                assert_same(found, before)
                assert_sound(loader.file, found)
                talk.lose()
            if number:
                talk.go_on()
            loader.kill(phase, random.uniform(0, 0.6), usual, random)
            if random.random() < loses:
                loader.forget()
        loader.run()
        found = held(loader.file, resources)
        fresh = untouched(talk.letta, server, tmp_path / "fresh", resources)
    assert_same(found, with_what_is_gone(fresh, before))
    assert_sound(loader.file, found)
