"""SQL of leases: their table in the dataset, and the fence that keeps others than the holder from writing.

No load fills the table, and dlt's schema does not contain it. The fence is for databases where it is
verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from letta_source.destinations.dlt_internals import DatabaseException, dialect_of

TABLE = "_letta_lease"
LONGEST_NAME = 190
"""Characters of a pipeline's name; a longer one is hashed."""
# Others may create the table at the same moment.
_TRIES = 5
_CLOCKS = {
    # Seconds since 1970 by the database's clock: those of the machines may differ.
    "postgres": "extract(epoch FROM clock_timestamp())",
    # Not now(), which is local time: one hour in autumn occurs twice.
    "mysql": "unix_timestamp()",
    "mariadb": "unix_timestamp()",
}
_MYSQL = ("mysql", "mariadb")


def can_lease(sql_client: Any) -> bool:
    """Return True for database servers, where leases work; local files have locks instead."""
    return dialect_of(sql_client) in _CLOCKS


def lease_table(client: Any) -> str:
    """Return the table's qualified name, for statements."""
    return str(client.make_qualified_table_name(TABLE))


def now_of(client: Any) -> str:
    """Return the SQL expression for the database's time, in seconds since 1970."""
    return _CLOCKS[dialect_of(client)]


def make_lease_table(client: Any) -> None:
    """Create the dataset and the table if they are missing; others may do so at the same moment.

    Raises:
        DatabaseException: they cannot be created.
    """
    for left in reversed(range(_TRIES)):
        try:
            if not client.has_dataset():
                client.create_dataset()
            # PostgreSQL: updating a column with a unique index waits for FOR KEY SHARE, which a merge has on
            # its holder's row; updating `until`, as a renewal does, does not wait.
            client.execute_sql(
                f"CREATE TABLE IF NOT EXISTS {lease_table(client)}"
                f" (pipeline VARCHAR({LONGEST_NAME}) NOT NULL PRIMARY KEY,"
                " holder VARCHAR(32) NOT NULL UNIQUE, machine VARCHAR(250) NOT NULL, pid BIGINT NOT NULL,"
                " since DOUBLE PRECISION NOT NULL, until DOUBLE PRECISION NOT NULL,"
                " generation BIGINT NOT NULL)"
            )
            return
        except DatabaseException:
            if not left:
                raise


def fence_of(client: Any, holder: str, seconds: float) -> Sequence[str]:
    """Return statements that fail unless this holder has the lease, and lock it until their transaction ends.

    Args:
        seconds: after which PostgreSQL ends a holder's session that is idle in a transaction.
    """
    table = lease_table(client)
    if dialect_of(client) == "postgres":
        return (
            f"SET LOCAL idle_in_transaction_session_timeout = {int(seconds * 1000)}",
            # Divides by zero if the lease is lost.
            f"SELECT 1 / count(*) AS lease_is_held FROM (SELECT 1 FROM {table}"
            f" WHERE holder = '{holder}' FOR KEY SHARE) AS lease",
        )
    if dialect_of(client) in _MYSQL:
        # Dividing by zero is NULL there; a sum beyond BIGINT is an error. This locks only the entry in the
        # index of holders, which a renewal does not touch: only a takeover waits for it.
        return (
            f"SELECT 9223372036854775807 + (1 - count(*)) AS lease_is_held FROM {table}"
            f" WHERE holder = '{holder}' LOCK IN SHARE MODE",
        )
    return ()


def names_of_session(client: Any, session: str) -> Sequence[str]:
    """Return statements that let `end_sessions` find a new session.

    Empty on PostgreSQL, where the URL names it.
    """
    if dialect_of(client) in _MYSQL:
        # Sessions have no names there; named locks stand in, and end with the session.
        return (f"SELECT get_lock(concat('{session}.', connection_id()), 0)",)
    return ()


def end_sessions(client: Any, session: str) -> None:
    """End this user's sessions of this name: one that hangs would keep its rows locked."""
    if dialect_of(client) == "postgres":
        client.execute_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE right(application_name, %s) = %s AND usename = session_user",
            len(session), session,
        )  # fmt: skip
    elif dialect_of(client) in _MYSQL:
        found = client.execute_sql(
            "SELECT id FROM information_schema.processlist WHERE is_used_lock(concat(%s, id)) = id",
            f"{session}.",
        )
        for (number,) in found or ():
            client.execute_sql(f"KILL {int(number)}")


def wait_at_most(client: Any, seconds: int) -> None:
    """Have the statements of the open transaction wait for a lock no longer than `seconds`."""
    if dialect_of(client) == "postgres":
        client.execute_sql(f"SET LOCAL lock_timeout = '{seconds}s'")
    elif dialect_of(client) in _MYSQL:
        client.execute_sql(f"SET SESSION innodb_lock_wait_timeout = {seconds}")
