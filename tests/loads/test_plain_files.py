"""Plain files: those of a load that was killed elsewhere are deleted, those of completed loads stay."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from letta_source.demo import Letta, Server
from tests.support.command import Command, ago, messages, one_of

pytestmark = pytest.mark.whole

FILES = ("--destination", "filesystem")
TABLES = ("agent_messages", "agent_messages__content", "load_issues")


@pytest.fixture
def lake(letta_source: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = letta_source.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", folder.as_uri())
    return folder / "letta"


def loads(lake: Path) -> list[str]:
    """Return the ids of completed loads, oldest first."""
    return sorted(file.stem.rpartition("__")[2] for file in (lake / "_dlt_loads").glob("letta__*"))


def kill(lake: Path, load_ids: Sequence[str]) -> None:
    """Make completed loads look unfinished, with their working folder gone."""
    for load_id in load_ids:
        for file in list(lake.rglob(f"*{load_id}*")):
            if file.parent.name.startswith("_dlt_"):
                file.unlink()
    shutil.rmtree(lake.parent.parent / "dlt")


def files_of(lake: Path, load_id: str) -> list[Path]:
    return sorted(file for file in lake.rglob(f"*{load_id}*") if file.parent.name in TABLES)


def ids(lake: Path, table: str, column: str) -> list[str]:
    return [
        one for file in (lake / table).glob("*.parquet") for one in pq.read_table(file)[column].to_pylist()
    ]


def is_whole(lake: Path, letta: Letta) -> bool:
    """Return True if each message is there once, with its content."""
    said = ids(lake, "agent_messages__content", "message_id")
    told = [one.id for one in letta.messages.rows.values() for item in one.items if item.get("content")]
    return len(ids(lake, "agent_messages", "id")) == messages(letta) and sorted(said) == sorted(told)


@pytest.mark.parametrize("killed", [(-1,), (0,), (1,), (0, -1), (0, 1, 2)], ids=str)
def test_files_of_loads_that_never_finished_are_replaced(
    letta_source: Command, letta: Letta, server: Server, lake: Path, killed: tuple[int, ...]
) -> None:
    """Any of several loads may be unfinished; roots and children are treated alike."""
    for _ in range(3):
        letta.add_message(one_of(letta), date=ago(hours=1))
        assert letta_source.load(server, *FILES).code == 0
    assert is_whole(lake, letta)
    before = loads(lake)
    gone = [before[place] for place in killed]
    kept = {load_id: files_of(lake, load_id) for load_id in before if load_id not in gone}
    assert all(files_of(lake, load_id) for load_id in before)
    kill(lake, gone)
    letta.add_message(one_of(letta), date=ago(hours=1))
    assert letta_source.load(server, *FILES).code == 0
    assert [file for load_id in gone for file in files_of(lake, load_id)] == []
    assert {load_id: files_of(lake, load_id) for load_id in kept} == kept


def test_rows_of_an_unfinished_load_are_read_again(
    letta_source: Command, letta: Letta, server: Server, lake: Path
) -> None:
    for _ in range(2):
        letta.add_message(one_of(letta), date=ago(hours=1))
        assert letta_source.load(server, *FILES).code == 0
    kill(lake, loads(lake)[-1:])
    assert letta_source.load(server, *FILES).code == 0
    assert is_whole(lake, letta)


def test_a_working_folder_with_earlier_loads_deletes_nothing(
    letta_source: Command, letta: Letta, server: Server, lake: Path
) -> None:
    """Another pipeline may be loading, which nothing there would show."""
    assert letta_source.load(server, *FILES).code == 0
    foreign = lake / "agent_messages" / "1900000000.5.abcdef.parquet"
    shutil.copy(next(iter((lake / "agent_messages").glob("*.parquet"))), foreign)
    assert letta_source.load(server, *FILES).code == 0
    assert foreign.exists()


def keys(lake: Path, table: str, *columns: str) -> list[tuple[object, ...]]:
    files = (lake / table).glob("*.parquet")
    tables = [pq.read_table(file).select(columns) for file in files]
    return [tuple(row.values()) for one in tables for row in one.to_pylist()]


@pytest.mark.parametrize("again", [(), ("--refresh",)], ids=["vanished cursors", "refresh"])
def test_a_parent_read_again_adds_only_new_rows(
    letta_source: Command, letta: Letta, server: Server, lake: Path, again: tuple[str, ...]
) -> None:
    """Two agents lose the message of their cursor, so the rows of each are looked up in the destination."""
    every = (*FILES, "--resources", "agents,agent_messages,runs,steps,step_messages", *again)
    assert letta_source.load(server, *every).code == 0
    held = keys(lake, "agent_messages", "agent_id", "id", "position")
    assert held
    news = []
    for agent in letta.tables["agents"].ids():
        letta.delete_message(letta.list_of("agent", agent).ids()[-1])
        news.append(letta.add_message(agent, date=ago(hours=1)))
    assert letta_source.load(server, *every).code == 0
    found = keys(lake, "agent_messages", "agent_id", "id", "position")
    assert len(set(found)) == len(found) == len(held) + len(news)
    assert {row[1] for row in found} - {row[1] for row in held} == set(news)
    for table, *key in (("runs", "id"), ("steps", "id"), ("step_messages", "step_id", "id", "position")):
        rows = keys(lake, table, *key)
        assert len(set(rows)) == len(rows) > 0
