"""The table load_log has a row for each run and resource, however the run ends."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from letta_source.demo import Letta, Server
from letta_source.demo.api import Answer, answer
from letta_source.loading import load_log, lock, run
from letta_source.schema.tables import LOAD_LOG
from tests.support.command import SOME, Command, ago, messages, one_of
from tests.support.first_loads import Loaded

pytestmark = pytest.mark.whole

ROWS = "SELECT {} FROM letta.load_log ORDER BY run_id, resource"


def logged(letta_source: Command, *columns: str) -> list[tuple[Any, ...]]:
    return letta_source.rows(ROWS.format(", ".join(columns)))


def journal(letta_source: Command) -> Path:
    return letta_source.folder / "dlt" / "pipelines" / "letta.load_log.jsonl"


def refuse(patch: pytest.MonkeyPatch) -> None:
    """Make the destination fail after the packages are loaded."""

    def write(*of_run: Any) -> None:
        raise OSError("disk on fire")

    patch.setattr(load_log, "write", write)


def test_each_run_has_a_row_for_each_resource(letta_source: Command, letta: Letta, server: Server) -> None:
    for _ in range(2):
        assert letta_source.load(server).code == 0
    rows = logged(
        letta_source, "resource", "outcome", "exit_code", "mode", "host", "shard", "parents", "items"
    )
    host = server.base_url
    agents = ("agents", "loaded", 0, "incremental", host, None, 0, 2)
    first = ("agent_messages", "loaded", 0, "incremental", host, None, 2, messages(letta))
    assert rows[:2] == [first, agents]
    assert [row[:6] for row in rows[2:]] == [first[:6], agents[:6]]
    assert len({row[0] for row in logged(letta_source, "run_id")}) == 2
    sent = logged(letta_source, "requests", "retries", "waited", "new_problems", "known_problems")
    # The first request of each run only checks that the server is reachable.
    assert sum(row[0] for row in sent) == len(server.requests) - 2
    assert {row[1:] for row in sent} == {(0, 0.0, 0, 0)}
    took = logged(letta_source, "began_at <= ended_at", "seconds >= 0", "bytes > 0", "masks", "version <> ''")
    assert set(took) == {(True, True, True, "none", True)}
    # The second run found nothing new: it completed no load.
    assert [*letta_source.rows("SELECT load_id FROM letta._dlt_loads"), (None,)] == [
        *dict.fromkeys(logged(letta_source, "load_ids"))
    ]
    assert not journal(letta_source).exists()


@pytest.mark.parametrize(
    ("options", "mode"),
    [
        (("--refresh",), "refresh"),
        (("--start-date", "2024-01-01"), "window"),
        (("--end-date", "2099-01-01"), "window"),
    ],
)
def test_the_mode_is_recorded(
    letta_source: Command, server: Server, options: tuple[str, ...], mode: str
) -> None:
    assert letta_source.load(server, *options).code == 0
    assert {row[0] for row in logged(letta_source, "mode")} == {mode}


def test_masks_in_force_are_recorded(letta_source: Command, server: Server) -> None:
    letta_source.load(server, "--mask", "content=drop", "--mask", "name=keep")
    ((masks,),) = set(logged(letta_source, "masks"))
    assert "content=drop" in masks
    assert "name=keep" in masks


def test_unreadable_items_are_counted(letta_source: Command, letta: Letta, server: Server) -> None:
    letta.poison(next(reversed(letta.messages.rows)))
    assert letta_source.load(server).code == 3
    assert logged(letta_source, "resource", "outcome", "exit_code", "new_problems") == [
        ("agent_messages", "incomplete", 3, 1),
        ("agents", "loaded", 3, 0),
    ]


def test_a_failed_load_records_what_was_read(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(letta: Letta, dialect: Any, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        if path.endswith("/messages"):
            return Answer(500, {"detail": "broken"})
        return answer(letta, dialect, method, path, *args, **kwargs)

    monkeypatch.setattr("letta_source.demo.server.answer", broken)
    assert letta_source.load(server).code == 1
    assert logged(letta_source, "resource", "outcome", "exit_code", "items", "new_problems") == [
        ("agent_messages", "failed", 1, 0, 2),
        ("agents", "loaded", 1, 2, 0),
    ]


def test_the_journal_keeps_rows_that_could_not_be_written(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        refuse(patch)
        said = letta_source.load(server)
    assert said.code == 0
    assert any("load_log could not be written" in line and "disk on fire" in line for line in said.errors)
    file = journal(letta_source)
    assert file.stat().st_mode & 0o777 == 0o600
    assert letta_source.load(server).code == 0
    assert [row[0] for row in logged(letta_source, "resource")] == ["agent_messages", "agents"] * 2
    assert not file.exists()


def test_rows_already_written_from_the_journal_are_not_doubled(loaded: Loaded) -> None:
    """The process was killed after writing the rows, and before it deleted the journal."""
    letta_source, _, server = loaded
    rows = logged(letta_source, *(column.name for column in LOAD_LOG.columns))
    found = [
        dict(zip((column.name for column in LOAD_LOG.columns), map(_text, row), strict=True)) for row in rows
    ]
    with open(letta_source.folder / "dlt" / "pipelines" / "letta" / "state.json") as state:
        place = json.load(state)["_local"]["letta_source_place"]
    elsewhere = {**found[0], "run_id": "elsewhere"}
    lines = [*([place, row] for row in found), ["another place", elsewhere]]
    journal(letta_source).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    letta_source.load(server)
    assert logged(letta_source, *(column.name for column in LOAD_LOG.columns))[:2] == rows
    assert len(logged(letta_source, "run_id")) == 4
    # Rows of another destination stay until it is loaded.
    assert json.loads(journal(letta_source).read_text()) == ["another place", elsewhere]


def _text(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def test_the_next_run_records_a_killed_run(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = b""

    def peek(*parts: Any) -> None:
        nonlocal kept
        kept = journal(letta_source).read_bytes()
        load_packages(*parts)

    load_packages = run.load_packages
    with monkeypatch.context() as patch:
        patch.setattr(run, "load_packages", peek)
        patch.setattr(load_log, "write", lambda *of_run: None)
        letta_source.load(server)
    journal(letta_source).write_bytes(kept)
    letta_source.load(server)
    assert logged(letta_source, "resource", "outcome", "exit_code", "ended_at IS NULL", "items > 0") == [
        ("agent_messages", "interrupted", None, True, None),
        ("agents", "interrupted", None, True, None),
        ("agent_messages", "loaded", 0, False, False),
        ("agents", "loaded", 0, False, False),
    ]


def test_an_interrupted_load_is_in_the_journal(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def breaking(*parts: Any) -> Any:
        raise OSError("no space left")
        yield

    with monkeypatch.context() as patch:
        patch.setattr("letta_source.loading.workspace.memory_limited", breaking)
        patch.setattr("letta_source.loading.workspace.Workspace._load", breaking().__enter__)
        assert letta_source.load(server).code == 1
    assert letta_source.load(server).code == 0
    assert logged(letta_source, "outcome", "exit_code")[:2] == [("failed", 1)] * 2
    assert letta_source.count("agent_messages") == messages(letta)


def test_load_log_of_an_older_version_gets_new_columns(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(load_log, "LOAD_LOG", replace(LOAD_LOG, columns=LOAD_LOG.columns[:-2]))
        letta_source.load(server)
    letta_source.load(server)
    assert logged(letta_source, "masks") == [(None,), (None,), ("none",), ("none",)]


def test_a_dropped_load_log_is_created_again(letta_source: Command, server: Server) -> None:
    assert letta_source.load(server).code == 0
    with duckdb.connect(str(letta_source.folder / "letta_db.duckdb")) as connection:
        connection.execute("DROP TABLE letta.load_log")
    again = letta_source.load(server)
    said = " ".join(again.errors)
    assert (again.code, "could not be written" in said) == (0, False)
    assert "load_log is missing, though it was loaded: creating it again" in said
    assert len(logged(letta_source, "outcome")) == 2


def test_dlts_dataset_shows_load_log(letta_source: Command, server: Server) -> None:
    from letta_source import Load, load

    loaded = load(Load({"base_url": server.base_url}, ["agents"]))
    assert loaded.pipeline.dataset()["load_log"].select("outcome").fetchall() == [("loaded",)]


def test_shards_log_their_own_runs(letta_source: Command, letta: Letta, server: Server) -> None:
    for shard in ("0/2", "1/2"):
        assert letta_source.load(server, "--shard", shard).code == 0
    assert logged(letta_source, "shard", "resource") == [
        ("0/2", "agent_messages"),
        ("0/2", "agents"),
        ("1/2", "agent_messages"),
        ("1/2", "agents"),
    ]


def test_each_run_adds_one_small_file(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = letta_source.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", lake.as_uri())
    for _ in range(2):
        letta.add_message(one_of(letta), date=ago(hours=1))
        assert (
            letta_source("run", "--base-url", server.base_url, *SOME, "--destination", "filesystem").code == 0
        )
    files = sorted((lake / "letta" / "load_log").iterdir())
    assert [file.suffix for file in files] == [".parquet"] * 2
    for file in files:
        assert file.stat().st_size < 20_000
        rows = pq.read_table(file).to_pylist()
        assert [row["resource"] for row in rows] == ["agents", "agent_messages"]
        assert {row["outcome"] for row in rows} == {"loaded"}
    # A load without a working folder deletes the files of unfinished loads, but not these.
    journal(letta_source).parent.rename(letta_source.folder / "moved")
    letta_source("run", "--base-url", server.base_url, *SOME, "--destination", "filesystem")
    assert len(list((lake / "letta" / "load_log").iterdir())) == 3


@pytest.mark.filterwarnings("ignore:implicitly coercing SELECT")
def test_sqlite_has_load_log(letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    credentials = f"sqlite:///{letta_source.folder / 'warehouse.db'}"
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", credentials)
    for _ in range(2):
        said = letta_source("run", "--base-url", server.base_url, *SOME, "--destination", "sqlalchemy")
        assert (said.code, [line for line in said.errors if "load_log" in line]) == (0, [])
    with sqlite3.connect(letta_source.folder / "warehouse__letta.db") as connection:
        rows = connection.execute("SELECT resource, exit_code, began_at <= ended_at FROM load_log").fetchall()
    assert rows == [("agents", 0, 1), ("agent_messages", 0, 1)] * 2


def _away(patch: pytest.MonkeyPatch, status: int, body: object) -> None:
    patch.setattr("letta_source.demo.server.answer", lambda *of_request, **how: Answer(status, body))


def test_refused_runs_are_logged_by_the_next_run(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__LETTA__RETRIES", "0")
    letta_source.load(server)
    answers = {503: "starting", 401: "Unauthorized", 500: "An unknown error occurred"}
    for count, (status, detail) in enumerate(answers.items(), 1):
        with monkeypatch.context() as patch:
            _away(patch, status, {"detail": detail})
            for _ in range(2):
                said = letta_source.load(server)
                assert said.code == 2
        waiting = json.loads(letta_source("status", "--json").out)["not_written"]
        assert [(run["outcome"], run["exit_code"]) for run in waiting] == [("failed", 2)] * 2 * count
        assert waiting[-1]["reason"] in said.err
    assert f"Not yet in load_log: the run of {waiting[0]['began_at'][:4]}" in letta_source("status").out
    assert letta_source.load(server).code == 0
    assert not journal(letta_source).exists()
    rows = logged(letta_source, "exit_code", "outcome", "reason IS NOT NULL", "requests IS NULL")
    # There is a row for each of two resources.
    refused = [(2, "not_read", True, True)] * 2 * 2 * len(answers)
    assert rows == [(0, "loaded", False, False)] * 2 + refused + [(0, "loaded", False, False)] * 2
    reasons = [reason for (reason,) in logged(letta_source, "reason")[2:-2]]
    for place, status in enumerate(answers):
        assert all(str(status) in reason for reason in reasons[4 * place : 4 * place + 4])


def test_a_key_that_is_refused_is_not_in_the_log(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    letta_source, _, server = loaded
    monkeypatch.setenv("LETTA_API_KEY", "sk-let-0815-secret")
    with monkeypatch.context() as patch:
        _away(patch, 401, {"detail": "wrong key sk-let-0815-secret\x1b[2J"})
        assert letta_source.load(server).code == 2
    kept = journal(letta_source).read_text("utf-8")
    assert '"exit_code": 2' in kept
    assert "0815" not in kept
    assert "\\u001b" not in kept


@pytest.mark.parametrize("why", ["never loaded", "wrong option", "somebody runs it"])
def test_wrong_usage_is_not_logged(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why != "never loaded":
        letta_source.load(server)
    with monkeypatch.context() as patch:
        if why == "wrong option":
            assert letta_source.load(server, "--lag", "soon").code == 2
        elif why == "somebody runs it":
            _away(patch, 503, {"detail": "starting"})
            patch.setenv("SOURCES__LETTA__RETRIES", "0")
            with lock.while_idle("letta"):
                assert letta_source.load(server).code == 2
        else:
            _away(patch, 401, {"detail": "Unauthorized"})
            assert letta_source.load(server).code == 2
    assert not journal(letta_source).exists()


def test_the_journal_keeps_the_last_runs_of_a_long_outage(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_log, "_MOST_RUNS", 3)
    monkeypatch.setattr(load_log, "_AT_ONCE", 2)
    monkeypatch.setenv("SOURCES__LETTA__RETRIES", "0")
    letta_source.load(server)
    with monkeypatch.context() as patch:
        _away(patch, 401, {"detail": "Unauthorized"})
        for _ in range(5):
            letta_source.load(server)
    letta_source.load(server)
    assert len(set(logged(letta_source, "run_id"))) == 1 + 3 + 1
