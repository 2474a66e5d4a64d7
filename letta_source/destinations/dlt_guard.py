"""Additions to dlt's destinations: only who holds the lease writes, and capabilities are found once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from dlt.common.destination.exceptions import DestinationTerminalException

from letta_source.destinations.dlt_internals import Capabilities, sql_client_of
from letta_source.errors import LettaError


def guard(destination: Any, session: str, check: Callable[[], None], fence: Sequence[str]) -> None:
    """Have all clients that a destination makes check that they may write.

    Args:
        session: what the database calls their sessions, in place of the address's `application_name`.
        check: is called before each connection; raises LettaError.
        fence: statements that fail if they may not; each transaction that merges, empties or commits begins
            with them.
    """
    make = destination.client

    def guarded(*arguments: Any, **named: Any) -> Any:
        made = make(*arguments, **named)
        if (sql_client := sql_client_of(made)) is not None:
            if fence:
                _name_sessions(made, session)
                _fence(made, sql_client, fence)
            _check(sql_client, check)
        return made

    destination.client = guarded


def answer_once(destination: Any) -> None:
    """Have a destination find its capabilities once for each naming convention.

    dlt asks for them some 30 times in a load, and each time looks all of its settings up.
    """
    find, found = destination.capabilities, {}

    def capabilities(config: Any = None, naming: Any = None) -> Capabilities:
        if config is not None:
            return find(config, naming)  # type: ignore[no-any-return]
        name = naming and naming.name()
        if name not in found:
            found[name] = find(None, naming)
        # Who asks may change them.
        return copy.deepcopy(found[name])  # type: ignore[no-any-return]

    destination.capabilities = capabilities


def _check(sql_client: Any, check: Callable[[], None]) -> None:
    open_connection = sql_client.open_connection

    def checked() -> Any:
        try:
            check()
        except LettaError as error:
            # dlt tries others again.
            raise DestinationTerminalException(str(error)) from error
        return open_connection()

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


def _name_sessions(client: Any, session: str) -> None:
    """Name the sessions, those that dlt opens by the address too, as its copies of Parquet are."""
    credentials = client.config.credentials
    credentials.query = {**(credentials.query or {}), "application_name": session}
