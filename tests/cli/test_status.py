"""`letta-source status`: its output about a warehouse, the last runs, and a running load."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from letta_source.demo import Letta, Server
from letta_source.loading import load_log, run, workspace
from letta_source.loading.lock import pipeline_lock
from letta_source.loading.target import Target
from tests.support.command import SOME, Command, messages

pytestmark = pytest.mark.whole


def told(letta_source: Command, *options: str) -> dict[str, Any]:
    said = letta_source("status", "--json", *options)
    assert (said.code, said.err) == (0, "")
    found: dict[str, Any] = json.loads(said.out)
    return found


def of_resources(found: dict[str, Any], name: str) -> dict[str, Any]:
    return {one["resource"]: one[name] for one in found["resources"] if one["rows"] is not None}


def test_it_shows_where_the_data_is_and_how_fresh(
    letta_source: Command, letta: Letta, server: Server
) -> None:
    for _ in range(2):
        letta_source.load(server)
    server.requests.clear()
    found = told(letta_source)
    # It needs no Letta server.
    assert server.requests == []
    assert str(letta_source.folder / "letta_db.duckdb") in found["where"]
    assert found["schema_version"] >= 1
    assert (found["running"], found["pending"], found["not_written"], found["issues"]) == ([], [], [], [])
    assert of_resources(found, "rows") == {"agents": 2, "agent_messages": messages(letta)}
    newest = letta_source.rows("SELECT max(created_at) FROM letta.agent_messages")
    assert [(datetime.fromisoformat(of_resources(found, "newest")["agent_messages"]),)] == newest
    read_at = datetime.fromisoformat(of_resources(found, "read_at")["agents"])
    assert timedelta() < datetime.now(timezone.utc) - read_at < timedelta(minutes=5)
    newer, older = found["runs"]
    assert newer["began_at"] > older["ended_at"] > older["began_at"]
    assert [one["outcome"] for one in (newer, older)] == ["loaded"] * 2
    assert older["rows"] > newer["rows"]
    assert older["host"] == server.base_url


def test_it_is_readable_for_people(letta_source: Command, letta: Letta, server: Server) -> None:
    letta.poison(next(reversed(letta.messages.rows)))
    letta_source.load(server)
    said = letta_source("status")
    assert (said.code, said.err) == (0, "")
    assert "letta_db.duckdb" in said.out
    assert "nothing" in said.out
    assert " incremental  incomplete " in said.out
    assert "Unreadable when last tried: 1:" in said.out
    agent_id = next(reversed(letta.messages.rows.values())).agent_id
    assert f"agent_messages: {agent_id} unreadable" in said.out


def test_only_the_last_runs_are_shown(letta_source: Command, server: Server) -> None:
    for _ in range(6):
        letta_source("run", "--base-url", server.base_url, "--resources", "agents")
    runs = told(letta_source)["runs"]
    began = letta_source.rows("SELECT DISTINCT began_at FROM letta.load_log ORDER BY 1 DESC")
    assert [datetime.fromisoformat(one["began_at"]) for one in runs] == [row[0] for row in began[:5]]


def test_a_warehouse_without_load_log_shows_loads_only(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_log, "write", lambda *of_run: None)
    for _ in range(2):
        letta_source.load(server)
    found = told(letta_source)
    assert found["has_log"] is False
    loads = letta_source.rows("SELECT load_id FROM letta._dlt_loads ORDER BY 1 DESC")
    assert [one["run_id"] for one in found["runs"]] == [row[0] for row in loads]
    assert {one["mode"] for one in found["runs"]} == {None}
    assert of_resources(found, "rows")["agents"] == 2
    assert "without load_log" in letta_source("status").out


@pytest.mark.parametrize("shard", [None, "1/2"])
def test_a_running_load_is_shown(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, shard: str | None
) -> None:
    options = ("--shard", shard) if shard else ()
    seen: list[dict[str, Any]] = []
    load_packages = run.load_packages

    def looking(*parts: Any) -> None:
        seen.append(told(letta_source))
        load_packages(*parts)

    letta_source.load(server, *options)
    monkeypatch.setattr(run, "load_packages", looking)
    letta_source.load(server, *options)
    (found,) = seen
    name = "letta_shard_1_of_2" if shard else "letta"
    assert found["running"] == [name]
    assert [(one["outcome"], one["shard"]) for one in found["not_written"]] == [("running", shard)]
    after = told(letta_source)
    assert (after["running"], after["not_written"]) == ([], [])


def test_a_file_that_is_being_written_is_not_an_error(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one process at a time can open a DuckDB file for writing."""
    from letta_source.errors import ConfigError

    letta_source.load(server)

    def locked(self: Target, *of_check: Any) -> None:
        raise ConfigError("duckdb cannot be opened: Could not set lock on file")

    monkeypatch.setattr(Target, "check", locked)
    target = Target("letta", "duckdb", "letta").resolved()
    assert letta_source("status").code == 2
    with pipeline_lock(target):
        said = letta_source("status")
        found = told(letta_source)
    assert said.code == 0
    assert "Could not set lock" in said.out
    assert (found["running"], found["runs"]) == (["letta"], [])


def test_the_contents_of_a_pending_package_are_shown(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def full(self: Any) -> None:
            raise OSError("no space left")

        letta_source.load(server)
        letta.talk(next(iter(letta.tables["agents"].rows)), "more")
        patch.setattr(workspace.Workspace, "_load", full)
        assert letta_source.load(server).code == 1
    found = told(letta_source)
    (package,) = found["pending"]
    assert (package["pipeline"], package["stage"]) == ("letta", "normalized")
    assert package["rows"]["agents"] == 2
    assert package["rows"]["agent_messages"] > 0
    assert [one["outcome"] for one in found["not_written"]] == ["failed"]
    said = letta_source("status").out
    assert package["load_id"] in said
    assert "the next run loads it" in said
    letta_source.load(server)
    after = told(letta_source)
    assert (after["pending"], after["not_written"]) == ([], [])
    assert [one["outcome"] for one in after["runs"]] == ["loaded", "failed", "loaded"]


def test_an_empty_dataset_is_an_error(letta_source: Command) -> None:
    said = letta_source("status")
    assert (said.code, said.out) == (2, "")
    assert "`letta-source run` creates it" in said.err
    # It creates no file and no folder.
    assert letta_source.files() == []


def test_files_have_a_status_too(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake: Path = letta_source.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", lake.as_uri())
    files = ("--destination", "filesystem")
    for _ in range(2):
        assert letta_source("run", "--base-url", server.base_url, *SOME, *files).code == 0
    found = told(letta_source, *files)
    assert len(found["runs"]) == 2
    assert of_resources(found, "rows") == {"agents": 2, "agent_messages": messages(letta)}
    assert found["schema_version"] >= 1
