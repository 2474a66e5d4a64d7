"""PostgreSQL URLs whose names and passwords contain any characters."""

from __future__ import annotations

from urllib.parse import quote

from letta_source.destinations.dlt_internals import PostgresCredentials


def quote_addresses() -> None:
    """Have dlt write PostgreSQL URLs as libpq reads them, from now on.

    dlt writes them by SQLAlchemy, which leaves spaces as they are, though libpq refuses them, and writes a
    plus for a space in the query, which libpq reads as a plus. SQLAlchemy 2.0 quotes nothing in the
    database's name.
    """
    credentials: type = PostgresCredentials
    credentials.to_native_representation = _written  # type: ignore[attr-defined]


def _written(credentials: PostgresCredentials) -> str:
    url = credentials.to_url()
    without_database = url.set(database="").render_as_string(hide_password=False)
    before, mark, query = without_database.partition("?")
    database = quote(url.database or "", safe="")
    return f"{before.replace(' ', '%20')}{database}{mark}{query.replace('+', '%20')}"
