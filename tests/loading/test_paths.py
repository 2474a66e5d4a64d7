"""Folders and files of any name are loaded, found again from a new working folder, and exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from letta_source.demo import Letta, Server
from letta_source.destinations.dlt_paths import as_pattern, path_of_uri
from tests.support.command import Command, ago, messages, one_of

# The warnings come from dlt's merge into SQLite, and from pyiceberg's in-memory catalog.
pytestmark = [
    pytest.mark.whole,
    pytest.mark.filterwarnings("ignore:implicitly coercing SELECT"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

# Every special character except the slash; folders that it would match as a pattern must not be read.
ODD = "läke id=1 [a]*b?c{d,e}#%f&g;h=i+'j\"k$l~日"


def loaded_and_found_again(
    command: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch, *to: str
) -> None:
    assert command.load(server, *to).code == 0
    letta.add_message(one_of(letta), date=ago(hours=1))
    monkeypatch.setenv("DLT_DATA_DIR", str(command.folder / "fresh"))
    said = command.load(server, *to)
    assert (said.code, len(server.requests) > 0) == (0, True), said.err
    there = [option for option in to if option not in ("--table-format", "delta", "iceberg")]
    exported = command("export", "agent_messages", "--columns", "id", *there)
    assert (exported.code, exported.out.count("\n")) == (0, messages(letta)), exported.err


@pytest.mark.parametrize("table_format", [None, "delta", "iceberg"])
def test_files(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    table_format: str | None,
) -> None:
    name = ODD.translate(str.maketrans("", "", "[]")) if table_format == "delta" else ODD
    beside = letta_source.folder / name.replace("[a]", "a").replace("*", "x").replace("?", "y")
    (beside / "letta" / "agent_messages").mkdir(parents=True)
    (beside / "letta" / "agent_messages" / "of_others.parquet").write_bytes(b"")
    lake = letta_source.folder / name
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(lake))
    to = ["--destination", "filesystem", *(["--table-format", table_format] if table_format else [])]
    loaded_and_found_again(letta_source, letta, server, monkeypatch, *to)
    assert {one.name for one in letta_source.folder.iterdir()} == {name, beside.name, "dlt", "fresh"}


def test_a_bucket(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", "memory://of_test_a_bucket/my [1] läke")
    loaded_and_found_again(letta_source, letta, server, monkeypatch, "--destination", "filesystem")


def test_a_duckdb_file(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = letta_source.folder / ODD.replace("?", "")
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(folder / f"{ODD}.duckdb"))
    loaded_and_found_again(letta_source, letta, server, monkeypatch)
    assert (folder / f"{ODD}.duckdb").exists()


def test_a_sqlite_file(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letta_source.folder / ODD).mkdir()
    monkeypatch.chdir(letta_source.folder / ODD)
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", "sqlite:///my [1] wärehouse.db")
    loaded_and_found_again(letta_source, letta, server, monkeypatch, "--destination", "sqlalchemy")
    assert (letta_source.folder / ODD / "my [1] wärehouse__letta.db").exists()


@pytest.mark.parametrize(
    ("name", "options", "library"),
    [
        ("lake[1]", ["--destination", "filesystem", "--table-format", "delta"], "deltalake"),
        ("lake%201", ["--destination", "filesystem", "--table-format", "delta"], "deltalake"),
        ("la\nke", ["--destination", "filesystem", "--table-format", "delta"], "deltalake"),
        ("la\\ke", ["--destination", "filesystem", "--table-format", "delta"], "deltalake"),
        ("why?", [], "DuckDB"),
        ("la\\ke", [], "DuckDB"),
    ],
)
def test_paths_that_a_library_misinterprets_are_refused(
    letta_source: Command,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: list[str],
    library: str,
) -> None:
    folder = letta_source.folder / name
    folder.mkdir()
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(folder))
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(folder / "w.duckdb"))
    refused = letta_source.load(server, *options)
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert f"{library} cannot use a path with " in refused.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "pattern"),
    [("/a/b.parquet", "/a/b.parquet"), ("/a[1]/b", "/a[[]1]/b"), ("/a*b?/c", "/a[*]b[?]/c")],
)
def test_a_path_as_a_pattern(path: str, pattern: str) -> None:
    assert as_pattern(path) == pattern


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/srv/my%20lake/x.parquet", "/srv/my lake/x.parquet"),
        ("file:///srv/l%C3%A4ke/x.parquet", "/srv/läke/x.parquet"),
        ("s3://bucket/my%20lake/x.parquet", "s3://bucket/my lake/x.parquet"),
        ("s3://bucket/100%25/x.parquet", "s3://bucket/100%/x.parquet"),
    ],
)
def test_an_escaped_uri(uri: str, path: str) -> None:
    assert path_of_uri(uri) == path


def test_only_escaped_paths_lose_their_scheme(tmp_path: Path) -> None:
    # Older tables have the URL in their metadata, and are found by it.
    from letta_source.destinations.dlt_paths import _undecoded

    assert _undecoded("file:///srv/lake/letta/agents") == "file:///srv/lake/letta/agents"
    assert _undecoded("file:///srv/my%20lake/letta") == "/srv/my lake/letta"
    assert _undecoded("s3://bucket/my%20lake") == "s3://bucket/my%20lake"
