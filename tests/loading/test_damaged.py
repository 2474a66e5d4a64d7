"""A working folder that a power failure left incomplete is discarded; the state in the destination counts."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from letta_source.demo import Letta, Server
from letta_source.errors import ExitCode, LettaError
from letta_source.loading.error_text import in_one_line, one_line
from letta_source.loading.recovery import discard_if_damaged
from tests.support.command import SOME, Command, one_of

STATE = {"_state_engine_version": 4, "schema_names": ["letta"], "_local": {}}
SCHEMA = {"engine_version": 11, "name": "letta", "tables": {}}
EXTRACTED, NORMALIZED = "normalize/extracted/1.5", "load/normalized/1.25"
ROWS = f"{NORMALIZED}/started_jobs/agents.0a1b2c3d4e.0.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a working folder with a package at each stage."""
    folder = tmp_path / "letta"
    for name, content in {
        "state.json": STATE,
        "schemas/letta.schema.json": SCHEMA,
        f"{EXTRACTED}/schema.json": SCHEMA,
        f"{EXTRACTED}/load_package_state.json": {"_state_version": 1},
        f"{NORMALIZED}/schema.json": SCHEMA,
        f"{NORMALIZED}/load_package_state.json": {},
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    # dlt's mark has no content.
    (folder / NORMALIZED / "package_completed.json").touch()
    (folder / ROWS).parent.mkdir()
    pq.write_table(pa.table({"id": ["agent-1"]}), folder / ROWS)
    return folder


def test_an_undamaged_folder_is_kept(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = sorted(folder.rglob("*"))
    discard_if_damaged(folder)
    assert sorted(folder.rglob("*")) == before
    assert caplog.records == []


@pytest.mark.parametrize("left", ["nothing", "schemas"])
def test_a_new_folder_is_kept(tmp_path: Path, left: str) -> None:
    (tmp_path / "schemas").mkdir()
    discard_if_damaged(tmp_path / "missing" if left == "nothing" else tmp_path)
    assert (tmp_path / "schemas").is_dir()


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def of_zeros(file: Path) -> None:
    """Leave its length, as ext4 and XFS may."""
    file.write_bytes(bytes(file.stat().st_size))


def other_json(file: Path) -> None:
    file.write_text('["not", "an", "object"]')


@pytest.mark.parametrize("damage", [cut, empty, of_zeros, other_json])
@pytest.mark.parametrize(
    "name",
    [
        "state.json",
        "schemas/letta.schema.json",
        f"{EXTRACTED}/schema.json",
        f"{EXTRACTED}/load_package_state.json",
        f"{NORMALIZED}/schema.json",
        ROWS,
    ],
)
def test_a_folder_with_an_incomplete_file_is_discarded(
    folder: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], name: str
) -> None:
    damage(folder / name)
    with caplog.at_level(logging.WARNING):
        discard_if_damaged(folder)
    assert not folder.exists()
    [record] = caplog.records
    assert name in record.getMessage()


@pytest.mark.parametrize("name", ["state.json", "schemas/letta.schema.json"])
def test_files_must_have_the_fields_that_dlt_needs(folder: Path, name: str) -> None:
    (folder / name).write_text("{}")
    discard_if_damaged(folder)
    assert not folder.exists()


def test_schemas_named_by_the_state_must_exist(folder: Path) -> None:
    (folder / "schemas/letta.schema.json").unlink()
    discard_if_damaged(folder)
    assert not folder.exists()


@pytest.mark.whole
@pytest.mark.parametrize("name", ["state.json", "schemas/letta.schema.json"])
def test_loads_continue_from_the_destination(
    letta_source: Command, letta: Letta, server: Server, name: str
) -> None:
    assert letta_source.load(server, *SOME).code == 0
    before = letta_source.count("agent_messages")
    letta.talk(one_of(letta), "what came later")
    empty(letta_source.folder / "dlt" / "pipelines" / "letta" / name)
    said = letta_source.load(server, *SOME)
    assert said.code == 0
    assert "is missing or incomplete" in said.err
    rows = "SELECT count(*), count(DISTINCT (id, sequence)) FROM letta.agent_messages"
    assert letta_source.rows(rows) == [(letta_source.count("agent_messages"),) * 2]
    assert letta_source.count("agent_messages") > before
    assert "incomplete" not in letta_source.load(server, *SOME).err


def test_a_full_disk_is_named_even_if_duckdb_does_not() -> None:
    """Its first error is lost, as dlt asks for more after it."""
    invalidated = "FATAL Error: Failed: database has been invalidated because of a previous fatal error."
    assert one_line(RuntimeError(invalidated)) == f"RuntimeError: {invalidated}: is the disk full?"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("two\nlines")])
def test_a_failure_is_one_line_that_says_what_to_do(error: Exception) -> None:
    with pytest.raises(LettaError) as failed, in_one_line("do it again"):
        raise error
    assert failed.value.exit_code is ExitCode.FAILED
    assert str(failed.value).endswith(": do it again")
    assert "\n" not in str(failed.value)


def damaged(letta_source: Command, server: Server, column: str, nonsense: str) -> list[str]:
    """Load from a new working folder, with nonsense in a column of dlt's; return the errors.

    Once its rows are deleted, a load succeeds.

    Args:
        column: its table and name.
    """
    table, _, name = column.partition(".")
    file = str(letta_source.folder / "letta_db.duckdb")
    assert letta_source.load(server, *SOME).code == 0
    shutil.rmtree(letta_source.folder / "dlt")
    with duckdb.connect(file) as connection:
        connection.execute(f"UPDATE letta.{table} SET {name} = ?", [nonsense])
    said = letta_source.load(server, *SOME)
    assert said.code == 2
    with duckdb.connect(file) as connection:
        connection.execute(f"DELETE FROM letta.{table}")
    assert letta_source.load(server, *SOME).code == 0
    return said.errors


@pytest.mark.whole
@pytest.mark.parametrize("nonsense", ["nonsense", "", "{}", '"text"', "eJyrVgIAAXUA+Q=="])
def test_a_damaged_state_in_the_destination_is_named(
    letta_source: Command, server: Server, nonsense: str
) -> None:
    assert damaged(letta_source, server, "_dlt_pipeline_state.state", nonsense) == [
        "letta-source: letta: the newest state of the pipeline letta in _dlt_pipeline_state is damaged:"
        " restore it from a backup, or delete its row, so that the next run continues from the state before"
        " it and reads again what came since (append-only files would then have these rows twice)"
    ]


@pytest.mark.whole
@pytest.mark.parametrize("nonsense", ["nonsense", "", "{}", "[]", "7"])
def test_a_damaged_schema_in_the_destination_is_named(
    letta_source: Command, server: Server, nonsense: str
) -> None:
    assert damaged(letta_source, server, "_dlt_version.schema", nonsense) == [
        "letta-source: the newest schema in _dlt_version is damaged: restore it from a backup, or delete its"
        " row, so that the next run stores it again"
    ]
