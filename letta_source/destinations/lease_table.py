"""The table of leases in the dataset: no load fills it, and dlt's schema does not contain it."""

from __future__ import annotations

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
