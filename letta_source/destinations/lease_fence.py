"""Statements that keep a holder that lost its lease from writing, for databases where this is verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from letta_source.destinations.dlt_internals import dialect_of
from letta_source.destinations.lease_table import lease_table

_MYSQL = ("mysql", "mariadb")


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
