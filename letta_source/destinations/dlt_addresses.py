"""PostgreSQL URLs whose names and passwords contain any characters."""

from __future__ import annotations

from letta_source.destinations.dlt_internals import PostgresCredentials

_written_by_dlt = PostgresCredentials.to_native_representation


def quote_addresses() -> None:
    """Have dlt write PostgreSQL URLs as libpq reads them, from now on.

    dlt writes them by SQLAlchemy, which leaves spaces as they are, though libpq refuses them, and writes a
    plus for a space in the query, which libpq reads as a plus.
    """
    credentials: type = PostgresCredentials
    credentials.to_native_representation = _written  # type: ignore[attr-defined]


def _written(credentials: PostgresCredentials) -> str:
    before, mark, query = _written_by_dlt(credentials).partition("?")
    return f"{before.replace(' ', '%20')}{mark}{query.replace('+', '%20')}"
