"""Two machines that load one pipeline into one database, while one of them stands still."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

from letta_source.demo import Letta, Server
from tests.support.places import Place
from tests.support.processes import is_stopped, resume, started

LONGEST = 120
# Seconds; a lease must expire while a test waits.
SHORT = 2.0


class Machines:
    """Machines, each with a working folder, and one database."""

    def __init__(self, place: Place, letta: Letta, server: Server) -> None:
        self._place, self._letta, self._server = place, letta, server
        self.running: list[BaseProcess] = []

    def start(self, name: str, *options: str, stops: str | None = None) -> BaseProcess:
        """Start a load.

        Args:
            stops: the point of `STOPS` at which it stops itself by SIGSTOP.
        """
        folder = self._place.folder / name
        folder.mkdir(exist_ok=True)
        command = ["run", "--base-url", self._server.base_url, *self._place.options]
        command += ["--resources", "agents,agent_messages", *options]
        environment = {**self._place.environment, "DLT_DATA_DIR": str(folder / "dlt")}
        process = started(folder, " ".join(command), environment, partial(_prepare, name, stops))
        self.running.append(process)
        return process

    def ended(self, process: BaseProcess) -> int | None:
        """Wait for a load; return its exit code."""
        process.join(LONGEST)
        assert not process.is_alive()
        return process.exitcode

    def said(self, name: str) -> str:
        """Return the output of the machine's last load."""
        return (self._place.folder / name / "said").read_text()

    def run(self, name: str, *options: str) -> int | None:
        """Load to the end; return the exit code."""
        return self.ended(self.start(name, *options))

    def talk(self) -> None:
        """Give each agent more messages."""
        for agent_id in {message.agent_id for message in self._letta.messages.rows.values()}:
            self._letta.talk(agent_id, "more", tools=["roll"])

    def check(self) -> None:
        """Compare the tables with the server."""
        held = self._letta.messages.rows.values()
        wanted = sorted(message.id for message in held for _ in message.items)
        assert [row[0] for row in self._place.rows("agent_messages", "id")] == wanted
        calls = self._place.rows("agent_messages__tool_calls", "agent_id", "message_id", "position", "idx")
        assert len(calls) == len(set(calls))
        messages = {row[1] for row in calls}
        assert len(messages) == sum(any(item.get("tool_call") for item in one.items) for one in held)

    def close(self) -> None:
        """Kill the loads that are still running."""
        for process in self.running:
            if process.is_alive():
                process.kill()
                process.join()


def _prepare(name: str, stops: str | None) -> None:
    # The process is a test's own, so nothing needs to be undone.
    from letta_source.destinations import lease, lease_holder

    lease.SECONDS = SHORT
    # Processes of one machine can see which of them are dead, so each is a machine of its own.
    lease_holder._machine = lambda: name
    if stops:
        STOPS[stops]()


def _stop_once(owner: Any, method: str, after: bool) -> None:
    """Stop this process with all its threads at the first call of a method, before or after it."""
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
    from dlt.destinations.impl.sqlalchemy.load_jobs import SqlalchemyJsonLInsertJob

    for job in (AdbcParquetCopyJob, SqlalchemyJsonLInsertJob):
        _stop_once(job, "run", after=False)


def _in_a_copy() -> None:
    """Stop while the copy's transaction is open."""
    from dlt.destinations._adbc_jobs import AdbcParquetCopyJob
    from dlt.destinations.impl.sqlalchemy.load_jobs import SqlalchemyJsonLInsertJob

    _stop_once(AdbcParquetCopyJob, "_set_catalog_and_schema", after=True)
    _at_the_end_of(SqlalchemyJsonLInsertJob)


def _before_a_merge() -> None:
    from dlt.destinations.job_client_impl import SqlLoadJob

    _stop_once(SqlLoadJob, "_split_fragments", after=True)


def _in_a_merge() -> None:
    """Stop when all is written and nothing committed."""
    from dlt.destinations.job_client_impl import SqlLoadJob

    _at_the_end_of(SqlLoadJob)


def _at_the_end_of(job_type: Any) -> None:
    from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
    from dlt.destinations.impl.sqlalchemy.db_api_client import SqlalchemyClient

    run = job_type.run
    begun: list[Any] = []

    def running(job: Any) -> None:
        if not begun:
            # Jobs of other tables may start before this one ends.
            begun.append(job)
            for client in (Psycopg2SqlClient, SqlalchemyClient):
                _stop_once(client, "commit_transaction", after=False)
        run(job)

    job_type.run = running


def _before_commit() -> None:
    for client in _clients():
        _stop_once(client, "complete_load", after=False)


def _after_commit() -> None:
    for client in _clients():
        _stop_once(client, "complete_load", after=True)


def _clients() -> tuple[type, ...]:
    from dlt.destinations.impl.sqlalchemy.sqlalchemy_job_client import SqlalchemyJobClient
    from dlt.destinations.job_client_impl import SqlJobClientBase

    return SqlJobClientBase, SqlalchemyJobClient


STOPS: dict[str, Callable[[], None]] = {
    "before normalize": _before_normalize,
    "before copies": _before_copies,
    "in a copy": _in_a_copy,
    "before a merge": _before_a_merge,
    "in a merge": _in_a_merge,
    "before commit": _before_commit,
    "after commit": _after_commit,
}


OF_MYSQL = ("in a copy", "in a merge", "before commit")
"""Points at which MySQL's own statements matter; each takes some seconds."""


def wait_until_stopped(process: BaseProcess) -> None:
    """Wait until a process has stopped itself."""
    end = time.monotonic() + LONGEST
    while not is_stopped(process):
        assert process.is_alive()
        assert time.monotonic() < end
        time.sleep(0.02)


def check_who_stands_still(machines: Machines, stops: str, begins: bool) -> None:
    """Stop one load, let another take over, then continue the first."""
    if begins:
        assert machines.run("crane") == 0
        machines.talk()
    first = machines.start("crane", stops=stops)
    wait_until_stopped(first)
    time.sleep(SHORT)
    machines.talk()
    assert machines.run("heron") == 0, machines.said("heron")
    machines.check()
    resume(first)
    assert machines.ended(first) == 1
    assert "was taken over by heron, process" in machines.said("crane")
    machines.check()
    machines.talk()
    for name in ("crane", "heron"):
        assert machines.run(name) == 0, machines.said(name)
        machines.check()
