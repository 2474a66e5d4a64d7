"""A load from the command line: its output, its exit code, and how the next one continues."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import duckdb
import pytest
from dlt.destinations.impl.duckdb.duck import DuckDbClient

from letta_source.demo import Letta, Server, serve
from letta_source.demo.api import Answer, answer
from tests.support.command import SOME, Command, ago, messages, one_of
from tests.support.first_loads import Loaded
from tests.support.paths import ROOT

pytestmark = pytest.mark.whole


def before_answers(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], Answer | None]) -> None:
    """Call `act` with the path of each request; what it returns, unless None, is the response."""

    def acting(letta: Letta, dialect: Any, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        return act(path) or answer(letta, dialect, method, path, *args, **kwargs)

    monkeypatch.setattr("letta_source.demo.server.answer", acting)


def test_the_summary_counts_added_rows(letta_source: Command, letta: Letta, server: Server) -> None:
    first = letta_source.load(server)
    assert (first.code, first.errors) == (0, [])
    head, *rows = first.out.splitlines()
    assert head.split("  ")[0] == "resource"
    assert head.split() == ["resource", "parents", "new", "items", "requests", "seconds", "problems"]
    assert [row.split()[0] for row in rows] == ["agents", "agent_messages"]
    agents, of_messages = (row.split() for row in rows)
    assert agents[1:3] == ["-", "2"]
    assert of_messages[1:3] == ["2", str(messages(letta))]
    assert int(agents[3]) + int(of_messages[3]) == len(server.requests) - 1
    assert (agents[5], of_messages[5]) == ("0", "0")
    # The overlap is read again, but nothing is added.
    assert letta_source.load(server).column("new") == {"agents": "0", "agent_messages": "0"}
    letta.add_message(one_of(letta))
    assert letta_source.load(server).column("new") == {"agents": "0", "agent_messages": "1"}
    assert letta_source.count("agent_messages") == messages(letta)


def test_the_last_states_are_kept(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__LETTA__KEEP_STATES", "1")
    states = set()
    # Messages within the overlap move no cursor.
    for hours in (4, 3):
        letta.add_message(one_of(letta), date=ago(hours=hours))
        assert letta_source.load(server).errors == []
        ((newest,),) = letta_source.rows("SELECT _dlt_load_id FROM letta._dlt_pipeline_state")
        states.add(newest)
    assert len(states) == 2

    def fail(pipeline: object, keep: int) -> int:
        raise OSError("no DELETE for you")

    monkeypatch.setattr("letta_source.loading.workspace.drop_old_states", fail)
    letta.add_message(one_of(letta), date=ago(hours=2))
    said = letta_source.load(server)
    assert (said.code, said.errors) == (
        0,
        ["warning: old rows of _dlt_pipeline_state could not be dropped: OSError: no DELETE for you"],
    )


def test_the_state_is_restored_from_the_warehouse(loaded: Loaded) -> None:
    letta_source, letta, server = loaded
    letta.add_message(one_of(letta))
    shutil.rmtree(letta_source.folder / "dlt")
    server.requests.clear()
    assert letta_source.load(server).column("new") == {"agents": "0", "agent_messages": "1"}
    first = next(
        request for request in server.requests if request.path == f"/v1/agents/{one_of(letta)}/messages"
    )
    assert "after" in first.params


def test_a_deleted_warehouse_is_filled_again(letta_source: Command, letta: Letta, server: Server) -> None:
    for _ in range(2):
        letta_source.load(server)
        assert letta_source.count("agent_messages") == messages(letta)
        (letta_source.folder / "letta_db.duckdb").unlink()


def test_unreadable_items_are_named(letta_source: Command, letta: Letta, server: Server) -> None:
    agent_id, bad = one_of(letta), next(reversed(letta.messages.rows))
    letta.poison(bad)
    said = letta_source.load(server)
    assert said.code == 3
    assert said.column("problems") == {"agents": "0", "agent_messages": "1"}
    assert said.errors[-1] == "1 could not be read: see load_issues"
    warnings = [line for line in said.errors if line.startswith("warning: ")]
    rows = letta_source.rows("SELECT resource, parent_id, kind, detail, after_id FROM letta.load_issues")
    assert [tuple(row[:3]) for row in rows] == [
        ("agent_messages", letta.messages.rows[bad].agent_id, "unreadable")
    ]
    # It is the agent's newest message, in which the server looks for pending approvals.
    [relation, message] = warnings
    assert "cannot return agent.pending_approval for every item" in relation
    for value in rows[0]:
        assert str(value) in message
    assert agent_id not in message
    letta.cure(bad)
    said = letta_source.load(server)
    assert (said.code, said.column("problems")) == (0, {"agents": "0", "agent_messages": "0"})
    assert letta_source.count("agent_messages") == messages(letta)


def test_a_key_revoked_in_the_middle_leaves_the_rest_unread(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        before_answers(patch, lambda path: Answer(401, {"detail": "revoked"}) if "messages" in path else None)
        said = letta_source.load(server)
    assert (said.code, said.column("new")) == (1, {"agents": "2", "agent_messages": "0"})
    # The key worked before, so a refusal may concern one agent only.
    *warnings, last = said.errors
    assert all(line.endswith("/messages: 401: the key may not read this: revoked") for line in warnings)
    assert (len(warnings), last) == (
        2,
        "letta-source: agent_messages: 2 of 2 could not be read: see load_issues",
    )
    assert letta_source.load(server).code == 0
    assert letta_source.count("agent_messages") == messages(letta)


def test_a_server_that_goes_away_ends_the_load(
    letta_source: Command, letta: Letta, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    with monkeypatch.context() as patch, ExitStack() as stack:
        server = stack.enter_context(serve(letta))

        def leave() -> None:
            asked.wait()
            stack.close()

        leaving = threading.Thread(target=leave)
        leaving.start()

        def slow(path: str) -> None:
            if "/messages" in path:
                asked.set()
                leaving.join(timeout=5)

        before_answers(patch, slow)
        said = letta_source.load(server, "--max-workers", "1")
    assert (said.code, said.column("new")) == (1, {"agents": "2", "agent_messages": "0"})
    assert said.errors[-1] == (
        f"letta-source: {server.base_url} cannot be reached: the connection was refused:"
        " is the port right, is the server up?"
    )
    assert "Traceback" not in said.err


def in_a_process(server: Server, *options: str) -> subprocess.CompletedProcess[str]:
    """Run in a subprocess, with dlt's default log level."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    del environment["RUNTIME__LOG_LEVEL"]
    command = [
        sys.executable,
        "-m",
        "letta_source",
        "run",
        "--base-url",
        server.base_url,
        *SOME,
        *options,
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_refused_rows_end_the_load_without_a_traceback(letta_source: Command, server: Server) -> None:
    with duckdb.connect("letta_db.duckdb") as connection:
        connection.execute("CREATE SCHEMA letta; CREATE TABLE letta.agents (name integer[])")
    failed = in_a_process(server, "--resources", "agents")
    assert (failed.returncode, failed.stdout) == (1, "")
    [said] = [line for line in failed.stderr.splitlines() if "Z info: " not in line]
    assert said.startswith("letta-source: ConversionException: Conversion Error: ")


def test_a_pending_package_is_finished_first(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, ExitStack() as held:

        def lock(path: str) -> None:
            # The load has begun: this process now keeps it out of the file.
            if path.endswith("/messages"):
                held.enter_context(duckdb.connect("letta_db.duckdb"))

        before_answers(patch, lock)
        failed = in_a_process(server)
    assert (failed.returncode, failed.stdout) == (1, "")
    [line] = [line for line in failed.stderr.splitlines() if "Z info: " not in line]
    assert line.startswith(f"letta-source: {os.path.abspath('letta_db.duckdb')} is in use by ")
    server.requests.clear()
    letta.add_message(one_of(letta))
    said = letta_source.load(server)
    assert (said.code, said.errors) == (0, ["info: an earlier load was left unfinished: finishing it first"])
    # All but the new message were in the pending package.
    assert said.column("new") == {"agents": "0", "agent_messages": "1"}
    assert letta_source.count("agent_messages") == messages(letta)


def test_resources_and_destination_are_chosen(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "bucket").as_uri())
    said = letta_source.load(server, "--resources", " agents ", "--destination", "filesystem")
    assert said.code == 0
    assert said.errors == [
        "info: filesystem can only append rows: each item is loaded once, when it is complete and older than"
        " 0:10:00"
    ]
    assert said.column("new") == {"agents": "2"}
    assert list((letta_source.folder / "bucket" / "letta" / "agents").iterdir())


def test_the_summary_shows_missing_families(letta_source: Command, letta: Letta) -> None:
    with serve(letta, missing=["groups"]) as server:
        said = letta_source.load(server, "--resources", "agents,groups")
    assert said.code == 0
    assert said.out.splitlines()[-1].split() == ["groups", "groups", "missing"]


def test_the_scheduled_load_has_the_same_exit_codes(
    letta_source: Command, letta: Letta, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = letta.add_message(one_of(letta))
    # It loads every resource, so fewer of them are faster.
    with serve(letta, missing=["groups", "runs", "steps", "conversations", "batches"]) as server:
        monkeypatch.setenv("LETTA_BASE_URL", server.base_url)
        monkeypatch.setattr(sys, "argv", ["letta_pipeline.py"])
        for change, code in ((letta.poison, 3), (letta.cure, 0)):
            change(bad)
            with pytest.raises(SystemExit) as left:
                runpy.run_path(str(ROOT / "pipelines" / "letta_pipeline.py"), run_name="__main__")
            assert left.value.code == code
    assert letta_source.count("agent_messages") == messages(letta)


def test_ctrl_c_stops_a_load(letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(sent: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("letta_source.extract.collect.split_page", stop)
    said = letta_source.load(server)
    assert (said.code, said.out) == (130, "")
    assert said.errors == ["letta-source: stopped"]


def test_the_state_of_shards_of_another_count_is_read_once(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a large fleet, reading all states in each load would cost a shard as much as sharding saves.
    read: list[str] = []
    stored = DuckDbClient.get_stored_state

    def noted(self: DuckDbClient, pipeline_name: str) -> Any:
        read.append(pipeline_name)
        return stored(self, pipeline_name)

    def load(shard: str) -> list[str]:
        letta.add_message(one_of(letta))
        assert letta_source.load(server, "--shard", shard).code == 0
        monkeypatch.setattr(DuckDbClient, "get_stored_state", noted)
        read.clear()
        assert letta_source.load(server, "--shard", shard).code == 0
        own = "letta" if shard == "0/1" else f"letta_shard_{shard.replace('/', '_of_')}"
        return sorted({*read} - {own})

    assert [load(shard) for shard in ("0/1", "0/2", "1/2")] == [[], [], []]
    letta.add_message(one_of(letta))
    read.clear()
    letta_source.load(server, "--shard", "0/1")
    assert {*read} >= {"letta_shard_0_of_2", "letta_shard_1_of_2"}
    assert letta_source.count("agent_messages") == messages(letta)
