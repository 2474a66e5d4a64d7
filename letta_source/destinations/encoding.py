"""Check, before a load, that a database and its connection store every text as it was sent."""

from __future__ import annotations

from typing import Any

from letta_source.destinations.dlt_internals import dialect_of
from letta_source.errors import ConfigError

ODD_TEXT = "é ß 数 \U0001f600 \u202e\u200d ' \\ % \x7f"
"""Text that only UTF-8 of up to four bytes a character returns unchanged."""

_MYSQL = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
TEMPORARY_TABLES = {
    "duckdb": "VARCHAR",
    "sqlite": "TEXT",
    "postgres": "VARCHAR",
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}
"""The text type by dialect, for databases that are known to have temporary tables."""
_TABLE = "letta_source_check"


def assert_texts_arrive(sql_client: Any, datasets: tuple[str, ...]) -> None:
    """Check the encodings of an open database and of datasets in it; send one text there and back.

    Raises:
        ConfigError: a text would not be stored as it was sent; says what to do.
    """
    dialect = dialect_of(sql_client)
    if dialect == "postgres":
        _assert_postgres(sql_client)
    elif dialect in ("mysql", "mariadb"):
        _assert_mysql(sql_client, datasets)
    elif dialect not in ("duckdb", "sqlite"):
        # Statements may cost money there, and all of these store UTF-8.
        return
    _assert_same(_one(sql_client, "SELECT %s", ODD_TEXT))


def assert_written_texts_arrive(sql_client: Any) -> None:
    """Write one text into a temporary table of an open database, and read it back.

    Raises:
        ConfigError: it comes back changed.
    """
    type_of_text = TEMPORARY_TABLES[dialect_of(sql_client)]
    sql_client.execute_sql(f"CREATE TEMPORARY TABLE {_TABLE} (said {type_of_text})")
    try:
        sql_client.execute_sql(f"INSERT INTO {_TABLE} VALUES (%s)", ODD_TEXT)
        came_back = _one(sql_client, f"SELECT said FROM {_TABLE}")
    finally:
        sql_client.execute_sql(f"DROP TABLE {_TABLE}")
    _assert_same(came_back)


def _assert_same(came_back: Any) -> None:
    if came_back != ODD_TEXT:
        raise ConfigError(
            f"the database returns the text {ODD_TEXT!r} as {came_back!r}: set its encoding to UTF-8"
        )


def _assert_postgres(sql_client: Any) -> None:
    if (stored := _one(sql_client, "SHOW server_encoding")) != "UTF8":
        raise ConfigError(
            f"the database stores texts as {stored}, which cannot hold all of them: load into one made by"
            " CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
        )
    if (sent := _one(sql_client, "SHOW client_encoding")) != "UTF8":
        raise ConfigError(f"client_encoding is {sent} in the credentials: leave it out, or set it to UTF8")


def _assert_mysql(sql_client: Any, datasets: tuple[str, ...]) -> None:
    for dataset in datasets:
        found = sql_client.execute_sql(
            "SELECT 'DATABASE', '', default_character_set_name FROM information_schema.schemata"
            " WHERE schema_name = %s"
            " UNION SELECT 'TABLE', t.table_name, c.character_set_name FROM information_schema.tables AS t"
            " JOIN information_schema.collations AS c ON c.collation_name = t.table_collation"
            " WHERE t.table_schema = %s",
            dataset,
            dataset,
        )
        for kind, table, charset in found or ():
            if charset != "utf8mb4":
                name = f"`{dataset}`.`{table}` CONVERT TO" if table else f"`{dataset}`"
                raise ConfigError(
                    f"{dataset} holds texts as {charset}, which cannot hold all of them:"
                    f" ALTER {kind} {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
                )


def _one(sql_client: Any, sql: str, *values: Any) -> Any:
    rows = sql_client.execute_sql(sql, *values)
    return rows[0][0] if rows else None
