"""Files that DuckDB cannot use are refused in one clear line, before anything is read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import duckdb
import pytest

from letta_source.destinations.dataset_names import assert_pipeline_name
from letta_source.errors import ConfigError, InUse
from letta_source.loading.target import Target

CREDENTIALS = "DESTINATION__DUCKDB__CREDENTIALS"


def refusal(database: str | None = None) -> str:
    """Return why a target is refused."""
    with pytest.raises(ConfigError) as refused:
        Target("letta", "duckdb", "letta", database=database).resolved().check()
    said = str(refused.value)
    assert len(said.splitlines()) == 1
    return said


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("database", "named"),
    [
        (":memory:", ":memory:…"),
        (":memory:shared", ":memory:…"),
        ("md:", "--destination motherduck"),
        ("MotherDuck:chats", "--destination motherduck"),
        ("postgresql://reader:hunter2@db/chats", "--destination postgres"),
        ("https://reader:hunter2@files.example/w.duckdb", "https://…"),
        ("s3://bucket/w.duckdb", "s3://…"),
        ("file:///srv/w.duckdb", "file://…"),
        ("duckdb:///w.duckdb", "duckdb://…"),
        ("two\nlines.duckdb", "control or broken"),
        ("red\x1b[31m.duckdb", "control or broken"),
        ("latin\udce9.duckdb", "control or broken"),
        ("nul\0.duckdb", "control or broken"),
        ("not/there/w.duckdb", "there does not exist: create it first"),
        ("Information_Schema.duckdb", "choose another name"),
    ],
)
def test_addresses_in_place_of_a_file_are_refused(folder: Path, database: str, named: str) -> None:
    """A file called `md:` or `https:` would be made; of a database in memory nothing would be left."""
    said = refusal(database)
    assert named in said
    assert "hunter2" not in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("postgresql://loader:hunter2@db/chats", "--destination postgres"),
        ("mysql://loader:hunter2@db/chats", "--destination sqlalchemy"),
        ("file:///srv/w.duckdb", "file://…"),
        ("md:chats", "--destination motherduck"),
        # The default file would be used.
        ("duckdb://w.duckdb", "three slashes"),
        ("duckdb://loader:hunter2@db/w.duckdb", "three slashes"),
        # dlt refuses it in words about its own parts.
        (":memory:", "a database in memory would be lost"),
        ("duckdb:///:memory:", "a database in memory would be lost"),
        # Files of these names would be made.
        ("  ", "must not be blank or in quotes"),
        ('"w.duckdb"', "must not be blank or in quotes"),
        ("'/srv/w.duckdb'", "must not be blank or in quotes"),
    ],
)
def test_addresses_of_other_databases_in_the_credentials_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: str, named: str
) -> None:
    """dlt takes the end of the URL for a file's name."""
    monkeypatch.setenv(CREDENTIALS, value)
    said = refusal()
    assert CREDENTIALS in said
    assert named in said
    assert "hunter2" not in said
    assert list(folder.iterdir()) == []


def sqlite(file: Path) -> None:
    with sqlite3.connect(file) as made:
        made.execute("CREATE TABLE chats (text)")
    made.close()


@pytest.mark.parametrize("kind", ["empty", "text", "sqlite", "cut"])
def test_a_file_of_another_kind_is_refused_and_left_alone(folder: Path, kind: str) -> None:
    file = folder / "w.duckdb"
    if kind == "sqlite":
        sqlite(file)
    else:
        file.write_bytes({"empty": b"", "text": b"id,text\n1,hi\n" * 999, "cut": b"\0" * 8 + b"DUC"}[kind])
    before = file.read_bytes()
    assert "not a DuckDB database: name another file, or move it away" in refusal("w.duckdb")
    assert file.read_bytes() == before


@pytest.mark.parametrize("reads", [False, True])
def test_a_file_open_in_another_mode_in_this_process_is_named(folder: Path, reads: bool) -> None:
    """A notebook may keep its own connection: DuckDB opens a file either to read or to write."""
    duckdb.connect(folder / "w.duckdb").close()
    with duckdb.connect(folder / "w.duckdb", read_only=reads):
        target = Target("letta", "duckdb", "letta", database="w.duckdb", read_only=not reads)
        with pytest.raises(InUse, match=r"this process has .* open already, .*: close that connection first"):
            target.resolved().check()


@pytest.mark.parametrize("name", ["w.duckdb", "a:b", "my file ü\u00a0.duckdb", "C:w", "md", "100%.duckdb"])
def test_any_other_file_name_works(folder: Path, name: str) -> None:
    Target("letta", "duckdb", "letta", database=name).resolved().check()
    assert (folder / name).exists()


@pytest.mark.parametrize("value", ["w.duckdb", "duckdb:///w.duckdb", "duckdb:///w.duckdb?read_only=false"])
def test_credentials_that_name_a_file_work(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(CREDENTIALS, value)
    Target("letta", "duckdb", "letta").resolved().check()
    assert (folder / "w.duckdb").exists()


@pytest.mark.parametrize(
    "name", ["", "a b", "a-b", "a.b", "a/b", "../a", "1a", "a\nb", "a\x1b[0m", "CON", "lpt9", "a" * 65]
)
def test_pipeline_names_that_dlt_refuses_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^the pipeline name .* cannot be used: it may have letters"
    ) as said:
        Target(name, "duckdb", "letta").resolved()
    assert str(said.value).isprintable()
    assert len(str(said.value)) < 300


@pytest.mark.parametrize("name", ["letta", "_", "Chats2", "größe", "日本", "a" * 64, "console"])
def test_other_pipeline_names_are_accepted(name: str) -> None:
    assert_pipeline_name(name)
