"""A long load in several load packages: its requests, its checkpoints, and what a failure leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from letta_source.demo import Letta, Server, serve
from letta_source.demo.api import Answer
from tests.loads.test_run import before_answers
from tests.support.command import SOME, Command, ago, messages
from tests.support.library_loads import columns_of, paths, quiet_agent

pytestmark = pytest.mark.whole

ROOTS = ("agents", "runs", "steps", "agent_messages")
EVERYTHING = ("--resources", ",".join(ROOTS))
PAGES = ("--page-size", "4")


@pytest.fixture
def letta() -> Letta:
    """Return three agents with ten turns each, the last of them a moment ago."""
    letta = Letta(seed=0)
    for _ in range(3):
        agent_id = quiet_agent(letta)
        for turn in range(10):
            letta.talk(agent_id, "hello", tools=["roll_dice"], date=ago(minutes=5 * (9 - turn)))
    return letta


@pytest.fixture
def server(letta: Letta) -> Iterator[Server]:
    with serve(letta) as server:
        yield server


def cut(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Make load packages of about `rows` rows, with small pieces from the extraction."""
    monkeypatch.setenv("SOURCES__LETTA__CHECKPOINT_ROWS", str(rows))
    monkeypatch.setattr("letta_source.state.session.ROWS_PER_YIELD", 10)


def _listed(table: str) -> str:
    return ", ".join(f'"{column}"' for column in columns_of(table))


def everything(command: Command) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: command.rows(f"SELECT {_listed(table)} FROM letta.{table} ORDER BY ALL")
        for table in (*ROOTS, "agent_messages__content")
    }


def test_small_packages_need_the_same_requests_and_load_the_same(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = letta_source.load(server, *EVERYTHING, *PAGES)
    in_one, rows = sorted(paths(server), key=repr), everything(letta_source)
    (letta_source.folder / "letta_db.duckdb").unlink()
    cut(monkeypatch, 100)
    said = letta_source.load(server, *EVERYTHING, *PAGES)
    assert (said.code, said.column("new")) == (0, whole.column("new"))
    assert sorted(paths(server), key=repr) == in_one
    assert everything(letta_source) == rows
    packages = letta_source.rows("SELECT load_id FROM letta._dlt_loads")
    assert len(packages) == 4
    assert said.err.count("items and their cursors are loaded") == 3
    roots = " UNION ALL ".join(f"SELECT _dlt_load_id FROM letta.{table}" for table in ROOTS)
    sizes = letta_source.rows(f"SELECT count(*) FROM ({roots}) GROUP BY _dlt_load_id")
    assert max(int(str(size)) for (size,) in sizes) < 120
    assert not [file for file in letta_source.files() if file.endswith(".parquet")]
    assert len(list(letta_source.folder.glob("dlt/pipelines/letta/load/loaded/*"))) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="finds open files in /proc")
