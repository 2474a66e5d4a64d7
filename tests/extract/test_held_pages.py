"""Pages that are held until the end of their batch take little memory, and come back unchanged."""

from __future__ import annotations

import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from letta_source.demo import Letta, serve
from letta_source.errors import FatalError
from letta_source.extract.append_only import HeldPages
from letta_source.state.session import Packages
from tests.extract.test_append_only import OLD, Added, whole

ODD: list[dict[str, Any]] = [
    {"id": "step-1", "text": "\ud800 half a pair, \x00 and \u2028"},
    {"id": "step-2", "number": 2**70, "small": 1e-320, "none": None, "inner": [{"a": [True, 1.0]}]},
]


@pytest.mark.parametrize("most", [0, 10**9], ids=["in the file", "in memory"])
def test_pages_come_back_unchanged_and_in_order(most: int) -> None:
    held = HeldPages(most)
    for number in range(3):
        held.add("run-1", f"parent-{number}", [*ODD, {"id": str(number)}], 100)
        held.add("run-2", "parent", [{"id": f"other-{number}"}], 100)
    held.drop("run-1", "parent-1")
    expected = [(f"parent-{number}", [*ODD, {"id": str(number)}], 100) for number in (0, 2)]
    assert list(held.pop("run-1")) == expected
    assert list(held.pop("run-1")) == []
    held.drop("run-2")
    assert list(held.pop("run-2")) == []


def test_pages_are_in_memory_up_to_the_limit() -> None:
    held = HeldPages(100)
    for _ in range(2):
        held.add("run-1", "a", ODD, 60)
        held.add("run-1", "b", ODD, 40)
        assert held._file is None
        held.add("run-1", "c", ODD, 1)
        held.add("run-1", "d", ODD, 1)
        assert held._file
        # Those of other parents stay in the file.
        held.drop("run-1", "c")
        assert [parent_id for parent_id, items, _ in held.pop("run-1") if items == ODD] == ["a", "b", "d"]
        assert held._file is None


def test_a_page_that_is_too_deep_for_the_file_waits_in_memory() -> None:
    item: dict[str, Any] = {}
    for _ in range(100_000):
        item = {"id": "x", "inner": item}
    held = HeldPages(0)
    held.add("run-1", "", [item], 1)
    pages = list(held.pop("run-1"))
    assert pages[0][1][0] is item
    pages.clear()
    while item:
        item = item.pop("inner", {})


def test_the_file_is_emptied_and_only_its_owner_can_read_it() -> None:
    held = HeldPages(0)
    for _ in range(2):
        held.add("run-1", "", ODD, 100)
        assert held._file
        assert os.fstat(held._file.fileno()).st_mode & 0o077 == 0
        assert list(held.pop("run-1"))
        assert held._file is None


def test_a_temporary_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    held = HeldPages(0)
    with pytest.raises(FatalError, match=r"gone cannot be written .* TMPDIR"):
        held.add("run-1", "", ODD, 100)


def test_a_batch_larger_than_memory_is_loaded_in_parts_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    letta = Letta(seed=0)
    agent = letta.add_agent()
    batch = letta.add_batch(agent)
    for number in range(6):
        letta.talk(agent, f"{number}" * 400_000, date=OLD)
    letta.finish_batch(batch)
    parts: list[bool] = []
    most = [0]
    add = HeldPages.add

    def noted(held: HeldPages, *page: Any) -> None:
        add(held, *page)
        most[0] = max(most[0], held._used)

    monkeypatch.setattr(HeldPages, "add", noted)
    together = Packages.kept_together

    def counted(packages: Packages, is_so: bool) -> AbstractContextManager[None]:
        parts.append(is_so)
        return together(packages, is_so)

    monkeypatch.setattr(Packages, "kept_together", counted)
    monkeypatch.setattr("letta_source.state.session.ROWS_PER_YIELD", 2)
    added = Added()
    with serve(letta) as server:
        for _ in range(2):
            added.load(
                server, "steps", "step_messages", "batch_messages", page_size=2, memory_limit=64_000_000
            )
        assert added.ids("step_messages") == whole(server).ids("step_messages") != []
    assert added.twice() == []
    assert most[0] <= 64_000_000 // 64
    assert any(parts)
