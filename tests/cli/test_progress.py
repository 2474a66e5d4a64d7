"""The progress of a load: a moving line on a terminal, an occasional line in a log."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import time
from collections.abc import Callable

import pytest

from letta_source.cli import progress
from letta_source.cli.progress import Progress, describe
from letta_source.state.counts import Counts
from letta_source.state.session import Session

CLEAR = "\r\x1b[K"
logger = logging.getLogger("letta_source.paging.walk")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SECONDS_ON_TERMINAL", 0.001)
    monkeypatch.setattr(progress, "_SECONDS_IN_LOG", 0.001)


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)


def session(**counts: Counts) -> Session:
    session = Session()
    session.counts.update(counts)
    return session


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({}, "starting"),
        ({"agents": Counts(items=1200, begun=10.0)}, "reading agents: 1,200 items, 600 items/s"),
        (
            {
                "agents": Counts(items=3, begun=1.0, ended=2.0),
                "agent_messages": Counts(parents=1500, done=2, items=9, begun=9.0),
            },
            "reading agent_messages: 2 of 1,500 parents, 9 items, 3 items/s",
        ),
        ({"agents": Counts(items=1, begun=12.0)}, "reading agents: 1 items, 0 items/s"),
        (
            {
                "agents": Counts(items=1000, begun=1.0, ended=2.0),
                "runs": Counts(items=5, begun=2.0, ended=3.0),
            },
            "writing 1,005 items to postgres",
        ),
    ],
)
def test_each_stage_has_its_line(
    monkeypatch: pytest.MonkeyPatch, counts: dict[str, Counts], line: str
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 12.0)
    assert describe(session(**counts), "postgres") == line


def test_on_a_terminal_one_line_moves_and_is_cleared_at_the_end() -> None:
    out, watched = Terminal(), session(agents=Counts(items=1, begun=0.0))
    with Progress(watched, "duckdb", out):
        wait_for(lambda: "reading agents" in out.getvalue())
        watched.counts["agents"].ended = 1.0
        wait_for(lambda: "writing 1 items" in out.getvalue())
    said = out.getvalue()
    assert "\n" not in said
    assert said.endswith(CLEAR)
    assert all(len(line) <= 110 for line in said.split(CLEAR))


def test_a_long_line_does_not_wrap() -> None:
    out = Terminal()
    with Progress(session(agents=Counts(ended=1.0)), "duckdb" * 100, out):
        wait_for(lambda: "duckdb" in out.getvalue())
    assert max(map(len, out.getvalue().split(CLEAR))) == 79


def test_in_a_log_each_line_stands_alone() -> None:
    out = io.StringIO()
    with Progress(session(agents=Counts(items=1, ended=1.0)), "duckdb", out):
        wait_for(lambda: out.getvalue().count("\n") > 1)
    lines = {line.partition(" ")[::2] for line in out.getvalue().splitlines()}
    assert {rest for _, rest in lines} == {"info: writing 1 items to duckdb"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time) for time, _ in lines)


def test_records_do_not_run_into_the_moving_line() -> None:
    out = Terminal()
    with Progress(session(), "duckdb", out):
        wait_for(lambda: "starting" in out.getvalue())
        for number in range(100):
            logger.warning("number %d", number)
    said = out.getvalue()
    for number in range(100):
        assert f"{CLEAR}warning: number {number}\n" in said
    assert set(said.split(CLEAR)) == {
        "",
        "starting",
        *(f"warning: number {number}\n" for number in range(100)),
    }


def test_debug_records_are_not_shown_by_default() -> None:
    out = io.StringIO()
    with Progress(session(), "duckdb", out):
        logger.debug("too much")
        logger.info("one %s", "thing")
    assert "info: one thing\n" in out.getvalue()
    assert "too much" not in out.getvalue()


def test_it_ends_with_the_load_and_leaves_the_log_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    package = logging.getLogger("letta_source")
    caplog.set_level(logging.ERROR, "letta_source")
    own = logging.NullHandler()
    package.addHandler(own)
    before = (list(package.handlers), package.level)
    with Progress(session(), "duckdb", io.StringIO()):
        assert own in package.handlers
    assert (package.handlers, package.level) == before
    assert not [thread for thread in threading.enumerate() if thread.name == "letta_source.cli.progress"]
    package.removeHandler(own)


def test_it_writes_to_the_current_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(session(), "duckdb"):
        logger.warning("here")
    assert "warning: here\n" in capsys.readouterr().err


def test_the_json_log_has_one_object_per_line() -> None:
    out = io.StringIO()
    with Progress(session(agents=Counts(items=1, ended=1.0)), "duckdb", out, form="json"):
        wait_for(lambda: "writing" in out.getvalue())
        logger.warning("two\nlines \x1b[31m")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {frozenset(line) for line in lines} == {frozenset({"time", "level", "logger", "message"})}
    assert {"level": "warning", "logger": logger.name, "message": "two\nlines \x1b[31m"} in [
        {name: line[name] for name in ("level", "logger", "message")} for line in lines
    ]
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        (logging.WARNING, {"warning"}),
        (logging.INFO, {"info", "warning"}),
        (logging.DEBUG, {"debug", "info", "warning"}),
    ],
)
def test_verbose_and_quiet_change_what_is_logged(level: int, seen: set[str]) -> None:
    out = io.StringIO()
    with Progress(session(), "duckdb", out, level=level):
        for said in (logger.debug, logger.info, logger.warning):
            said("here")
    assert {line.split()[1].rstrip(":") for line in out.getvalue().splitlines() if "here" in line} == seen


def test_a_quiet_load_shows_no_progress() -> None:
    out = io.StringIO()
    with Progress(session(), "duckdb", out, level=logging.WARNING):
        time.sleep(0.05)
    assert out.getvalue() == ""
