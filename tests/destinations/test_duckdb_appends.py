"""A first load appends messages, and still has each of them once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dlt
import pytest
from dlt.load.load import Load

from letta_source.demo import Letta, Server
from letta_source.demo.api import Answer
from letta_source.extract.repeats import Repeats
from tests.loads.test_run import before_answers
from tests.support.command import Command, messages, one_of

ONE_A_PAGE = ("--page-size", "1", "--max-workers", "1")


def merged(letta_source: Command) -> bool:
    """Whether messages were merged: then they were staged."""
    found = letta_source.rows(
        "SELECT 1 FROM duckdb_tables() WHERE (schema_name, table_name) = ('letta_staging', 'agent_messages')"
    )
    return bool(found)


def is_whole(letta_source: Command, letta: Letta) -> bool:
    """Whether each message is there once, its children too."""
    tables = ("", "__content", "__tool_calls", "__tool_returns")
    keys = ("id, position", *["message_id, position, idx"] * 3)
    once = [
        letta_source.rows(f"SELECT count(*) - count(DISTINCT ({key})) FROM letta.agent_messages{table}")
        for table, key in zip(tables, keys, strict=True)
    ]
    return once == [[(0,)]] * 4 and letta_source.count("agent_messages") == messages(letta)


def test_the_first_load_appends_and_the_next_merges(
    letta_source: Command, letta: Letta, server: Server
) -> None:
    assert letta_source.load(server).code == 0
    assert not merged(letta_source)
    assert is_whole(letta_source, letta)
    letta.add_message(one_of(letta))
    assert letta_source.load(server).code == 0
    assert merged(letta_source)
    assert is_whole(letta_source, letta)


def test_tables_with_rows_are_merged_into(letta_source: Command, letta: Letta, server: Server) -> None:
    assert letta_source.load(server).code == 0
    assert letta_source.load(server, "--pipeline-name", "other", "--dataset-name", "letta").code == 0
    assert letta_source.load(server, "--refresh").code == 0
    assert is_whole(letta_source, letta)


@pytest.mark.parametrize("package_rows", ["1", "1000"])
def test_what_is_read_twice_is_merged(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    package_rows: str,
) -> None:
    """The message under the cursor is deleted: its agent is read again from the start."""
    agent = one_of(letta)
    ids = letta.list_of("agent", agent).ids()
    asked: list[str] = []

    def delete_the_last_read(path: str) -> Answer | None:
        if path == f"/v1/agents/{agent}/messages":
            asked.append(path)
            if len(asked) == 4:
                letta.delete_message(ids[2])
        return None

    before_answers(monkeypatch, delete_the_last_read)
    monkeypatch.setattr("letta_source.state.packages.ROWS_PER_YIELD", 1)
    monkeypatch.setenv("SOURCES__LETTA__CHECKPOINT_ROWS", package_rows)
    assert letta_source.load(server, *ONE_A_PAGE).code == 0
    assert merged(letta_source)
    # What was loaded stays, though the server has it no more.
    assert letta_source.rows(f"SELECT 1 FROM letta.agent_messages WHERE id = '{ids[2]}'")
    letta_source.rows(f"DELETE FROM letta.agent_messages WHERE id = '{ids[2]}' RETURNING id")
    assert is_whole(letta_source, letta)


def test_what_a_load_that_stopped_had_appended_comes_once(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(Load, "complete_package", stop)
        assert letta_source.load(server).code == 1
    assert letta_source.count("agent_messages") == messages(letta)
    # dlt would take what it had begun for not done.
    (package,) = (letta_source.folder / "dlt/pipelines/letta/load/normalized").glob("*/completed_jobs")
    for job in package.glob("agent_messages*"):
        job.rename(package.with_name("started_jobs") / job.name)
    assert letta_source.load(server).code == 0
    assert is_whole(letta_source, letta)


def test_what_fails_in_little_memory_is_loaded_with_more(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    complete = Load.complete_package

    def fail_once(load: Load, *args: Any, **kwargs: Any) -> None:
        tried.append(args)
        if len(tried) == 1:
            raise MemoryError
        complete(load, *args, **kwargs)

    monkeypatch.setattr(Load, "complete_package", fail_once)
    assert letta_source.load(server).code == 0
    assert len(tried) == 2
    assert is_whole(letta_source, letta)


def test_appending_is_sparing_and_merging_is_not(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Sequence[Any]] = []

    def load(pipeline: dlt.Pipeline, **options: Any) -> Any:
        with pipeline.sql_client() as client:
            settings = "current_setting('memory_limit'), current_setting('threads')"
            found.extend(client.execute_sql(f"SELECT {settings}") or ())
        return real(pipeline, **options)

    real = dlt.Pipeline.load
    monkeypatch.setattr(dlt.Pipeline, "load", load)
    for _ in range(2):
        assert letta_source.load(server).code == 0
    sparing, usual = found
    assert sparing == ("143.0 MiB", 1)
    assert usual != sparing


@pytest.mark.parametrize(
    ("pages", "once"),
    [
        ([("a", ["1", "1", "2"]), ("b", ["1"]), ("a", ["3"])], True),
        ([("a", ["1"]), ("a", ["2", "1"])], False),
        ([("a", ["1"]), ("a", []), ("a", ["2"])], False),
    ],
)
def test_once(pages: Sequence[tuple[str, Sequence[str]]], once: bool) -> None:
    """A page without ids stands for the end of its parent."""
    seen = Repeats()
    took = []
    for parent_id, ids in pages:
        if ids:
            took.append(seen.take(parent_id, ids))
        else:
            seen.end(parent_id)
    assert took == [True] * (len(took) - 1) + [once]
