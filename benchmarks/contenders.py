"""The command of each contender, and how its rows are counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Failed
from tests.support.environments import environment_python

PEERS = Path(__file__).with_name("peers")

_ROOT = Path(__file__).parent.parent

# In its own process: a child's memory is never counted as less than its parent's.
_COUNT = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    print(connection.execute(f"SELECT count(*) FROM {sys.argv[2]}").fetchall()[0][0])
"""


@dataclass(frozen=True)
class Call:
    """One run of a contender.

    Attributes:
        pipe: its commands; each reads the output of the one before.
        settings: its environment variables.
        before: a command to run first; it is not measured.
        rows: returns the number of messages' items, given the output; None if the contender stores none.
        keep: stores what the next run continues from, given the output.
    """

    pipe: Sequence[Sequence[str]]
    settings: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()
    rows: Callable[[str], int] | None = None
    keep: Callable[[str], object] | None = None

    def environment(self) -> dict[str, str]:
        """Return all variables: no setting for Letta or dlt from outside reaches a run.

        Nor does the one that would have each run compile all modules again.
        """
        ours = ("LETTA_", "SOURCES__", "DESTINATION__", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**kept, **self.settings}


Contender = Callable[[str, Path, int], Call]
"""Takes the server's URL, a folder and the number of parallel requests, where it can be set."""


def ours(url: str, folder: Path, workers: int) -> Call:
    """`letta-source run` of this checkout."""
    return _letta_source(
        [sys.executable, "-m", "letta_source"], url, folder, workers, {"PYTHONPATH": str(_ROOT)}
    )


def checkout(root: Path) -> Contender:
    """`letta-source run` of another checkout, such as an earlier commit's, with its own `.venv`."""

    def earlier(url: str, folder: Path, workers: int) -> Call:
        return _letta_source([str(root / ".venv" / "bin" / "letta-source")], url, folder, workers, {})

    return earlier


def _letta_source(
    command: Sequence[str], url: str, folder: Path, workers: int, settings: Mapping[str, str]
) -> Call:
    options = ("--base-url", url, "--resources", "agents,agent_messages", "--max-workers", str(workers))
    return Call(
        [[*command, "run", *options]],
        {"DLT_DATA_DIR": str(folder / "dlt"), **settings},
        rows=lambda said: _count(folder / "letta_db.duckdb", "letta.agent_messages"),
    )


def rest_api(url: str, folder: Path, workers: int) -> Call:
    """dlt's own source with the settings that its manual recommends for speed."""
    return _rest_api(url, folder, _tuned(workers))


def rest_api_again(url: str, folder: Path, workers: int) -> Call:
    """dlt's own source, run again: without a cursor for each agent it reads all, and inserts what is new."""
    return _rest_api(url, folder, _tuned(workers), "insert-only")


def rest_api_plain(url: str, folder: Path, workers: int) -> Call:
    """dlt's own source with default settings except for parquet."""
    return _rest_api(url, folder, {})


def _tuned(workers: int) -> Mapping[str, str]:
    return {
        "EXTRACT__WORKERS": str(workers),
        "NORMALIZE__WORKERS": "2",
        "DATA_WRITER__DISABLE_COMPRESSION": "true",
        "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
        "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "25000",
        "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "100000",
    }


def _rest_api(url: str, folder: Path, settings: Mapping[str, str], *strategy: str) -> Call:
    database = folder / "rest_api.duckdb"
    return Call(
        [[sys.executable, str(PEERS / "rest_api.py"), url, str(database), *strategy]],
        {
            "DLT_DATA_DIR": str(folder / "dlt"),
            "RUNTIME__LOG_LEVEL": "CRITICAL",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            **settings,
        },
        rows=lambda said: _count(database, "letta_rest_api.agent_messages"),
    )


def singer(url: str, folder: Path, workers: int) -> Call:
    """A tap of the Singer SDK into target-duckdb; it continues from its state."""
    python = _python("singer")
    database, tap, target, state = (
        folder / name for name in ("singer.duckdb", "tap.json", "target.json", "state.json")
    )
    tap.write_text(json.dumps({"url": url}))
    target.write_text(
        json.dumps(
            {
                "path": str(database),
                "default_target_schema": "main",
                "batch_size_rows": 100_000,
                "primary_key_required": False,
            }
        )
    )
    going_on = ["--state", str(state)] if state.exists() else []
    return Call(
        [
            [python, str(PEERS / "tap.py"), "--config", str(tap), *going_on],
            [str(Path(python).with_name("target-duckdb")), "--config", str(target)],
        ],
        {"LOGLEVEL": "WARNING", "TAP_LETTA_LOGLEVEL": "WARNING"},
        rows=lambda said: _count(database, "main.agent_messages"),
        keep=lambda said: state.write_text(said.splitlines()[-1]),
    )


def official(url: str, folder: Path, workers: int) -> Call:
    """The official client in a loop, into pandas; it cannot read two agents at once."""
    return Call([[_python("official"), str(PEERS / "official.py"), url]], rows=int)


def fetch(url: str, folder: Path, workers: int) -> Call:
    """The bytes of a whole load, not parsed."""
    return Call([_bare(url, workers, "walk")])


def poll(url: str, folder: Path, workers: int) -> Call:
    """The requests of a load that finds nothing new."""
    return Call([_bare(url, workers, "poll")])


def read_json(url: str, folder: Path, workers: int) -> Call:
    """DuckDB reads the same JSON from disk."""
    pages = folder / "pages"
    pages.mkdir(exist_ok=True)
    script = str(PEERS / "read_json.py")
    return Call(
        [[sys.executable, script, url, str(pages), str(folder / "read_json.duckdb")]],
        before=_bare(url, workers, "walk", str(pages)),
        rows=int,
    )


def _python(name: str) -> str:
    """Return the Python of an environment with `peers/NAME.txt`."""
    return str(environment_python(f"benchmark-{name}", PEERS / f"{name}.txt"))


def _bare(url: str, workers: int, *what: str) -> list[str]:
    return [sys.executable, str(PEERS / "bare.py"), url, str(workers), *what]


def _count(database: Path, table: str) -> int:
    command = [sys.executable, "-c", _COUNT, str(database), table]
    counted = subprocess.run(command, capture_output=True, text=True, check=False)
    if counted.returncode:
        raise Failed(f"{table} cannot be counted:\n{counted.stderr[-500:]}")
    return int(counted.stdout)
