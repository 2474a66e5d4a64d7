"""`letta-source check` checks the server, the destination and the masks before a first load."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest

from letta_source.demo import Server, recorded_letta, serve
from tests.support.command import Command


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(recorded_letta(), missing=["groups"]) as server:
        yield server


def test_prints_the_server_the_destination_and_the_masks(letta_source: Command, server: Server) -> None:
    said = letta_source("check", "--base-url", server.base_url, "--dataset-name", "talk")
    assert (said.code, said.err) == (0, "")
    assert f"{server.base_url} answers without a key." in said.out
    assert "  agents         yes\n" in said.out
    assert "  groups         no, skipped" in said.out
    assert "Loads go to duckdb (" in said.out
    assert "letta_db.duckdb), dataset talk, staging dataset talk__letta_staging." in said.out
    assert "Masks: none." in said.out


def test_as_json(letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__LETTA__MASK", "content=redact")
    found = json.loads(letta_source("check", "--base-url", server.base_url, "--json").out)
    assert (found["base_url"], found["has_key"], found["project"]) == (server.base_url, False, None)
    assert (found["families"]["agents"], bool(found["families"]["groups"])) == (None, True)
    assert "content=redact" in found["masks"]


def test_settings_of_the_pipelines_section_count(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO__SOURCES__LETTA__MASK", "content=drop")
    said = letta_source("check", "--base-url", server.base_url, "--pipeline-name", "zoo")
    assert "Masks: content=drop" in said.out
    assert "Masks: none." in letta_source("check", "--base-url", server.base_url).out


EVIL = "\x1b]0;owned\x07 \u202e\x9b2J\u200f\u061c"


def test_text_from_servers_and_settings_is_sanitized(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "letta_source.loading.preflight.check_families", lambda _: {"groups": f"404 {EVIL}", "agents": None}
    )
    said = letta_source("check", "--base-url", server.base_url)
    assert said.code == 0
    assert r"404 \x1b]0;owned\x07 \u202e\x9b2J\u200f\u061c" in said.out
    assert {character for character in said.out if not character.isprintable()} == {"\n"}
    told = letta_source("check", "--base-url", server.base_url, "--json").out
    assert json.loads(told)["families"]["groups"] == f"404 {EVIL}"
    assert {character for character in told if not character.isprintable()} == {"\n"}


def test_a_destination_that_cannot_be_opened_is_one_line(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(letta_source.folder / "none" / "a.duckdb"))
    said = letta_source("check", "--base-url", server.base_url)
    assert (said.code, said.out, len(said.errors)) == (2, "", 1)
    assert "duckdb cannot be opened" in said.err


@pytest.mark.filterwarnings("ignore:implicitly coercing SELECT")
@pytest.mark.parametrize("destination", ["duckdb", "sqlalchemy"])
def test_write_round_trips_a_text(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", "sqlite:///warehouse.db")
    check = ("check", "--write", "--base-url", server.base_url, "--destination", destination)
    said = letta_source(*check)
    assert (said.code, said.out, letta_source.files()) == (2, "", [])
    assert said.errors[0].endswith(" yet to write into: leave --write out, or run a load first")
    file = {"duckdb": "letta_db.duckdb", "sqlalchemy": "warehouse__letta.db"}[destination]
    with duckdb.connect(file) if destination == "duckdb" else closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE of_others (n INTEGER)")
    said = letta_source(*check)
    assert (said.code, "came back unchanged" in said.out) == (0, True), said.err
    assert json.loads(letta_source(*check, "--json").out)["written"] is True
    assert "written there" not in letta_source(*check[:1], *check[2:]).out


def test_files_have_no_temporary_tables(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", "lake")
    to = ("--base-url", server.base_url, "--destination", "filesystem")
    said = letta_source("check", "--write", *to)
    assert (said.code, said.out, letta_source.files()) == (2, "", [])
    known = "DuckDB, SQLite, PostgreSQL, MySQL and MariaDB"
    assert said.errors == [f"letta-source: --write is for {known}: leave it out for filesystem"]
