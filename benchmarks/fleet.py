"""A fleet of many agents with few messages each, loaded in shards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.contenders import Call
from benchmarks.data import TURN_ITEMS
from benchmarks.server import Server

_ROOT = Path(__file__).parent.parent

# The last messages of the first agents are hidden; each run that should find something shows some of them.
_NEW = 0.01
_HIDDEN_RUNS = 4
_SHOWN = 0.5

# Rows by table of a fully shown agent, whose messages are one turn.
_ROWS_A_TURN = {
    "agents": 1,
    "agent_messages": TURN_ITEMS,
    "agent_messages__content": 2,
    "agent_messages__tool_calls": 1,
    "agent_messages__tool_returns": 1,
    "agent_messages__approvals": 0,
}


@dataclass(frozen=True)
class ShardRun:
    """One load of one shard, or of all shards at once if they ran side by side.

    Attributes:
        case: what there was to load.
        seconds: from the first request until the last process ended.
        wall: seconds from the start of the first process.
        cpu: seconds of processor time.
        peak: memory in MB.
        state: bytes of the state as stored in the warehouse.
        local: bytes of the state in the working folder.
        packages, package_bytes: number of load packages in the working folder, and the bytes of their files.
    """

    case: str
    shard: str
    seconds: float
    wall: float
    cpu: float
    peak: float
    requests: int | None
    state: int
    local: int
    packages: int
    package_bytes: int


@dataclass
class Fleet:
    """The outcome of the loads.

    Attributes:
        title: what was loaded.
        notes: what was checked.
    """

    title: str
    runs: list[ShardRun] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Warehouse:
    """The destination of the shards, and their working folder.

    Attributes:
        settings: the destination's settings, as environment variables.
        resources: the resources to load; all if empty.
    """

    folder: Path
    destination: str
    dataset: str
    settings: dict[str, str]
    resources: str = "agents,agent_messages"

    def call(self, url: str, shard: str) -> Call:
        which = ("--resources", self.resources) if self.resources else ()
        options = ("--base-url", url, *which, "--shard", shard)
        to = ("--destination", self.destination, "--dataset-name", self.dataset)
        return Call(
            [[sys.executable, "-m", "letta_source", "run", *options, *to]],
            {"DLT_DATA_DIR": str(self.folder / "dlt"), "PYTHONPATH": str(_ROOT), **self.settings},
        )

    def left(self) -> dict[str, Any]:
        """Return the output of `benchmarks.left`."""
        command = [sys.executable, "-m", "benchmarks.left", self.destination, self.dataset]
        environment = self.call("", "0/1").environment()
        asked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if asked.returncode:
            raise measure.Failed(f"{self.dataset} cannot be inspected:\n{asked.stderr[-1000:]}")
        found: dict[str, Any] = json.loads(asked.stdout.splitlines()[-1])
        return found

    def working_folder(self, shard: str) -> Path:
        return self.folder / "dlt" / "pipelines" / _pipeline_name(shard)


def in_duckdb(folder: Path, resources: str = "agents,agent_messages") -> Warehouse:
    """Return a DuckDB file, which only one process at a time can have open."""
    file = {"DESTINATION__DUCKDB__CREDENTIALS": str(folder / "warehouse.duckdb")}
    return Warehouse(folder, "duckdb", "letta", file, resources)


def in_postgres(folder: Path, url: str, dataset: str) -> Warehouse:
    """Return a schema in the database at `url`; it must be new."""
    return Warehouse(folder, "postgres", dataset, {"DESTINATION__POSTGRES__CREDENTIALS": url})


def _pipeline_name(shard: str) -> str:
    index, count = shard.split("/")
    return "letta" if count == "1" else f"letta_shard_{index}_of_{count}"


class FleetBench:
    """Loads one fleet into one warehouse in changing shards, and checks the outcome."""

    def __init__(self, title: str, server: Server, agents: int, warehouse: Warehouse) -> None:
        self.result = Fleet(title)
        self._server = server
        self._agents = agents
        self._warehouse = warehouse
        self._hidden = _HIDDEN_RUNS
        warehouse.folder.mkdir(parents=True)
        self._show()

    def note_requests(self, most: int) -> None:
        """Note the number of requests of the last run, and the number allowed."""
        self.result.notes.append(f"{self.result.runs[-1].requests:,} requests; wanted: {most:,} at most.")

    def show_more(self) -> None:
        """Show new messages of another share of the agents."""
        self._hidden -= 1
        self._show()

    def _show(self) -> None:
        self._server.show(_SHOWN, _NEW * self._hidden)

    def one_by_one(self, case: str, count: int, indexes: Iterable[int]) -> None:
        """Run some of `count` shards, one after the other."""
        for index in indexes:
            measure.touch_memory()
            self._server.reset()
            measured = self._run(f"{index}/{count}")
            begun, requests = self._server.asked()
            seconds = measured.ended - (begun or measured.started)
            self._add(case, [f"{index}/{count}"], [measured], seconds, requests)

    def side_by_side(self, case: str, count: int) -> None:
        """Run all of `count` shards at once."""
        shards = [f"{index}/{count}" for index in range(count)]
        measure.touch_memory()
        self._server.reset()
        with ThreadPoolExecutor(count) as pool:
            measured = list(pool.map(self._run, shards))
        begun, requests = self._server.asked()
        seconds = max(one.ended for one in measured) - (begun or 0)
        self._add(case, shards, measured, seconds, requests)

    def _run(self, shard: str) -> measure.Measured:
        call = self._warehouse.call(self._server.url, shard)
        name = shard.replace("/", "_of_")
        return measure.run(call.pipe, self._warehouse.folder, call.environment(), name)

    def _add(
        self,
        case: str,
        shards: Sequence[str],
        measured: Sequence[measure.Measured],
        seconds: float,
        requests: int | None,
    ) -> None:
        left = self._warehouse.left()
        folders = [self._warehouse.working_folder(shard) for shard in shards]
        files = [file for folder in folders for file in (folder / "load").rglob("*") if file.is_file()]
        run = ShardRun(
            case,
            shards[0] if len(shards) == 1 else f"all {len(shards)}",
            seconds,
            max(one.ended for one in measured) - min(one.started for one in measured),
            sum(one.cpu for one in measured),
            sum(one.peak for one in measured) / 1e6,
            requests,
            sum(left["newest"][_pipeline_name(shard)] for shard in shards),
            sum((folder / "state.json").stat().st_size for folder in folders),
            sum(len([*(folder / "load").glob("*/*/load_package_state.json")]) for folder in folders),
            sum(file.stat().st_size for file in files),
        )
        self.result.runs.append(run)
        said = ", ".join(f"{name} {value}" for name, value in asdict(run).items())
        print(f"{self.result.title}: {said}", file=sys.stderr, flush=True)

    def check(self) -> None:
        """Note the number of rows.

        Raises:
            Failed: they differ from what the server shows, or some came twice.
        """
        left = self._warehouse.left()
        shown = self._server.items()
        for table, (rows, keys) in left["rows"].items():
            if rows != keys:
                raise measure.Failed(f"{table}: {rows} rows of {keys} keys")
        if (found := left["rows"]["agent_messages"][0]) != shown:
            raise measure.Failed(f"{found} items are loaded, {shown} are shown")
        states = len(left["newest"])
        sent = sum(left["sent"].values()) / 1e6
        self.result.notes.append(
            f"All {shown:,} items that the server shows are there once; {states} pipelines sent"
            f" {sent:,.1f} MB of state so far."
        )

    def check_whole(self) -> None:
        """Check as `check` does, with nothing hidden any more: every table has the rows of every turn."""
        self.check()
        for table, (rows, _) in self._warehouse.left()["rows"].items():
            if rows != (expected := self._agents * _ROWS_A_TURN[table]):
                raise measure.Failed(f"{table}: {rows} rows, not {expected}")
        self.result.notes.append("All tables have every row, once.")

    def show_all(self) -> None:
        self._hidden = 0
        self._show()


def by_turns(server: Server, agents: int, warehouse: Warehouse) -> Fleet:
    """Load in shards, one after the other: first one for all, then some of 64, some of 16, and all of 4."""
    bench = FleetBench(f"{agents:,} agents, one shard after the other", server, agents, warehouse)
    bench.one_by_one("first load", 1, [0])
    bench.check()
    bench.show_more()
    bench.one_by_one("1 % new", 1, [0])
    bench.check()
    bench.one_by_one("nothing new", 1, [0])
    for count, indexes in ((64, range(2)), (16, range(2)), (4, range(4))):
        bench.show_more()
        bench.one_by_one("takes over, 1 % new", count, indexes)
        bench.one_by_one("nothing new", count, indexes[:2])
    # All is shown by now, and these 4 have loaded what the shards that did not run had left.
    bench.check_whole()
    return bench.result


def at_once(server: Server, agents: int, warehouse: Warehouse, count: int) -> Fleet:
    """Load in `count` shards side by side."""
    bench = FleetBench(f"{agents:,} agents, {count} side by side", server, agents, warehouse)
    bench.side_by_side("first load", count)
    bench.check()
    bench.show_all()
    bench.side_by_side("4 % new", count)
    bench.check_whole()
    bench.side_by_side("nothing new", count)
    bench.check_whole()
    return bench.result


def by_news(server: Server, agents: int, warehouse: Warehouse) -> Fleet:
    """Load everything in one process from a server that tells what changed."""
    bench = FleetBench(f"{agents:,} agents, a server that tells what changed", server, agents, warehouse)
    bench.one_by_one("first load", 1, [0])
    bench.one_by_one("nothing new", 1, [0])
    bench.note_requests(12)
    bench.show_more()
    bench.one_by_one("1 % active", 1, [0])
    bench.note_requests(3 * int(agents * _NEW) + 20)
    bench.check()
    return bench.result
