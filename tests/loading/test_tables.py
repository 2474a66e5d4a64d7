"""Tables that a user dropped, renamed or changed are detected before anything is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from letta_source.demo import Letta, Server
from tests.support.command import Command, Said, ago, log_lines, messages, one_of
from tests.support.first_loads import Loaded

# The warning comes from dlt's merge into SQLite.
pytestmark = [pytest.mark.whole, pytest.mark.filterwarnings("ignore:implicitly coercing SELECT")]


def went_on(loaded: Loaded) -> Loaded:
    """Add a message that is not loaded yet."""
    loaded.letta.add_message(one_of(loaded.letta), date=ago(hours=1))
    return loaded


def by_hand(command: Command, statement: str) -> None:
    command.rows(f"{statement}; SELECT 1")


@pytest.mark.parametrize("loaded", [1, 2], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE letta.agent_messages",
        "DROP TABLE letta.agent_messages__content",
        "ALTER TABLE letta.agent_messages RENAME TO old",
        "DROP TABLE letta.load_issues",
        "DROP TABLE letta._dlt_loads",
        "DROP TABLE letta._dlt_pipeline_state",
        "DROP TABLE letta._dlt_version; DROP TABLE letta.agent_messages",
        "DROP SCHEMA letta CASCADE",
    ],
)
def test_a_dropped_table_is_created_and_read_again(loaded: Loaded, statement: str) -> None:
    letta_source, letta, server = went_on(loaded)
    children = letta_source.count("agent_messages__content")
    by_hand(letta_source, statement)
    said = letta_source.load(server)
    assert said.code == 0
    assert letta_source.count("agent_messages") == messages(letta)
    # The new row is that of the message added meanwhile.
    assert letta_source.count("agent_messages__content") == children + 1
    if "SCHEMA" not in statement:
        assert "is missing, though it was loaded: creating it again" in said.err
    again = letta_source.load(server)
    assert (again.code, again.column("new")["agent_messages"], log_lines(again)) == (0, "0", [])


@pytest.mark.parametrize("loaded", [2], indirect=True)
def test_a_load_stopped_after_that_leaves_nothing_out(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    letta_source, letta, server = went_on(loaded)
    by_hand(letta_source, "DROP TABLE letta.agent_messages")

    def stop(*_: object, **__: object) -> None:
        raise InterruptedError

    for where in ("dlt.Pipeline.load", "dlt.Pipeline.normalize", "dlt.Pipeline.extract"):
        with monkeypatch.context() as patch:
            patch.setattr(where, stop)
            assert letta_source.load(server).code == 1
    for _ in range(2):
        assert letta_source.load(server).code == 0
    assert letta_source.count("agent_messages") == messages(letta)


@pytest.mark.parametrize("loaded", [2], indirect=True)
@pytest.mark.parametrize(
    ("change", "back", "said"),
    [
        ("RENAME COLUMN text TO words", "RENAME COLUMN words TO text", "agent_messages.text is missing"),
        ("DROP COLUMN text", None, "agent_messages.text is missing"),
        (
            "ALTER COLUMN sequence TYPE VARCHAR",
            "ALTER COLUMN sequence TYPE BIGINT",
            "agent_messages.sequence is text, not bigint",
        ),
        (
            "ALTER COLUMN created_at SET NOT NULL",
            "ALTER COLUMN created_at DROP NOT NULL",
            "agent_messages.created_at is now NOT NULL",
        ),
    ],
)
def test_a_changed_column_is_refused(loaded: Loaded, change: str, back: str | None, said: str) -> None:
    letta_source, letta, server = went_on(loaded)
    asked = len(server.requests)
    by_hand(letta_source, f"ALTER TABLE letta.agent_messages {change}")
    refused = letta_source.load(server)
    assert (refused.code, len(log_lines(refused)), len(server.requests)) == (2, 1, asked + 1)
    assert f"letta-source: letta: {said}" in refused.err
    if back:
        by_hand(letta_source, f"ALTER TABLE letta.agent_messages {back}")
        assert letta_source.load(server).code == 0
    else:
        assert letta_source.load(server, "--refresh").code == 0
        assert letta_source.rows("SELECT count(text) > 0 FROM letta.agent_messages") == [(True,)]
    assert letta_source.count("agent_messages") == messages(letta)


@pytest.mark.parametrize("loaded", [2], indirect=True)
def test_without_dlts_schema_a_new_machine_finds_dropped_tables(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    letta_source, letta, server = went_on(loaded)
    by_hand(letta_source, "DROP TABLE letta._dlt_version; DROP TABLE letta.agent_messages")
    monkeypatch.setenv("DLT_DATA_DIR", str(letta_source.folder / "elsewhere"))
    for _ in range(2):
        said = letta_source.load(server)
        assert said.code == 0, said.err
    assert letta_source.count("agent_messages") == messages(letta)


def test_a_view_in_a_tables_place_is_refused(loaded: Loaded) -> None:
    letta_source, letta, server = went_on(loaded)
    by_hand(letta_source, "ALTER TABLE letta.agent_messages RENAME TO kept")
    by_hand(letta_source, "CREATE VIEW letta.agent_messages AS FROM letta.kept")
    refused = letta_source.load(server)
    assert (refused.code, "agent_messages is a view, not a table" in refused.errors[-1]) == (2, True)
    by_hand(letta_source, "DROP VIEW letta.agent_messages")
    assert letta_source.load(server).code == 0
    assert letta_source.count("agent_messages") == messages(letta)


def test_tables_of_other_resources_do_not_matter(loaded: Loaded) -> None:
    letta_source, letta, server = went_on(loaded)
    by_hand(letta_source, "DROP TABLE letta.agent_messages")
    assert log_lines(letta_source("run", "--base-url", server.base_url, "--resources", "agents")) == []
    assert letta_source.load(server).code == 0
    assert letta_source.count("agent_messages") == messages(letta)


@pytest.mark.parametrize("loaded", [2], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE letta__letta_staging.agent_messages",
        "ALTER TABLE letta__letta_staging.agent_messages DROP COLUMN text",
        "DROP SCHEMA letta__letta_staging CASCADE",
    ],
)
def test_the_staging_dataset_is_repaired(loaded: Loaded, statement: str) -> None:
    letta_source, letta, server = went_on(loaded)
    by_hand(letta_source, statement)
    for _ in range(2):
        assert log_lines(letta_source.load(server)) == []
        letta.add_message(one_of(letta), date=ago(hours=1))
    assert letta_source.load(server).code == 0
    assert letta_source.count("agent_messages") == messages(letta)


def test_sqlite(letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", "sqlite:///w.db")
    for _ in range(2):
        assert letta_source.load(server, "--destination", "sqlalchemy").code == 0
    with sqlite3.connect(letta_source.folder / "w__letta.db") as connection:
        connection.execute("DROP TABLE agent_messages__content")
    connection.close()
    said = letta_source.load(server, "--destination", "sqlalchemy")
    assert (said.code, "agent_messages__content is missing" in said.err) == (0, True)
    with sqlite3.connect(letta_source.folder / "w__letta.db") as connection:
        assert connection.execute("SELECT count(*) FROM agent_messages__content").fetchone()[0] >= 0
        connection.execute("ALTER TABLE agent_messages RENAME COLUMN text TO words")
    connection.close()
    refused = letta_source.load(server, "--destination", "sqlalchemy")
    assert (refused.code, "agent_messages.text is missing" in refused.err) == (2, True)


@pytest.mark.parametrize("table_format", [None, "delta"])
def test_files(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    table_format: str | None,
) -> None:
    lake = letta_source.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", lake.as_uri())
    to = ["--destination", "filesystem", *(["--table-format", table_format] if table_format else [])]
    assert letta_source.load(server, *to).code == 0
    folders = [Path(lake, "letta", name) for name in ("agent_messages", "agent_messages__content")]
    shutil.rmtree(folders[0])
    said = letta_source.load(server, *to)
    if table_format is None:
        assert (said.code, "are append-only" in said.err) == (2, True)
        for folder in Path(lake, "letta").glob("agent_messages*"):
            shutil.rmtree(folder)
        said = letta_source.load(server, *to)
    assert (said.code, "is missing, though it was loaded" in said.err) == (0, True)
    out = letta_source("export", "agent_messages", "--columns", "id", "--destination", "filesystem").out
    assert out.count("\n") == messages(letta)


@pytest.mark.parametrize(
    ("before", "after", "to_do"),
    [
        (None, "delta", "leave out --table-format"),
        ("delta", None, "give --table-format delta"),
        ("delta", "iceberg", "give --table-format delta"),
    ],
)
def test_another_table_format_is_refused(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    before: str | None,
    after: str | None,
    to_do: str,
) -> None:
    """dlt would begin the tables anew beside the old ones, with only what is new."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())

    def load(form: str | None, *more: str) -> Said:
        form_option = ["--table-format", form] if form else []
        return letta_source.load(server, "--destination", "filesystem", *form_option, *more)

    assert load(before).code == 0
    stored = messages(letta)
    letta.add_message(one_of(letta), date=ago(hours=1))
    for more in ((), ("--refresh",)):
        refused = load(after, *more)
        assert (refused.code, to_do in refused.err) == (2, True)
    out = letta_source("export", "agent_messages", "--columns", "id", "--destination", "filesystem").out
    assert out.count("\n") == stored
    assert load(before).code == 0
    assert load(after, "--dataset-name", "other").code == 0
