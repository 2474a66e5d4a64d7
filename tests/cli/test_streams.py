"""Standard output and standard error that are full, closed or unread."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from letta_source.cli import main
from letta_source.cli.streams import print_outcome
from letta_source.demo import Letta, Server
from letta_source.errors import ExitCode
from letta_source.loading.outcome import LoadFailed
from tests.support.command import Command
from tests.support.paths import ROOT


class Failing(io.RawIOBase):
    """A byte stream on which every write fails until the process ends."""

    has_ended = False

    def __init__(self, number: int) -> None:
        self._number = number

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.has_ended:
            return len(data)
        raise OSError(self._number, os.strerror(self._number))


def failing(number: int) -> Any:
    """Return a buffered text stream, as Python makes from a descriptor."""
    return io.TextIOWrapper(io.BufferedWriter(Failing(number)), "utf-8")


def full() -> Any:
    return failing(errno.ENOSPC)


def gone() -> Any:
    return failing(errno.EIO)


def unread() -> Any:
    return failing(errno.EPIPE)


def closed() -> Any:
    stream = io.StringIO()
    stream.close()
    return stream


def missing() -> Any:
    """Return None, Python's stream of a closed descriptor."""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, out: Any, err: Any = None) -> tuple[int, str]:
    """Run with these streams; return the exit code and the text of standard error."""
    said = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err or said)
        try:
            code = main(arguments)
        except SystemExit as left:
            code = int(left.code or 0)
        assert sys.stdout is out
    for stream in (out, err):
        if isinstance(stream, io.TextIOWrapper):
            # Closing the stream writes its buffer.
            stream.buffer.raw.has_ended = True
    return code, said.getvalue()


PRINTING = {
    "discover": ("discover",),
    "json": ("discover", "--json"),
    "completion": ("completion", "fish"),
    "sql": ("export", "tool_calls", "--sql"),
    "help": ("run", "--help"),
    "version": ("--version",),
}


@pytest.mark.parametrize("name", PRINTING)
def test_commands_that_print(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    arguments = PRINTING[name]
    for out, line in ((full(), "No space left on device"), (gone(), "Input/output error")):
        code, said = run(monkeypatch, *arguments, out=out)
        assert code == ExitCode.FAILED
        assert said.splitlines()[-1] == f"letta-source: standard output cannot be written: {line}"
        assert "Traceback" not in said
    code, said = run(monkeypatch, *arguments, out=unread())
    assert (code, "letta-source" in said) == (ExitCode.OK, False)
    for out in (closed(), missing()):
        code, said = run(monkeypatch, *arguments, out=out)
        assert said.splitlines()[-1].startswith("letta-source: standard output ")
        assert "is closed" in said
        assert code == (ExitCode.FAILED if arguments[-1].startswith(("--help", "--version")) else 2)


@pytest.mark.parametrize("err", [full, gone, unread, closed, missing])
def test_failed_writes_to_standard_error_are_ignored(
    monkeypatch: pytest.MonkeyPatch, err: Callable[[], Any]
) -> None:
    out = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        stream = err()
        patched.setattr(sys, "stderr", stream)
        assert main(["run", "--base-url", "localhost"]) == ExitCode.USAGE
        # Without a standard error, `print` would write to standard output.
        assert out.getvalue() == ""
        with pytest.raises(SystemExit, match="2"):
            main(["nonsense"])
    if isinstance(stream, io.TextIOWrapper):
        stream.buffer.raw.has_ended = True


class Done:
    """The outcome of a load with unreadable items."""

    new_problems = 2
    exit_code = ExitCode.INCOMPLETE

    def summary(self) -> str:
        return "agents 1\n" * 5000


@pytest.mark.parametrize("out", [full, gone, unread, closed, missing])
def test_a_completed_load_keeps_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, out: Callable[[], Any]
) -> None:
    monkeypatch.setattr("letta_source.loading.run.load", lambda *given: Done())
    code, said = run(monkeypatch, "run", out=out())
    assert code == ExitCode.INCOMPLETE
    line = "letta-source: the output is incomplete: standard output cannot be written"
    told = [] if out is unread else [line]
    assert [line.rpartition(": ")[0] for line in said.splitlines()[:-1]] == told
    assert said.splitlines()[-1] == "2 could not be read: see load_issues"
    assert run(monkeypatch, "run", out=out(), err=full())[0] == ExitCode.INCOMPLETE


@pytest.mark.parametrize("out", [full, unread, missing])
def test_a_failed_load_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch, out: Callable[[], Any]) -> None:
    def load(*given: object) -> None:
        done: Any = Done()
        raise LoadFailed("the lists were empty", done)

    monkeypatch.setattr("letta_source.loading.run.load", load)
    code, said = run(monkeypatch, "run", out=out())
    assert (code, said.splitlines()[-1]) == (ExitCode.FAILED, "letta-source: the lists were empty")


@pytest.mark.whole
def test_a_load_whose_output_is_piped(
    letta_source: Command, server: Server, letta: Letta, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Progress and log are written to standard error from several threads.
    monkeypatch.setattr("letta_source.cli.progress._SECONDS_IN_LOG", 0.01)
    agents = list(letta.tables["agents"].rows)
    from_server = ("--base-url", server.base_url, "--resources", "agents")
    assert run(monkeypatch, "run", *from_server, "-v", out=full(), err=full())[0] == ExitCode.OK
    assert letta_source.count("agents") == len(agents)
    reading = (("status",), ("export", "agents"), ("export", "agents", "--format", "csv"))
    for arguments in reading:
        for out, line in ((full(), "No space left on device"), (missing(), "is closed")):
            code, said = run(monkeypatch, *arguments, out=out)
            assert (code in (1, 2), line in said.splitlines()[-1]) == (True, True)
        code, said = run(monkeypatch, *arguments, out=unread())
        assert (code, "letta-source" in said) == (ExitCode.OK, False)
    letta_source.rows("UPDATE letta.agents SET name = 'another'")
    for out in (full(), unread()):
        assert run(monkeypatch, "verify", *from_server, out=out)[0] == ExitCode.INCOMPLETE

    # Sockets of a database raise this error, too.
    def broken(*given: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("letta_source.export.stream.read", broken)
    refused = letta_source("export", "agents")
    assert (refused.code, "BrokenPipeError" in refused.errors[-1]) == (ExitCode.FAILED, True)


def test_print_outcome_prints_outside_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    print_outcome("loaded")
    assert capsys.readouterr() == ("loaded\n", "")


# Holds the standard descriptors, then writes the one that the next file gets.
PROCESS = """
import os, sys
from letta_source.cli import streams
streams.hold_descriptors()
found = os.open(os.devnull, os.O_RDONLY)
os.write(int(sys.argv[1]), str(found).encode())
from letta_source.cli import command
command()
"""


@pytest.mark.parametrize("missing", [(0, 1, 2), (2,), (1,)])
def test_no_file_gets_the_descriptor_of_a_closed_stream(tmp_path: Path, missing: tuple[int, ...]) -> None:
    """Otherwise DuckDB's file would get it, and text for standard error would be written into that file."""
    reads, writes = os.pipe()

    def close() -> None:
        for number in missing:
            os.close(number)

    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(writes), "--version"],
        preexec_fn=close,
        pass_fds=[writes],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
    )
    os.close(writes)
    with open(reads, "rb") as pipe:
        assert int(pipe.read()) > 2
    assert (done.stderr + done.stdout).count(b"Traceback") == 0