def test_other_processes_may_open_the_file_while_a_load_reads(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has the file open for writing would keep all others out."""
    cut(monkeypatch, 100)
    asked: dict[str, bool] = {}

    def look(path: str) -> None:
        open_files = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.exists()]
        asked[path] = any(file.endswith("letta_db.duckdb") for file in open_files)

    before_answers(monkeypatch, look)
    assert letta_source.load(server, *EVERYTHING, *PAGES).code == 0
    assert len(asked) > 20
    assert not any(asked.values())


def test_a_window_and_a_refresh_end_too(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their cursors do not move, so each package might start where the previous one did."""
    cut(monkeypatch, 200)
    for options in (("--start-date", "2020-01-01"), ("--refresh",)):
        assert letta_source.load(server, *PAGES, *options).code == 0
        assert letta_source.count("agent_messages") == messages(letta)
    assert len(server.requests) < 200


def test_a_failure_loses_only_the_current_package(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(monkeypatch, 100)
    last = list(letta.tables["agents"].rows)[-1]
    with monkeypatch.context() as patch:
        before_answers(patch, lambda path: Answer(401, {"detail": "revoked"}) if last in path else None)
        said = letta_source.load(server, *PAGES, "--max-workers", "1")
    # After others could be read, a 401 concerns only the requested agent.
    assert said.code == 3
    loaded = letta_source.count("agent_messages")
    # Everything that was read is loaded, though the last package was not full.
    assert loaded == messages(letta) * 2 // 3
    paths(server)
    assert letta_source.load(server, *PAGES).code == 0
    assert letta_source.count("agent_messages") == messages(letta)
    cursors = [after for path, after in paths(server) if "/messages" in path and last not in path]
    assert cursors
    assert None not in cursors


@pytest.mark.parametrize(("failing", "code"), [(1, 3), (2, 1), (3, 1)])
def test_more_than_half_of_the_parents_failing_is_a_failed_load(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    failing: int,
    code: int,
) -> None:
    bad = list(letta.tables["agents"].rows)[:failing]

    def refuse(path: str) -> Answer | None:
        is_bad = path.endswith("/messages") and any(one in path for one in bad)
        return Answer(409, {"detail": "locked"}) if is_bad else None

    with monkeypatch.context() as patch:
        before_answers(patch, refuse)
        said = letta_source.load(server)
    assert (said.code, said.column("problems")["agent_messages"]) == (code, str(failing))
    assert letta_source.count("agent_messages") == messages(letta) * (3 - failing) // 3
    if code == 1:
        assert said.errors[-1] == (
            f"letta-source: agent_messages: {failing} of 3 could not be read: see load_issues"
        )
    assert letta_source.load(server).code == 0
    assert letta_source.count("agent_messages") == messages(letta)


def started(server: Server, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the command line as a process with the fixture's environment."""
    command = [sys.executable, "-m", "letta_source", "run", "--base-url", server.base_url]
    return subprocess.Popen(
        [*command, *SOME, *PAGES],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("number", "kept", "said"),
    [
        (signal.SIGINT, False, "nothing was loaded yet, the next run begins where this one did"),
        (signal.SIGTERM, True, "3 items are loaded, the next run continues from there"),
    ],
)
def test_a_signal_stops_at_once_and_says_what_is_kept(
    letta_source: Command,
    letta: Letta,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    kept: bool,
    said: str,
) -> None:
    hangs, asked, stopped = list(letta.tables["agents"].rows)[-1], threading.Event(), threading.Event()

    def hang(path: str) -> None:
        if hangs in path:
            asked.set()
            stopped.wait(30)

    rows = "1" if kept else "1000"
    with monkeypatch.context() as patch, serve(letta) as server:
        before_answers(patch, hang)
        loading = started(server, letta_source.folder, SOURCES__LETTA__CHECKPOINT_ROWS=rows)
        assert loading.stderr
        while kept and "3 items and their cursors are loaded" not in loading.stderr.readline():
            pass
        assert asked.wait(30)
        loading.send_signal(number)
        sent = time.monotonic()
        out, err = loading.communicate(timeout=10)
        assert time.monotonic() - sent < 2
        stopped.set()
    assert (loading.returncode, out) == (128 + number, "")
    assert err.endswith(f"\nletta-source: stopped: {said}\n")
    with serve(letta) as server:
        assert letta_source.load(server).code == 0
    assert letta_source.count("agent_messages") == messages(letta)


def test_a_signal_stops_a_load_whose_output_nobody_reads(
    letta_source: Command, letta: Letta, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, stopped = threading.Event(), threading.Event()

    def hang(path: str) -> None:
        if path.endswith("/messages"):
            asked.set()
            stopped.wait(30)

    with monkeypatch.context() as patch, serve(letta) as server:
        before_answers(patch, hang)
        loading = started(server, letta_source.folder)
        assert asked.wait(30)
        assert loading.stdout
        assert loading.stderr
        loading.stderr.close()
        loading.send_signal(signal.SIGTERM)
        assert loading.wait(10) == 143
        loading.stdout.close()
        stopped.set()
