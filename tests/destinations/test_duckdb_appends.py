"""A first load appends messages, and still loads each once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.load.load import Load

from letta_source.demo import Letta, Server, serve
from letta_source.demo.api import Answer
from letta_source.destinations.duckdb import delete_unfinished
from letta_source.extract.gathered_rows import Repeats
from letta_source.loading.target import Target
from tests.loads.test_run import before_answers
from tests.support.command import Command, ago, messages, one_of, two_agents
from tests.support.first_loads import Loaded

pytestmark = pytest.mark.whole

ONE_A_PAGE = ("--page-size", "1", "--max-workers", "1")


def stop(*_: object, **__: object) -> None:
    raise InterruptedError


@pytest.fixture
def server(letta: Letta) -> Iterator[Server]:
    with serve(letta) as server:
        yield server


def merged(letta_source: Command) -> bool:
    """Return True if messages were merged, which leaves a staging table."""
    found = letta_source.rows(
        "SELECT 1 FROM duckdb_tables()"
        " WHERE (schema_name, table_name) = ('letta__letta_staging', 'agent_messages')"
    )
    return bool(found)


def is_whole(letta_source: Command, letta: Letta) -> bool:
    """Return True if each message and each child is there once."""
    tables = ("", "__content", "__tool_calls", "__tool_returns")
    keys = ("id, position", *["message_id, position, idx"] * 3)
    once = [
        letta_source.rows(f"SELECT count(*) - count(DISTINCT ({key})) FROM letta.agent_messages{table}")
        for table, key in zip(tables, keys, strict=True)
    ]
    return once == [[(0,)]] * 4 and letta_source.count("agent_messages") == messages(letta)


def test_the_first_load_appends_and_the_next_merges(loaded: Loaded) -> None:
    letta_source, letta, server = loaded
    assert not merged(letta_source)
    assert is_whole(letta_source, letta)
    letta.add_message(one_of(letta))
    assert letta_source.load(server).code == 0
    assert merged(letta_source)
    assert is_whole(letta_source, letta)


def test_rows_are_merged_into_tables_with_rows(loaded: Loaded) -> None:
    letta_source, letta, server = loaded
    assert letta_source.load(server, "--pipeline-name", "other", "--dataset-name", "letta").code == 0
    assert letta_source.load(server, "--refresh").code == 0
    assert is_whole(letta_source, letta)


@pytest.mark.parametrize("package_rows", ["1", "1000"])
def test_messages_read_twice_are_merged(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    package_rows: str,
) -> None:
    """The message of the cursor is deleted, so its agent is read again from the start."""
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
    monkeypatch.setattr("letta_source.state.session.ROWS_PER_YIELD", 1)
    monkeypatch.setenv("SOURCES__LETTA__CHECKPOINT_ROWS", package_rows)
    assert letta_source.load(server, *ONE_A_PAGE).code == 0
    assert merged(letta_source)
    # A loaded message stays after its deletion on the server.
    assert letta_source.rows(f"SELECT 1 FROM letta.agent_messages WHERE id = '{ids[2]}'")
    letta_source.rows(f"DELETE FROM letta.agent_messages WHERE id = '{ids[2]}' RETURNING id")
    assert is_whole(letta_source, letta)


@pytest.mark.parametrize("package_rows", ["1", "2"])
def test_a_message_that_shrank_between_two_reads_has_no_old_children(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    package_rows: str,
) -> None:
    """The message of the cursor is deleted, and earlier ones lose their call and their return."""
    agent = one_of(letta)
    for _ in range(2):
        letta.add_message(agent, date=ago(hours=1))
    ids = letta.list_of("agent", agent).ids()
    calling, returning = (
        next(one for one in ids if any(kind in item for item in letta.messages.rows[one].items))
        for kind in ("tool_calls", "tool_returns")
    )
    asked: list[str] = []

    def shrink_and_delete(path: str) -> Answer | None:
        if path == f"/v1/agents/{agent}/messages":
            asked.append(path)
            if len(asked) == len(ids):
                for one in (calling, returning):
                    letta.replace_items(one, [{"message_type": "assistant_message", "content": "no more"}])
                letta.delete_message(ids[-2])
        return None

    assert ids.index(calling) < ids.index(returning) < len(ids) - 2
    before_answers(monkeypatch, shrink_and_delete)
    monkeypatch.setattr("letta_source.state.session.ROWS_PER_YIELD", 1)
    monkeypatch.setenv("SOURCES__LETTA__CHECKPOINT_ROWS", package_rows)
    assert letta_source.load(server, *ONE_A_PAGE).code == 0
    assert letta.messages.rows[calling].items[0]["content"] == "no more"
    for child in ("tool_calls", "tool_returns"):
        found = letta_source.rows(f"SELECT message_id FROM letta.agent_messages__{child}")
        assert {calling, returning}.isdisjoint(str(row[0]) for row in found)
        assert found


def test_rows_appended_by_a_stopped_load_come_once(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Load, "complete_package", stop)
        assert letta_source.load(server).code == 1
    assert letta_source.count("agent_messages") == messages(letta)
    # dlt treats started jobs as not done.
    (package,) = (letta_source.folder / "dlt/pipelines/letta/load/normalized").glob("*/completed_jobs")
    for job in package.glob("agent_messages*"):
        job.rename(package.with_name("started_jobs") / job.name)
    assert letta_source.load(server).code == 0
    assert is_whole(letta_source, letta)


@dataclass
class Stopped:
    """A load of small files that stopped after loading them, just before its package was completed."""

    letta: Letta
    server: Server
    folder: Path
    package: Path
    command: Command


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Letta, Server, Path]]:
    """Yield a Letta and a folder for all stopped loads; the state belongs to both, so neither may move."""
    letta = two_agents()
    with serve(letta) as server:
        yield letta, server, tmp_path_factory.mktemp("stopped")


@pytest.fixture
def stopped(
    stopped_once: tuple[Letta, Server, Path],
    letta_source: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Stopped:
    """Return a stopped load whose package has several files per table; it is made once, then copied."""
    letta, server, root = stopped_once
    folder, kept = root / "folder", root / "kept"
    shutil.rmtree(folder, ignore_errors=True)
    command = Command(folder, capsys)
    monkeypatch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
    if kept.exists():
        shutil.copytree(kept, folder)
        monkeypatch.chdir(folder)
    else:
        folder.mkdir()
        monkeypatch.chdir(folder)
        with monkeypatch.context() as patch:
            patch.setattr("letta_source.state.session.ROWS_PER_YIELD", 1)
            patch.setenv("DATA_WRITER__FILE_MAX_ITEMS", "1")
            patch.setattr(Load, "complete_package", stop)
            assert command.load(server, *ONE_A_PAGE).code == 1
        shutil.copytree(folder, kept)
    (package,) = (folder / "dlt/pipelines/letta/load/normalized").glob("*/")
    return Stopped(letta, server, folder, package, command)


@pytest.mark.parametrize("started", [(), (0,), (-1,), (0, -1), None], ids=str)
@pytest.mark.parametrize("table", ["agent_messages", "agent_messages__content"])
def test_a_partly_loaded_package_comes_once(
    stopped: Stopped, table: str, started: tuple[int, ...] | None
) -> None:
    """None, some or all of a table's files were being loaded when the load was killed."""
    package = stopped.package
    files = sorted((package / "completed_jobs").glob(f"{table}.*"))
    assert len(files) > 2
    for job in files if started is None else [files[place] for place in started]:
        job.rename(package / "started_jobs" / job.name)
    assert stopped.command.load(stopped.server).code == 0
    assert is_whole(stopped.command, stopped.letta)


