"""DuckDB files that another process has open: readers share a file, others name the process, or wait."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

from letta_source.destinations.duckdb_files import in_use, waited_for
from letta_source.errors import InUse
from tests.support.command import Command, messages, one_of
from tests.support.first_loads import Loaded

pytestmark = pytest.mark.whole

HOLD = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reads")
print("open", flush=True)
time.sleep(float(sys.argv[3]))
"""


@contextmanager
def held_open(file: Path, how: str, seconds: float = 60) -> Iterator[int]:
    """Hold a file open in another process, which `reads` or `writes`; yield its PID."""
    command = [sys.executable, "-c", HOLD, str(file), how, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        try:
            yield process.pid
        finally:
            process.kill()


def test_readers_share_the_file(loaded: Loaded) -> None:
    letta_source, letta, server = loaded
    with held_open(letta_source.folder / "letta_db.duckdb", "reads") as process_id:
        exported = letta_source("export", "agent_messages", "--columns", "id")
        assert (exported.code, exported.out.count("\n")) == (0, messages(letta))
        for command in (["transcript", one_of(letta)], ["status"], ["report"]):
            assert letta_source(*command).code == 0
        refused = letta_source.load(server)
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert f"(PID {process_id}): wait until it has ended, or give --wait SECONDS" in refused.err


def test_a_writer_is_named_and_waited_for(loaded: Loaded) -> None:
    letta_source, letta, server = loaded
    file = letta_source.folder / "letta_db.duckdb"
    commands = (["export", "agents"], ["transcript", one_of(letta)], ["status"], ["report"])
    with held_open(file, "writes") as process_id:
        for command in commands:
            refused = letta_source(*command)
            assert (refused.code, len(refused.errors)) == (2, 1)
            assert f"letta-source: {file} is in use by {Path(sys.executable).resolve().parent}" in refused.err
            assert f"(PID {process_id})" in refused.err
    for command in (["export", "agents"], ["run", "--base-url", server.base_url, "--resources", "agents"]):
        with held_open(file, "writes", seconds=0.3):
            assert letta_source(*command, "--wait", "20").code == 0


def test_only_loads_open_the_file_to_write(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    # Write-protection would prove it, but root ignores that.
    letta_source, letta, _ = loaded
    opened = []
    connect = duckdb.connect

    def watched(database: str = ":memory:", read_only: bool = False, **rest: object) -> object:
        opened.append((Path(database).name, read_only))
        return connect(database, read_only=read_only, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(duckdb, "connect", watched)
    for command in (["export", "agents"], ["transcript", one_of(letta)], ["status"], ["report"]):
        assert letta_source(*command).code == 0
    assert {read_only for name, read_only in opened if name == "letta_db.duckdb"} == {True}


def test_a_running_pipeline_is_waited_for(loaded: Loaded) -> None:
    letta_source, _, server = loaded
    lock = FileLock(letta_source.folder / "dlt" / "pipelines" / "letta.lock", mode=0o600)
    with lock:
        refused = letta_source.load(server)
    assert (refused.code, "the pipeline letta is being run already: wait" in refused.err) == (2, True)


@pytest.mark.parametrize("seconds", ["-1", "soon", "inf", "nan", ""])
def test_seconds_to_wait(letta_source: Command, seconds: str) -> None:
    refused = letta_source("export", "agents", f"--wait={seconds}")
    assert (refused.code, "must be a number of seconds, 0 or more" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (
            'IO Error: Could not set lock on file "/srv/w.duckdb": Conflicting lock is held in'
            " /usr/bin/python3 (PID 17). See also https://duckdb.org",
            "/srv/w.duckdb is in use by /usr/bin/python3 (PID 17): ",
        ),
        (
            'IOException: IO Error: Could not set lock on file "/srv/my w.duckdb": Resource unavailable',
            "/srv/my w.duckdb is in use by another process: ",
        ),
        ("IO Error: No such file", None),
    ],
)
def test_duckdbs_messages_are_recognized(said: str, error: str | None) -> None:
    found = in_use(said)
    assert (found and str(found).startswith(error or "")) if error else found is None


def test_other_errors_are_not_retried() -> None:
    tries = []

    def attempt() -> None:
        tries.append(1)
        raise (InUse if len(tries) < 2 else ValueError)(len(tries))

    with pytest.raises(ValueError, match="2"):
        waited_for(20, attempt)
    assert len(tries) == 2
