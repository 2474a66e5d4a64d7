"""Encodings of PostgreSQL and MySQL: texts are stored as sent, or the load is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.schema import CreateSchema

from letta_source.demo import Letta, Server, serve
from letta_source.destinations.encoding import ODD_TEXT, assert_texts_arrive, assert_written_texts_arrive
from letta_source.destinations.mysql import widen_texts
from letta_source.errors import ConfigError
from tests.destinations.conftest import Databases
from tests.support.command import Command, ago, one_of


@pytest.fixture
def server(letta: Letta) -> Iterator[Server]:
    """Serve `letta`, not the story of the other tests here."""
    letta.add_message(one_of(letta), text=ODD_TEXT, date=ago(hours=1))
    with serve(letta) as server:
        yield server


class Client:
    """A SQL client with given answers."""

    def __init__(self, dialect: str, answers: dict[str, Any]) -> None:
        self.dialect_name = dialect
        self._answers = answers

    def execute_sql(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        for part, answer in self._answers.items():
            if part in sql:
                return answer if isinstance(answer, list) else [(answer,)]
        return [values]


UTF8 = {"server_encoding": "UTF8", "client_encoding": "UTF8"}


@pytest.mark.parametrize(
    ("dialect", "answers", "said"),
    [
        ("postgres", {**UTF8, "server_encoding": "SQL_ASCII"}, "TEMPLATE template0 ENCODING 'UTF8'"),
        ("postgres", {**UTF8, "server_encoding": "LATIN1"}, "stores texts as LATIN1"),
        ("postgres", {**UTF8, "client_encoding": "WIN1252"}, "client_encoding is WIN1252"),
        ("postgres", {**UTF8, "SELECT %s": "caf?"}, "returns the text"),
        (
            "mysql",
            {"schemata": [("DATABASE", "", "latin1")]},
            "ALTER DATABASE `letta` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        ),
        (
            "mariadb",
            {"schemata": [("DATABASE", "", "utf8mb4"), ("TABLE", "agents", "utf8mb3")]},
            "ALTER TABLE `letta`.`agents` CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        ),
        ("sqlite", {"SELECT %s": "?"}, "returns the text"),
    ],
)
def test_an_encoding_that_cannot_hold_all_texts_is_refused(
    dialect: str, answers: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        assert_texts_arrive(Client(dialect, answers), ("letta",))
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite", "snowflake"])
def test_other_encodings_are_accepted(dialect: str) -> None:
    assert_texts_arrive(Client(dialect, {}), ("letta",))
    assert_texts_arrive(Client("postgres", UTF8), ("letta",))
    assert_texts_arrive(Client("mysql", {"schemata": [("DATABASE", "", "utf8mb4")]}), ("letta",))


class Table(Client):
    """Stores one text in a narrower encoding."""

    def __init__(self, dialect: str, encoding: str) -> None:
        super().__init__(dialect, {})
        self.said: list[str] = []
        self._encoding = encoding

    def execute_sql(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        self.said.append(sql)
        if sql.startswith("INSERT"):
            self._held = values[0].encode(self._encoding, "replace").decode(self._encoding)
        return [(self._held,)] if sql.startswith("SELECT") else []


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252", "ascii"])
@pytest.mark.parametrize("dialect", ["duckdb", "sqlite", "postgres", "mysql", "mariadb"])
def test_a_text_survives_a_temporary_table(dialect: str, encoding: str) -> None:
    table = Table(dialect, encoding)
    if encoding == "utf-8":
        assert_written_texts_arrive(table)
    else:
        with pytest.raises(ConfigError, match="returns the text"):
            assert_written_texts_arrive(table)
    assert table.said[0].startswith("CREATE TEMPORARY TABLE ")
    assert ("utf8mb4_bin" in table.said[0]) == (dialect in ("mysql", "mariadb"))
    assert table.said[-1].startswith("DROP TABLE ")


MAKERS: tuple[Any, ...] = (mysql.dialect, MariaDBDialect, sqlite.dialect, postgresql.dialect)


@pytest.mark.parametrize("make", MAKERS, ids=lambda one: str(one.name))
def test_datasets_are_created_in_utf8_whatever_the_servers_default(make: Any) -> None:
    dialect = make()
    widen_texts()
    widen_texts()
    said = str(CreateSchema("letta").compile(dialect=dialect))
    made = dialect.name in ("mysql", "mariadb")
    assert said.split()[:2] == ["CREATE", "SCHEMA"]
    assert said.endswith("letta CHARACTER SET utf8mb4 COLLATE utf8mb4_bin") == made
    assert said.endswith("letta") != made


def run(url: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.destinations
@pytest.mark.parametrize("where", ["environment", "database", "role", "url"])
def test_postgres_gets_utf8_whatever_the_settings(
    letta_source: Command,
    server: Server,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    url = databases.postgres()
    if where == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "WIN1252")
    elif where == "database":
        run(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET client_encoding = 'WIN1252'")
    elif where == "role":
        run(url, "ALTER ROLE postgres SET client_encoding = 'LATIN1'")
    credentials = f"{url}?client_encoding=LATIN1" if where == "url" else url
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", credentials)
    try:
        said = letta_source.load(server, "--destination", "postgres")
        if where == "url":
            assert (said.code, "client_encoding is LATIN1 in the credentials" in said.err) == (2, True)
            return
        assert said.code == 0
        stored = run(url, "SELECT convert_to(text, 'UTF8') FROM letta.agent_messages")
        assert ODD_TEXT.encode() in {bytes(one) for (one,) in stored if one is not None}
    finally:
        run(url, "ALTER ROLE postgres RESET client_encoding")


@pytest.mark.destinations
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_postgres_of_other_encodings_is_refused(
    letta_source: Command,
    server: Server,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
) -> None:
    url = databases.postgres()
    name = f"in_{encoding.lower()}_{url.rpartition('_')[2]}"
    run(url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", f"{url.rpartition('/')[0]}/{name}")
    asked = len(server.requests)
    said = letta_source.load(server, "--destination", "postgres")
    assert (said.code, f"stores texts as {encoding}" in said.err) == (2, True)
    assert len(server.requests) == asked + 1


@pytest.mark.destinations
def test_check_writes_into_postgres(
    letta_source: Command, server: Server, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.postgres()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    said = letta_source("check", "--write", "--base-url", server.base_url, "--destination", "postgres")
    assert (said.code, "came back unchanged" in said.out) == (0, True)
    assert run(url, "SELECT 1 FROM pg_class WHERE relname LIKE 'letta%'") == []
