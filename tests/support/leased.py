"""An in-memory database that accepts the lease's statements, with a clock that tests set."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from dlt.destinations.exceptions import DatabaseTerminalException, DatabaseUndefinedRelation

from letta_source.destinations.lease import Lease
from letta_source.destinations.lease_holder import Holder

_WORDS = {
    "extract(epoch FROM clock_timestamp())": "database_clock()",
    "right(": "last_of(",
    "%s": "?",
    " FOR KEY SHARE": "",
}


class Database:
    """A database that speaks as much PostgreSQL as the lease needs.

    Attributes:
        now: its clock.
        ended: the names of sessions that were terminated.
        alive: leases that are renewed while others wait for them.
        before: a function called before each statement.
    """

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.ended: list[str] = []
        self.alive: list[Lease] = []
        self.before: Callable[[], None] | None = None
        self.statements = 0
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._connection.create_function("database_clock", 0, lambda: self.now)
        self._connection.create_function("last_of", 2, lambda text, length: text[-length:])
        self._connection.create_function("pg_terminate_backend", 1, self.ended.append)
        # Each session's id is its name.
        self._connection.execute(
            "CREATE TABLE pg_stat_activity (pid, application_name, usename, session_user)"
        )

    def close(self) -> None:
        """Close the connection, which drops the data."""
        self._connection.close()

    def add_session(self, name: str, user: str = "me") -> None:
        """Open a session of this name."""
        self._connection.execute("INSERT INTO pg_stat_activity VALUES (?, ?, ?, 'me')", (name, name, user))

    def lease(self, name: str = "letta", host: str = "elsewhere", pid: int = 7) -> Lease:
        """Return the lease of a new process."""
        Client.made += 1
        return Lease(Client(self), name, Holder(f"{Client.made:016x}", host, pid), self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        for lease in self.alive:
            lease.check()

    def execute(self, statement: str, values: Sequence[Any]) -> list[Any] | None:
        """Run one statement, translated to SQLite."""
        if self.before:
            self.before()
        self.statements += 1
        if statement.startswith("SET LOCAL"):
            return None
        for theirs, ours in _WORDS.items():
            statement = statement.replace(theirs, ours)
        try:
            rows = self._connection.execute(statement, values).fetchall()
        except sqlite3.IntegrityError as error:
            raise DatabaseTerminalException(error) from error
        except sqlite3.OperationalError as error:
            if re.search("no such table", str(error)):
                raise DatabaseUndefinedRelation(error) from error
            raise
        if "1 / count(*)" in statement and rows == [(None,)]:
            raise DatabaseTerminalException(ZeroDivisionError("division by zero"))
        return rows


class Client:
    """A SQL client of the database."""

    made = 0
    capabilities = SimpleNamespace(sqlglot_dialect="postgres")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        """Close nothing: nothing is open."""

    @contextmanager
    def begin_transaction(self) -> Iterator[None]:
        """Begin no transaction: each statement is one."""
        yield

    def has_dataset(self) -> bool:
        """Return True: there is only one dataset."""
        return True

    def make_qualified_table_name(self, name: str) -> str:
        """Return the table's name."""
        return name

    def execute_sql(self, statement: str, *values: Any) -> list[Any] | None:
        """Run one statement."""
        return self._database.execute(statement, values)


def may_write(lease: Lease, database: Database) -> bool:
    """Return True if a transaction that begins with the lease's fence can go on."""
    try:
        for statement in lease.fence():
            database.execute(statement, ())
    except DatabaseTerminalException:
        return False
    return True
