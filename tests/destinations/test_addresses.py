"""PostgreSQL's names, passwords and databases may have any characters; passwords are never shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg2 import sql
from psycopg2.extensions import parse_dsn

from letta_source.demo import Letta, Server, serve
from letta_source.destinations.dlt_internals import PostgresCredentials
from letta_source.destinations.dlt_paths import quote_addresses
from tests.destinations.conftest import Databases
from tests.support.command import Command, Said
from tests.support.configuration import configure, forget

# All special characters, and letters beyond ASCII; its words occur in no other output.
ODD = "zebra @yacht:/xylem?#[wharf]%25+ &=vixen'\"\\`~!$*()<>|{}^;,ümlaut日 "
WORDS = ("zebra", "yacht", "xylem", "wharf", "vixen", "mlaut")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@given(texts, texts, texts, texts)
@example(ODD, ODD, ODD, ODD)
@example("a b", "+ +", "a/b", "-c search_path=a+b")
def test_postgresql_parses_any_address_correctly(
    username: str, password: str, database: str, options: str
) -> None:
    quote_addresses()
    credentials = PostgresCredentials(
        {"username": username, "password": password, "database": database, "host": "db", "port": 5432}
    )
    credentials.query = {"options": options}
    address = credentials.to_native_representation()
    # PostgreSQL's newer versions refuse a space.
    assert " " not in address
    read = parse_dsn(address)
    assert (read["user"], read["password"], read["dbname"]) == (username, password, database)
    assert read["options"] == options


@dataclass(frozen=True)
class Account:
    """A role with its own database, on a server that requires its password."""

    name: str
    password: str
    port: str

    def url(self, password: str) -> str:
        name, password = (quote(one, safe="") for one in (self.name, password))
        return f"postgresql://{name}:{password}@127.0.0.1:{self.port}/{name}"

    @property
    def parts(self) -> dict[str, str]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "username": self.name,
            "password": self.password,
            "database": self.name,
        }


@pytest.fixture(autouse=True)
def fresh_configuration() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def account(databases: Databases, request: pytest.FixtureRequest) -> Account:
    name: str = request.param
    url = databases.postgres()
    password = f"{ODD}{name}"
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SHOW hba_file")
        (found,) = cursor.fetchall()
        file = Path(found[0])
        role, its_password = sql.Identifier(name), sql.Literal(password)
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, its_password))
        cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
        # Only members of this role need a password.
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = 'asked'")
        if not cursor.fetchall():
            cursor.execute("CREATE ROLE asked")
            file.write_text(f"host all +asked 127.0.0.1/32 scram-sha-256\n{file.read_text()}")
            cursor.execute("SELECT pg_reload_conf()")
        cursor.execute(sql.SQL("GRANT asked TO {}").format(role))
    return Account(name, password, url.rpartition("/")[0].rpartition(":")[2])


@pytest.fixture
def small() -> Iterator[Server]:
    letta = Letta()
    letta.add_agent()
    with serve(letta) as server:
        yield server


@pytest.mark.destinations
@pytest.mark.parametrize("account", [ODD[:60], "with space", "100%25", "a+b"], indirect=True)
def test_an_account_with_an_unusual_name(
    letta_source: Command, small: Server, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = ("run", "--base-url", small.base_url, "--resources", "agents", "--destination", "postgres")
    credentials = "DESTINATION__POSTGRES__CREDENTIALS"
    said = []
    with monkeypatch.context() as given:
        given.setenv(credentials, account.url(account.password))
        said.append(letta_source(*load))
        said.append(letta_source("export", "agents", "--destination", "postgres"))
    with monkeypatch.context() as given:
        for name, value in account.parts.items():
            given.setenv(f"{credentials}__{name.upper()}", value)
        said.append(letta_source(*load))
    # JSON strings are valid TOML strings.
    lines = [f"{name} = {json.dumps(value)}" for name, value in account.parts.items()]
    configure(letta_source.folder, "", "\n".join(["[destination.postgres.credentials]", *lines]))
    said.append(letta_source(*load))
    assert [one.code for one in said] == [0] * 4, [one.err for one in said]
    configure(letta_source.folder, "")
    monkeypatch.setenv(credentials, account.url(f"{account.password}!"))
    refused = letta_source(*load)
    assert (refused.code, "password authentication failed" in refused.err) == (2, True)
    assert_no_password([*said, refused], account)


def assert_no_password(said: list[Said], account: Account) -> None:
    for one in said:
        told = one.err + one.out
        assert [word for word in WORDS if word in told and word not in account.name] == []
        assert account.password not in told


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://loader:{quoted}@127.0.0.1:9/warehouse",
        "postgresql://loader:{plain}@127.0.0.1:9/warehouse",
        "postgresql://loader:{plain}@127.0.0.1:x/warehouse",
        "postgresql://127.0.0.1:9/warehouse?user=loader&password={quoted}",
        "postgresql://127.0.0.1:9/warehouse?user=loader&password={plain}",
        "postgresql//loader:{plain}@127.0.0.1:9/warehouse",
        "{plain}",
    ],
)
def test_no_piece_of_a_password_is_shown(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    address = url.format(quoted=quote(ODD, safe=""), plain=ODD)
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
    for command in ("run", "check", "export agents"):
        given = ["--base-url", server.base_url] if command != "export agents" else []
        refused = letta_source(*command.split(), *given, "--destination", "postgres")
        assert (refused.code, len(refused.errors)) == (2, 1)
        assert [word for word in WORDS if word in refused.err] == []
