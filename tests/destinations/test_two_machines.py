"""Two machines that load one pipeline into one PostgreSQL: one does, and no row comes twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from letta_source.demo import Letta, Server, serve
from tests.destinations.conftest import Databases
from tests.support.library_loads import small_letta
from tests.support.places import chosen
from tests.support.processes import started

pytestmark = [
    pytest.mark.destinations,
    pytest.mark.skipif("postgres" not in chosen(), reason="ALL_DESTINATIONS leaves PostgreSQL out"),
]

LONGEST = 120
# Seconds; a lease is to run out while a test waits.
SHORT = 2.0


class Machines:
    """Machines with a working folder each, and one database."""

    def __init__(self, folder: Path, url: str, letta: Letta, server: Server) -> None:
        self._folder, self._url, self._letta, self._server = folder, url, letta, server
        self.running: list[BaseProcess] = []

    def start(self, name: str, *options: str, stops: str | None = None) -> BaseProcess:
        """Begin a load.

        Args:
            stops: where it stops itself by SIGSTOP, one of `STOPS`.
        """
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        command = ["run", "--base-url", self._server.base_url, "--destination", "postgres"]
        command += ["--resources", "agents,agent_messages", *options]
        environment = {"DESTINATION__POSTGRES__CREDENTIALS": self._url, "DLT_DATA_DIR": str(folder / "dlt")}
        process = started(folder, " ".join(command), environment, partial(_prepare, name, stops))
        self.running.append(process)
        return process

    def ended(self, process: BaseProcess) -> int | None:
        """Wait for a load; return its exit code."""
        process.join(LONGEST)
        assert not process.is_alive()
        return process.exitcode

    def said(self, name: str) -> str:
        """Return what the machine's last load said."""
        return (self._folder / name / "said").read_text()

    def run(self, name: str, *options: str) -> int | None:
        """Load to the end; return the exit code."""
        return self.ended(self.start(name, *options))

    def talk(self) -> None:
        """Have each agent have more messages."""
        for agent_id in {message.agent_id for message in self._letta.messages.rows.values()}:
            self._letta.talk(agent_id, "more", tools=["roll"])

    def check(self) -> None:
        """Compare the tables with the server."""
        held = self._letta.messages.rows.values()
        wanted = sorted(message.id for message in held for _ in message.items)
        calls = "agent_messages__tool_calls"
        with closing(psycopg2.connect(self._url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM letta.agent_messages")
            assert sorted(row[0] for row in cursor.fetchall()) == wanted
            distinct = "count(DISTINCT (agent_id, message_id, position, idx))"
            cursor.execute(f"SELECT count(*), {distinct}, count(DISTINCT message_id) FROM letta.{calls}")
            rows, keys, messages = cursor.fetchall()[0]
        assert rows == keys
        assert messages == sum(any(item.get("tool_call") for item in one.items) for one in held)

    def close(self) -> None:
        """End what is left."""
        for process in self.running:
            if process.is_alive():
                process.kill()
                process.join()


@pytest.fixture
def machines(tmp_path: Path, databases: Databases) -> Iterator[Machines]:
    letta = small_letta(6)
    with serve(letta) as server:
        machines = Machines(tmp_path, databases.postgres(), letta, server)
        yield machines
        machines.close()


def _prepare(name: str, stops: str | None) -> None:
    # Of a process of its own: nothing is ever put back.
    from letta_source.destinations import lease, lease_holder

    lease.SECONDS = SHORT
    # Processes of one machine know which of them are dead.
    lease_holder._machine = lambda: name
    if stops:
        STOPS[stops]()


def _stop_once(owner: Any, method: str, after: bool) -> None:
    """Stop this process, all its threads, at the first call of a method, before it or after."""
    called = getattr(owner, method)
    left = [1]

    def stopping(*arguments: Any, **named: Any) -> Any:
        result = called(*arguments, **named) if after else None
        if left:
            left.clear()
            os.kill(os.getpid(), signal.SIGSTOP)
        return result if after else called(*arguments, **named)

    setattr(owner, method, stopping)


def _before_normalize() -> None:
    import dlt

    _stop_once(dlt.Pipeline, "normalize", after=False)


def _before_copies() -> None:
    from dlt.destinations._adbc_jobs import AdbcParquetCopyJob

    _stop_once(AdbcParquetCopyJob, "run", after=False)


def _in_a_copy() -> None:
    """The copy's transaction is open then."""
    from dlt.destinations._adbc_jobs import AdbcParquetCopyJob

    _stop_once(AdbcParquetCopyJob, "_set_catalog_and_schema", after=True)


def _before_a_merge() -> None:
    from dlt.destinations.job_client_impl import SqlLoadJob

    _stop_once(SqlLoadJob, "_split_fragments", after=True)


def _in_a_merge() -> None:
    """All is written, and nothing committed."""
    from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
    from dlt.destinations.job_client_impl import SqlLoadJob

    job_type: Any = SqlLoadJob
    run = job_type.run

    def running(job: Any) -> None:
        _stop_once(Psycopg2SqlClient, "commit_transaction", after=False)
        run(job)

    job_type.run = running


def _before_commit() -> None:
    from dlt.destinations.job_client_impl import SqlJobClientBase

    _stop_once(SqlJobClientBase, "complete_load", after=False)


def _after_commit() -> None:
    from dlt.destinations.job_client_impl import SqlJobClientBase

    _stop_once(SqlJobClientBase, "complete_load", after=True)


STOPS: dict[str, Callable[[], None]] = {
    "before normalize": _before_normalize,
    "before copies": _before_copies,
    "in a copy": _in_a_copy,
    "before a merge": _before_a_merge,
    "in a merge": _in_a_merge,
    "before commit": _before_commit,
    "after commit": _after_commit,
}


def _wait_until_stopped(process: BaseProcess) -> None:
    end = time.monotonic() + LONGEST
    while _state(process) != "T":
        assert process.is_alive()
        assert time.monotonic() < end
        time.sleep(0.02)


def _state(process: BaseProcess) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def _continue(process: BaseProcess) -> None:
    assert process.pid
    os.kill(process.pid, signal.SIGCONT)


def test_of_two_at_once_one_is_refused_by_name(machines: Machines) -> None:
    first = machines.start("crane", "--requests-per-second", "2")
    time.sleep(2)
    assert machines.run("heron") == 2
    assert f"crane, process {first.pid}, since" in machines.said("heron")
    assert machines.ended(first) == 0
    machines.check()
    assert machines.run("heron") == 0
    machines.check()


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("stops", STOPS)
def test_a_holder_that_stands_still_writes_nothing_when_it_wakes_up(
    machines: Machines, stops: str, begins: bool
) -> None:
    if begins:
        assert machines.run("crane") == 0
        machines.talk()
    first = machines.start("crane", stops=stops)
    _wait_until_stopped(first)
    time.sleep(SHORT)
    machines.talk()
    assert machines.run("heron") == 0, machines.said("heron")
    machines.check()
    _continue(first)
    assert machines.ended(first) == 1
    assert "was taken over by heron, process" in machines.said("crane")
    machines.check()
    machines.talk()
    for name in ("crane", "heron"):
        assert machines.run(name) == 0, machines.said(name)
        machines.check()


def test_who_steals_wins(machines: Machines) -> None:
    first = machines.start("crane", stops="in a merge")
    _wait_until_stopped(first)
    assert machines.run("heron", "--steal-lock") == 0, machines.said("heron")
    _continue(first)
    assert machines.ended(first) == 1
    machines.check()


def test_a_killed_machine_is_waited_for_as_long_as_its_lease_lasts(machines: Machines) -> None:
    first = machines.start("crane", stops="before a merge")
    _wait_until_stopped(first)
    first.kill()
    first.join()
    assert machines.run("heron") == 0, machines.said("heron")
    machines.check()


def test_the_same_machine_goes_on_at_once_after_a_kill(machines: Machines) -> None:
    first = machines.start("crane", stops="before a merge")
    _wait_until_stopped(first)
    first.kill()
    first.join()
    assert machines.run("crane") == 0, machines.said("crane")
    assert "left unfinished: finishing it first" in machines.said("crane")
    machines.check()


@pytest.mark.proof
def test_twenty_holders_that_are_paused_anywhere(machines: Machines) -> None:
    chance = random.Random(20)
    for _ in range(20):
        first = machines.start("crane")
        time.sleep(chance.uniform(0, 4))
        with suppress(ProcessLookupError):
            os.kill(first.pid or 0, signal.SIGSTOP)
        time.sleep(SHORT)
        machines.talk()
        assert machines.run("heron") == 0, machines.said("heron")
        machines.check()
        if first.is_alive():
            _continue(first)
        assert machines.ended(first) in (0, 1), machines.said("crane")
        machines.check()
        machines.talk()
        assert machines.run("crane") == 0, machines.said("crane")
        machines.check()
