"""Tables that a user changed by hand are detected in each kind of database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import dlt
import duckdb
import psycopg2
import pytest
from sqlalchemy import create_engine

from letta_source.destinations.dlt_internals import Schema
from letta_source.destinations.mysql import widen_texts
from letta_source.destinations.tables import changed_by_hand
from tests.destinations.conftest import Databases
from tests.support.places import chosen

pytestmark = pytest.mark.destinations

SCHEMA = "letta"
TYPES = {"text": "text", "sequence": "bigint", "is_err": "bool", "date": "timestamp"}
# By kind of database, the statements of a user and the error for each.
CHANGES: dict[str, list[tuple[str, str]]] = {
    "duckdb": [
        ("CREATE TABLE {d}.mine (a INT)", ""),
        ("ALTER TABLE {t} ADD COLUMN rating INT", ""),
        ("ALTER TABLE {t} ALTER COLUMN sequence TYPE VARCHAR", "agent_messages.sequence is text, not bigint"),
        ("ALTER TABLE {t} ALTER COLUMN text SET NOT NULL", "agent_messages.text is now NOT NULL"),
        ("ALTER TABLE {t} RENAME COLUMN date TO day", "agent_messages.date is missing"),
        ("DROP TABLE {t}; CREATE VIEW {t} AS FROM {d}.kept", "agent_messages is a view, not a"),
        ("DROP VIEW {t}", "agent_messages is missing"),
    ],
    "sqlite": [
        ("CREATE TABLE {d}.mine (a INT)", ""),
        ("ALTER TABLE {t} ADD COLUMN rating INT", ""),
        ("ALTER TABLE {t} RENAME COLUMN date TO day", "agent_messages.date is missing"),
        ("DROP TABLE {t}; CREATE VIEW {t} AS SELECT * FROM kept", "agent_messages is a view, not a"),
        ("DROP VIEW {t}", "agent_messages is missing"),
    ],
    "postgres": [
        ("CREATE TABLE {d}.mine (a INT)", ""),
        ("ALTER TABLE {t} ADD COLUMN rating INT", ""),
        ("ALTER TABLE {t} ALTER COLUMN sequence TYPE VARCHAR", "agent_messages.sequence is text, not bigint"),
        ("ALTER TABLE {t} ALTER COLUMN text TYPE VARCHAR(9)", "agent_messages.text is text of 9 characters"),
        ("ALTER TABLE {t} ALTER COLUMN is_err SET NOT NULL", "agent_messages.is_err is now NOT NULL"),
        ("ALTER TABLE {t} RENAME COLUMN date TO day", "agent_messages.date is missing"),
        ("DROP TABLE {t}; CREATE VIEW {t} AS SELECT * FROM {d}.kept", "agent_messages is a view, not a"),
        ("DROP VIEW {t}", "agent_messages is missing"),
    ],
    "mysql": [
        ("CREATE TABLE {d}.mine (a INT)", ""),
        ("ALTER TABLE {t} ADD COLUMN rating INT", ""),
        ("ALTER TABLE {t} MODIFY sequence LONGTEXT", "agent_messages.sequence is text, not bigint"),
        ("ALTER TABLE {t} MODIFY `text` VARCHAR(9)", "agent_messages.text is text of 9 characters"),
        ("ALTER TABLE {t} MODIFY `date` DATETIME NOT NULL", "agent_messages.date is now NOT NULL"),
        ("ALTER TABLE {t} RENAME COLUMN `date` TO day", "agent_messages.date is missing"),
        ("DROP TABLE {t}; CREATE VIEW {t} AS SELECT * FROM {d}.kept", "agent_messages is a view, not a"),
        ("DROP VIEW {t}", "agent_messages is missing"),
    ],
}


@pytest.mark.parametrize("kind", CHANGES)
def test_each_change_is_detected(kind: str, tmp_path: Path, databases: Databases) -> None:
    if kind not in chosen():
        pytest.skip(f"ALL_DESTINATIONS leaves {kind} out")
    dataset = f"hand_{uuid4().hex[:8]}"
    destination, run = _database(kind, dataset, tmp_path, databases)
    pipeline = _loaded(destination, dataset, tmp_path)
    place = "main" if kind == "sqlite" else dataset
    names = {"t": f"{place}.agent_messages", "d": place}
    run([f"CREATE TABLE {place}.kept AS SELECT * FROM {place}.agent_messages"])
    assert str(changed_by_hand(pipeline, ["agent_messages"])) == ""
    for statements, said in CHANGES[kind]:
        run(statements.format(**names).split("; "))
        # Earlier changes remain, except those of a table that is gone.
        assert said in str(changed_by_hand(pipeline, ["agent_messages"])), statements
        assert bool(changed_by_hand(pipeline, ["agent_messages"])) or not said
    run([f"DROP TABLE {place}._dlt_version"])
    assert "agent_messages is missing" in str(changed_by_hand(pipeline, ["agent_messages"]))
    pipeline.drop()
    assert "agent_messages is missing" in str(changed_by_hand(pipeline, ["agent_messages"]))


def _loaded(destination: Any, dataset: str, folder: Path) -> dlt.Pipeline:
    """Return a pipeline whose dataset has a table of ours, and dlt's."""
    widen_texts()
    pipeline = dlt.pipeline("hand", str(folder / "dlt"), destination=destination, dataset_name=dataset)
    columns: Any = {name: {"name": name, "data_type": type_} for name, type_ in TYPES.items()}
    rows = [{"text": "hello", "sequence": 7, "is_err": False, "date": "2026-01-31T12:00:00Z"}]
    pipeline.run(rows, table_name="agent_messages", columns=columns, schema=Schema(SCHEMA))
    return pipeline


def _database(
    kind: str, dataset: str, folder: Path, databases: Databases
) -> tuple[Any, Callable[[Sequence[str]], None]]:
    """Return a destination, and a function that runs statements in it."""
    if kind == "duckdb":
        file = str(folder / "w.duckdb")
        return dlt.destinations.duckdb(file), lambda statements: _in_duckdb(file, statements)
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'w.db'}"
        file = str(folder / f"w__{dataset}.db")
        return dlt.destinations.sqlalchemy(url), lambda statements: _by_cursor(
            lambda: sqlite3.connect(file), statements
        )
    if kind == "postgres":
        url = databases.postgres()
        return dlt.destinations.postgres(url), lambda statements: _by_cursor(
            lambda: psycopg2.connect(url), statements
        )
    url = databases.mysql()
    return dlt.destinations.sqlalchemy(url), lambda statements: _by_engine(url, statements)


def _in_duckdb(file: str, statements: Sequence[str]) -> None:
    with duckdb.connect(file) as connection:
        for statement in statements:
            connection.execute(statement)


def _by_cursor(connect: Callable[[], Any], statements: Sequence[str]) -> None:
    with closing(connect()) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def _by_engine(url: str, statements: Sequence[str]) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
