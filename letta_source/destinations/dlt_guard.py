"""An addition to dlt's destinations: only the lease's holder writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dlt.common.destination.exceptions import DestinationTerminalException

from letta_source.destinations.dlt_internals import sql_client_of
from letta_source.errors import LettaError


def guard(
    destination: Any,
    session: str,
    check: Callable[[], None],
    fence: Sequence[str],
    names_of_session: Sequence[str] = (),
) -> None:
    """Have all clients that a destination makes check that they may write.

    Args:
        session: name of their sessions in PostgreSQL, in place of the URL's `application_name`.
        check: is called before each connection; raises LettaError if they may not write.
        fence: statements that fail if they may not write; each transaction that merges, truncates or
            completes a load begins with them.
        names_of_session: statements that each session begins with, for databases without
            `application_name`; there all transactions begin with the fence.
    """
    make = destination.client

    def guarded(*arguments: Any, **named: Any) -> Any:
        made = make(*arguments, **named)
        if (sql_client := sql_client_of(made)) is not None:
            if names_of_session:
                _fence_all(sql_client, fence)
            elif fence:
                _name_sessions(made, session)
                _fence(made, sql_client, fence)
            _check(sql_client, check, names_of_session)
        return made

    destination.client = guarded


def _check(sql_client: Any, check: Callable[[], None], names_of_session: Sequence[str]) -> None:
    open_connection = sql_client.open_connection

    def checked() -> Any:
        try:
            check()
        except LettaError as error:
            # dlt would retry after any other error.
            raise DestinationTerminalException(str(error)) from error
        is_new = sql_client.native_connection is None
        connection = open_connection()
        if is_new and names_of_session:
            # Not by the client: its transactions begin with the fence, and a session that hangs while it
            # holds that without a name could not be ended.
            with connection.begin():
                for statement in names_of_session:
                    connection.exec_driver_sql(statement)
        return connection

    sql_client.open_connection = checked


def _fence(client: Any, sql_client: Any, fence: Sequence[str]) -> None:
    execute_many, complete_load = sql_client.execute_many, client.complete_load

    def fenced(statements: Sequence[str], *arguments: Any, **named: Any) -> Any:
        return execute_many([*fence, *statements], *arguments, **named)

    def completed(load_id: str) -> None:
        with sql_client.begin_transaction():
            execute_many(fence)
            complete_load(load_id)

    sql_client.execute_many, client.complete_load = fenced, completed


def _fence_all(sql_client: Any, fence: Sequence[str]) -> None:
    """Have each transaction begin with the fence; SQLAlchemy's client begins one for each statement."""
    begin_transaction = sql_client.begin_transaction

    @contextmanager
    def fenced() -> Iterator[Any]:
        with begin_transaction() as transaction:
            for statement in fence:
                sql_client.execute_sql(statement)
            yield transaction

    sql_client.begin_transaction = fenced


def _name_sessions(client: Any, session: str) -> None:
    """Name the sessions, including those that dlt opens by URL, such as those that copy Parquet."""
    credentials = client.config.credentials
    credentials.query = {**(credentials.query or {}), "application_name": session}
