"""A load killed between the two moves that hand a package to dlt's next step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlt.common.schema import Schema
from dlt.common.schema.utils import new_table
from dlt.common.storages import FileStorage, PackageStorage
from dlt.extract.extract import Extract

from letta_source.demo import Letta, Server
from letta_source.loading.recovery import drop_empty, mend_after_kill
from tests.support.command import Command, messages, one_of
from tests.support.first_loads import Loaded

pytestmark = pytest.mark.whole


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
def test_the_next_load_continues(
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
            # dlt also deletes before normalizing, namely what an earlier try left; that must work.
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


def test_a_package_whose_schema_was_not_saved_is_loaded(
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
def test_files_being_written_at_a_kill_are_deleted(loaded: Loaded, left: str) -> None:
    letta_source, _, server = loaded
    file = letta_source.folder / "dlt" / "pipelines" / "letta" / left
    file.parent.mkdir(exist_ok=True)
    file.touch()
    said = letta_source.load(server)
    assert said.code == 0, said.err
    assert not file.exists()


def test_rows_of_a_load_killed_elsewhere_are_replaced(loaded: Loaded) -> None:
    """Its tables were merged, its state was not stored, and since then a message lost its calls."""
    letta_source, letta, server = loaded
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


def test_each_package_is_repaired_according_to_its_stage(tmp_path: Path) -> None:
    """Only packages that dlt cannot continue with are deleted."""
    pipeline = dlt.pipeline("mended", pipelines_dir=str(tmp_path), destination="duckdb", dataset_name="letta")
    folder = Path(pipeline.working_dir)
    extracted, normalized = folder / "normalize" / "extracted", folder / "load" / "normalized"

    def package(at: Path, name: str, *parts: str) -> Path:
        made = at / name
        for part in ("new_jobs", *parts):
            (made / part).mkdir(parents=True, exist_ok=True)
        (made / "new_jobs" / "rows.parquet").touch()
        schema = Schema("letta")
        (made / "schema.json").write_text(json.dumps(schema.to_dict()))
        return made

    whole, later = package(extracted, "1.0"), package(extracted, "5.0")
    headless = package(extracted, "2.0")
    (headless / "schema.json").unlink()
    emptied = package(extracted, "3.0")
    shutil.rmtree(emptied / "new_jobs")
    both, done = package(extracted, "4.0"), package(normalized, "4.0")
    marked = package(normalized, "6.0")
    (marked / "package_completed.json").touch()
    (folder / "normalize" / "half").mkdir()
    mend_after_kill(pipeline)
    assert sorted(extracted.iterdir()) == [whole, later]
    assert sorted((folder / "normalize").glob("*/")) == [extracted]
    assert sorted(normalized.iterdir()) == [done, marked]
    assert not (marked / "package_completed.json").exists()
    for one in (whole, later, done, marked):
        assert (one / "new_jobs" / "rows.parquet").exists()
        assert (one / "schema.json").exists()
    assert [one for one in (headless, emptied, both) if one.exists()] == []
    assert "letta" in pipeline.schemas


@pytest.mark.parametrize(("kept", "extracted", "after"), [(1, 2, 2), (2, 1, 2), (2, 2, 2), (None, 1, 1)])
def test_the_newer_schema_is_kept(tmp_path: Path, kept: int | None, extracted: int, after: int) -> None:
    pipeline = dlt.pipeline("mended", pipelines_dir=str(tmp_path), destination="duckdb", dataset_name="letta")

    def schema(version: int) -> Schema:
        made = Schema("letta")
        for number in range(version):
            stored: Any = made.to_dict()
            made = Schema.from_dict(stored)
            made.update_table(new_table(f"table_{number}"))
        return made

    if kept:
        pipeline.schemas.save_schema(schema(kept))
    package = Path(pipeline.working_dir) / "normalize" / "extracted" / "1.0"
    (package / "new_jobs").mkdir(parents=True)
    (package / "schema.json").write_text(json.dumps(schema(extracted).to_dict()))
    mend_after_kill(pipeline)
    found = pipeline.schemas["letta"]
    assert len([name for name in found.tables if name.startswith("table_")]) == after


def test_only_files_without_rows_are_deleted(tmp_path: Path) -> None:
    pipeline = dlt.pipeline(
        "emptied", pipelines_dir=str(tmp_path), destination="duckdb", dataset_name="letta"
    )
    jobs = Path(pipeline.working_dir) / "load" / "normalized" / "1.0" / "new_jobs"
    jobs.mkdir(parents=True)
    for name, values in {"none": [], "null": [None], "rows": ["a", "b"]}.items():
        pq.write_table(pa.table({"id": pa.array(values, pa.string())}), jobs / f"{name}.parquet")
    (jobs / "state.jsonl").touch()
    drop_empty(pipeline)
    assert sorted(file.name for file in jobs.iterdir()) == ["null.parquet", "rows.parquet", "state.jsonl"]


def test_only_the_last_loaded_package_is_kept(letta_source: Command, server: Server) -> None:
    for _ in range(3):
        letta_source.load(server, "--resources", "agents")
        loaded = sorted((letta_source.folder / "dlt/pipelines/letta/load/loaded").iterdir())
        newest = letta_source.rows("SELECT max(load_id) FROM letta._dlt_loads")
        assert [folder.name for folder in loaded] == [newest[0][0]]
