"""A DuckDB file of any name is rewritten without deleted rows, and nothing is left beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from letta_source.destinations.file_rewrite import rewrite_duckdb

TEXT = "said in confidence " * 40


def made(file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE SCHEMA letta; CREATE TABLE letta.chats (id INTEGER, text VARCHAR)")
        connection.execute("INSERT INTO letta.chats VALUES (1, ?), (2, 'kept')", [TEXT])
        connection.execute("CREATE VIEW mine AS SELECT text FROM letta.chats")
        connection.execute("CHECKPOINT")
        connection.execute("DELETE FROM letta.chats WHERE id = 1")


@pytest.mark.parametrize(
    "name",
    [
        "letta_db.duckdb", "main.duckdb", "memory.duckdb", "temp.duckdb", "system.duckdb", "it's \"ours\".db",
        "letta_source_new.duckdb", "no-suffix", "größe 1.2.duckdb", ".hidden", "long" * 60 + ".duckdb",
    ],
)  # fmt: skip
def test_the_rewritten_file_has_the_remaining_rows(tmp_path: Path, name: str) -> None:
    """DuckDB reserves some names of databases, which are those of their files."""
    file = tmp_path / name
    made(file)
    rewrite_duckdb(file)
    assert list(tmp_path.iterdir()) == [file]
    assert TEXT[:18].encode() not in file.read_bytes()
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("SELECT text FROM mine").fetchall() == [("kept",)]


# By what DuckDB lists, the columns that tell everything of it.
LISTED = {
    "duckdb_tables": "schema_name, table_name, comment, sql",
    "duckdb_columns": "schema_name, table_name, column_name, data_type, column_default, is_nullable, comment",
    "duckdb_constraints": "schema_name, table_name, constraint_text",
    "duckdb_indexes": "schema_name, index_name, sql",
    "duckdb_views": "schema_name, view_name, comment, sql",
    "duckdb_sequences": "schema_name, sequence_name, last_value, increment_by",
}


def listed(file: Path) -> dict[str, list[str]]:
    with duckdb.connect(str(file)) as connection:
        found = {
            name: connection.execute(f"SELECT {columns} FROM {name}() WHERE database_name = 'w'").fetchall()
            for name, columns in LISTED.items()
        }
        found["macros"] = connection.execute("SELECT ours.one_more(1)").fetchall()
        found["rows"] = connection.execute("SELECT * FROM ours.notes").fetchall()
    return {name: sorted(map(repr, rows)) for name, rows in found.items()}


def test_what_users_keep_in_the_file_stays_as_it_is(tmp_path: Path) -> None:
    """A refresh under masks rewrites the whole file, not only the dataset."""
    file = tmp_path / "w.duckdb"
    made(file)
    with duckdb.connect(str(file)) as connection:
        connection.execute("""
            CREATE SCHEMA ours; CREATE TYPE ours.mood AS ENUM ('good', 'bad'); CREATE SEQUENCE ours.numbers;
            CREATE TABLE ours.notes (
                id INTEGER PRIMARY KEY DEFAULT nextval('ours.numbers'), mood ours.mood NOT NULL,
                points DECIMAL(38, 9) CHECK (points > 0), parts STRUCT(a INTEGER, b VARCHAR[])
            );
            CREATE UNIQUE INDEX once ON ours.notes (points); CREATE MACRO ours.one_more(n) AS n + 1;
            INSERT INTO ours.notes (mood, points, parts) VALUES ('bad', 0.000000001, {a: 1, b: ['x']});
            CREATE VIEW ours.more AS SELECT ours.one_more(id) FROM ours.notes;
            COMMENT ON TABLE ours.notes IS 'ours'; COMMENT ON COLUMN ours.notes.id IS 'a number'
        """)
    before = listed(file)
    assert all(before.values())
    rewrite_duckdb(file)
    assert listed(file) == before


def test_a_link_stays_and_the_file_it_names_is_rewritten(tmp_path: Path) -> None:
    file, link = tmp_path / "volume" / "warehouse.duckdb", tmp_path / "letta_db.duckdb"
    file.parent.mkdir()
    made(file)
    link.symlink_to(file)
    rewrite_duckdb(link)
    assert link.is_symlink()
    assert sorted(tmp_path.rglob("*")) == [link, file.parent, file]
    assert TEXT[:18].encode() not in file.read_bytes()
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("SELECT text FROM letta.chats").fetchall() == [("kept",)]


@pytest.mark.parametrize("is_root", [True, False])
def test_owner_and_mode_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_root: bool) -> None:
    """If an administrator erases, the loader must still be able to open the file."""
    file = tmp_path / "w.duckdb"
    made(file)
    file.chmod(0o660)
    given: list[tuple[int, int]] = []

    def chown(path: Path, user: int, group: int) -> None:
        if user != -1 and not is_root:
            raise PermissionError
        given.append((user, group))

    monkeypatch.setattr("os.chown", chown)
    old = file.stat()
    rewrite_duckdb(file)
    assert given == [(old.st_uid if is_root else -1, old.st_gid)]
    assert file.stat().st_mode == old.st_mode


def test_a_failed_rewrite_leaves_only_the_original_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.duckdb"
    made(file)
    monkeypatch.setattr("os.chmod", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rewrite_duckdb(file)
    assert list(tmp_path.iterdir()) == [file]
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("SELECT text FROM mine").fetchall() == [("kept",)]


def test_a_file_that_this_process_has_open_is_not_replaced(tmp_path: Path) -> None:
    """DuckDB would go on with the old file, which no longer has a name."""
    file = tmp_path / "w.duckdb"
    made(file)
    with duckdb.connect(str(file)) as connection:
        with pytest.raises(duckdb.ConnectionException, match="different configuration"):
            rewrite_duckdb(file)
        connection.execute("INSERT INTO letta.chats VALUES (3, 'later')")
    with duckdb.connect(str(file)) as connection:
        assert connection.execute("SELECT text FROM mine ORDER BY 1").fetchall() == [("kept",), ("later",)]


@pytest.mark.skipif(os.name == "nt", reason="Windows replaces no open file")
def test_no_other_process_can_open_the_file_until_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write to the old file, which no longer has a name."""
    file = tmp_path / "w.duckdb"
    made(file)
    said: list[str] = []

    def replaced(new: Path, place: Path) -> None:
        program = "import duckdb, sys; duckdb.connect(sys.argv[1])"
        opened = subprocess.run(
            [sys.executable, "-c", program, str(place)], capture_output=True, text=True, check=False
        )
        said.append(opened.stderr)
        os.replace(new, place)

    monkeypatch.setattr(Path, "replace", replaced)
    rewrite_duckdb(file)
    assert len(said) == 1
    assert "Could not set lock on file" in said[0]
