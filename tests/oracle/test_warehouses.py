"""Loads continue from warehouses of commit cc101f0: nothing is lost, doubled or read twice."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from letta_source.demo import Letta, Server, serve
from tests.oracle import kept
from tests.oracle.additions import COVERED, comparable
from tests.oracle.cases import (
    CASES,
    ENVIRONMENT,
    Case,
    asked_of,
    asked_too_much,
    columns_of_then,
    rows_of,
)
from tests.oracle.story import DAYS, Story
from tests.support.processes import started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is kept belongs to /proc/self/cwd")

KEPT = kept.warehouses()
# Other cases most likely cover the same.
_LONG = {"first extracted", "first normalized", "files begun", "unreadable"}


def load(case: Case, folder: Path, server: Server, more: str = "") -> None:
    for options in case.runs:
        process = started(folder, f"run --base-url {server.base_url} {options} {more}", ENVIRONMENT)
        process.join()
        said = (folder / "said").read_text()
        assert process.exitcode == (3 if case.poisoned == "still" else 0), said


def assert_same_rows(case: Case, folder: Path) -> None:
    before, after = KEPT["rows"][case.rows], rows_of(case, folder)
    assert after.keys() == before.keys()
    for table, columns in columns_of_then().items():
        # Columns that were unmasked then are masked now.
        hidden = {name for name in columns if case.rows == "masked" and (table, name) in COVERED}
        then, now = (
            Counter(
                tuple(
                    None if name in hidden else comparable(table, name, value)
                    for name, value in zip(columns, row, strict=True)
                )
                for row in held.get(table, ())
            )
            for held in (before, after)
        )
        assert (list((then - now).elements()), list((now - then).elements())) == ([], []), table


def assert_in_order(letta: Letta, case: Case, folder: Path) -> None:
    """Assert that `sequence` sorts an agent's messages as the server does, whichever version loaded them."""
    rows = case.place(folder).rows("agent_messages", "agent_id", "sequence", "id")
    for agent_id in letta.tables["agents"].ids():
        numbered = sorted((row[1], row[2]) for row in rows if row[0] == agent_id)
        assert list(dict.fromkeys(one for _, one in numbered)) == letta.list_of("agent", agent_id).ids()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.proof if name in _LONG else pytest.mark.whole) for name in CASES],
)
def test_loads_continue_from_old_warehouses(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    kept.unpack(case.left or name, tmp_path)
    story = Story()
    for _ in range(1, DAYS):
        story.day()
    if case.poisoned == "still":
        story.letta.poison(story.unreadable)
    with serve(story.letta) as server:
        load(case, tmp_path, server)
        assert asked_too_much(asked_of(server), KEPT["asked"][name]) == []
    assert_same_rows(case, tmp_path)
    if not case.poisoned:
        assert_in_order(story.letta, case, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("whole", marks=pytest.mark.whole),
        pytest.param("masked", marks=pytest.mark.proof),
        pytest.param("delta", marks=pytest.mark.proof),
    ],
)
def test_a_continued_warehouse_equals_a_first_load(name: str, tmp_path: Path) -> None:
    story = Story()
    for _ in range(1, DAYS):
        story.day()
    with serve(story.letta) as server:
        load(CASES[name], tmp_path, server, f"--batch-id {story.batches[0]}")
    assert_same_rows(CASES[name], tmp_path)


@pytest.mark.whole
def test_an_unfinished_load_of_the_old_version_leaves_nothing_staged_under_masks(tmp_path: Path) -> None:
    kept.unpack("first begun", tmp_path)
    assert staged(tmp_path) > 0
    with serve(Story().letta) as server:
        load(CASES["first begun"], tmp_path, server, "--mask content=redact")
    assert staged(tmp_path) == 0


def staged(folder: Path) -> int:
    """Return how many reasoning texts the staging dataset of that commit holds."""
    with duckdb.connect(str(folder / "letta_db.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT count(reasoning) FROM letta_staging.step_messages").fetchall()
    return int(rows[0][0])
