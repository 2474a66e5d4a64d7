"""A load killed between the two moves by which dlt hands a package to its next step."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.common.storages import FileStorage, PackageStorage
from dlt.extract.extract import Extract

from letta_source.demo import Letta, Server
from tests.support.command import Command, messages, one_of


def stop(*_: Any, **__: Any) -> None:
    raise InterruptedError


def stop_with_half_of_it_deleted(storage: PackageStorage, load_id: str, **_: Any) -> None:
    shutil.rmtree(Path(storage.storage.storage_path, load_id, "new_jobs"))
    raise InterruptedError


def stop_before_the_move(storage: FileStorage, source: str, target: str) -> None:
    if target.startswith("loaded"):
        raise InterruptedError
    storage.atomic_rename(source, target)


@pytest.mark.parametrize(
    ("owner", "name", "killed"),
    [
        (PackageStorage, "delete_package", stop),
        (PackageStorage, "delete_package", stop_with_half_of_it_deleted),
        (FileStorage, "rename_tree", stop_before_the_move),
    ],
)
def test_the_next_load_goes_on(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    killed: Any,
) -> None:
    with monkeypatch.context() as patch:
        if owner is PackageStorage:
            # Before it was normalized too, it deletes what an earlier try left.
            real = PackageStorage.delete_package

            def delete(storage: PackageStorage, load_id: str, not_exists_ok: bool = False) -> None:
                (real if not_exists_ok else killed)(storage, load_id, not_exists_ok=not_exists_ok)

            patch.setattr(owner, name, delete)
        else:
            patch.setattr(owner, name, killed)
        assert letta_source.load(server).code == 1
    said = letta_source.load(server)
    assert (said.code, said.errors) == (0, ["info: an earlier load was left unfinished: finishing it first"])
    assert letta_source.count("agent_messages") == messages(letta)


def test_a_package_whose_schema_was_not_kept_is_loaded(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    letta_source.load(server, "--resources", "agents")
    with monkeypatch.context() as patch:
        commit = Extract.commit_packages
        patch.setattr(Extract, "commit_packages", lambda extract: stop(commit(extract)))
        assert letta_source.load(server).code == 1
    letta.delete_message(letta.list_of("agent", one_of(letta)).ids()[0])
    said = letta_source.load(server, "--resources", "agents")
    assert (said.code, said.errors) == (0, ["info: an earlier load was left unfinished: finishing it first"])
    assert letta_source.count("agent_messages") > messages(letta)


@pytest.mark.parametrize("left", ["normalize/1b2c/rows.parquet", "schemas/0123456789abcdef"])
def test_what_was_being_written_at_a_kill_leaves_the_disk(
    letta_source: Command, server: Server, left: str
) -> None:
    letta_source.load(server)
    file = letta_source.folder / "dlt" / "pipelines" / "letta" / left
    file.parent.mkdir(exist_ok=True)
    file.touch()
    said = letta_source.load(server)
    assert said.code == 0, said.err
    assert not file.exists()


def test_what_a_load_that_was_killed_elsewhere_left_is_replaced(
    letta_source: Command, letta: Letta, server: Server
) -> None:
    """Its tables were merged, but its state was not kept; and a message lost its calls since."""
    letta_source.load(server)
    with duckdb.connect("letta_db.duckdb") as connection:
        for table in ("_dlt_pipeline_state", "_dlt_loads"):
            connection.execute(f"DELETE FROM letta.{table}")
    shutil.rmtree(letta_source.folder / "dlt")
    calling = next(
        message.id
        for message in letta.messages.rows.values()
        if any("tool_calls" in item for item in message.items)
    )
    letta.replace_items(calling, [{"message_type": "assistant_message", "content": "no more"}])
    assert letta_source.load(server).code == 0
    calls = letta_source.rows("SELECT message_id FROM letta.agent_messages__tool_calls")
    assert calls
    assert (calling,) not in calls