@pytest.mark.parametrize("state", ["completed", "retry", "failed"])
def test_a_job_recorded_as_done_is_loaded_again(stopped: Stopped, state: str) -> None:
    """dlt records a job's end before it moves its file; the rows were removed, so the record is void."""
    package = stopped.package
    job = min((package / "completed_jobs").glob("agent_messages.*"))
    job.rename(package / "started_jobs" / job.name)
    notes = package / ".pending_transitions"
    notes.mkdir(exist_ok=True)
    (notes / job.name).write_text(json.dumps({"state": state, "failed_message": "it was killed"}))
    assert stopped.command.load(stopped.server).code == 0
    assert is_whole(stopped.command, stopped.letta)


def test_a_job_restarted_by_dlt_is_loaded_though_recorded_as_done(stopped: Stopped) -> None:
    """Its rows were removed, and then the load was killed again right after dlt restarted the job."""
    package = stopped.package
    job = min((package / "completed_jobs").glob("agent_messages.*"))
    note = package / ".pending_transitions" / job.name
    note.parent.mkdir(exist_ok=True)
    note.write_text(json.dumps({"state": "completed", "failed_message": None}))
    pipeline = Target("letta", "duckdb", "letta").resolved().pipeline()
    delete_unfinished(pipeline)
    (package / "new_jobs" / job.name).rename(package / "started_jobs" / job.name)
    pipeline.load()
    assert is_whole(stopped.command, stopped.letta)


@pytest.mark.parametrize("table", ["agent_messages", "agent_messages__content", "agent_messages__tool_calls"])
def test_refilling_an_emptied_table_does_not_double_the_others(loaded: Loaded, table: str) -> None:
    letta_source, letta, server = loaded
    letta_source.rows(f"DELETE FROM letta.{table} RETURNING 1")
    assert letta_source.load(server, "--refresh").code == 0
    assert is_whole(letta_source, letta)


def test_a_load_that_fails_for_lack_of_memory_is_retried_with_more(
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


def test_appending_limits_memory_and_merging_does_not(
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
    limited, usual = found
    assert limited == ("143.0 MiB", 1)
    assert usual != limited


@pytest.mark.parametrize(
    ("pages", "once"),
    [
        ([("a", ["1", "1", "2"]), ("b", ["1"]), ("a", ["3"])], True),
        ([("a", ["1"]), ("a", ["2", "1"])], False),
        ([("a", ["1"]), ("a", []), ("a", ["2"])], False),
    ],
)
def test_once(pages: Sequence[tuple[str, Sequence[str]]], once: bool) -> None:
    """A page without ids marks the end of its parent."""
    seen = Repeats()
    took = []
    for parent_id, ids in pages:
        if ids:
            took.append(seen.take(parent_id, ids))
        else:
            seen.end(parent_id)
    assert took == [True] * (len(took) - 1) + [once]
