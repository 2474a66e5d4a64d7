"""Addresses of PostgreSQL with names and passwords of any characters."""

from __future__ import annotations

from letta_source.destinations.dlt_internals import PostgresCredentials

_written_by_dlt = PostgresCredentials.to_native_representation


def quote_addresses() -> None:
    """Have dlt write addresses of PostgreSQL as its library reads them, from now on.

    SQLAlchemy, by which dlt does, leaves spaces as they are, which libpq refuses in an address, and writes a
    plus for those of a query, which libpq takes for a plus.
    """
    credentials: type = PostgresCredentials
    credentials.to_native_representation = _written  # type: ignore[attr-defined]


def _written(credentials: PostgresCredentials) -> str:
    before, mark, query = _written_by_dlt(credentials).partition("?")
    return f"{before.replace(' ', '%20')}{mark}{query.replace('+', '%20')}"
