"""`pytest -m` reads only the files that may have wanted tests, and misses none of them."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_ignore_collect, pytest_itemcollected
from tests.support.paths import ROOT


def is_read(file: Path, marks: str) -> bool:
    config: Any = SimpleNamespace(option=SimpleNamespace(markexpr=marks))
    return not pytest_ignore_collect(file, config)


@pytest.mark.parametrize(
    ("marks", "read"),
    [
        ("proof", True),
        ("live or proof", True),
        ("proof or live", True),
        ("live", False),
        ("pro", False),
        # Tests without a mark are wanted, too.
        ("", True),
        ("not live", True),
        ("live or not dbt", True),
        ("live and (dbt or docs)", True),
    ],
)
def test_a_file_is_read_if_it_may_have_wanted_tests(tmp_path: Path, marks: str, read: bool) -> None:
    file = tmp_path / "test_one.py"
    file.write_text("import pytest\n\n@pytest.mark.proof\ndef test_one(): ...\n", "utf-8")
    assert is_read(file, marks) == read


@pytest.mark.parametrize(
    ("line", "marks", "read"),
    [
        ("pytestmark = pytest.mark.live", "not live", False),
        ("pytestmark = pytest.mark.live", "not dbt and not live", False),
        ("pytestmark = [\n    pytest.mark.live,\n]", "not live", False),
        ('pytestmark = [pytest.mark.filterwarnings("x"), pytest.mark.live]', "not live", False),
        ("pytestmark = pytest.mark.live", "not dbt", True),
        ("pytestmark = pytest.mark.live", "not liv", True),
        ("pytestmark = pytest.mark.live", "", True),
        ("pytestmark = pytest.mark.live", "not live or dbt", True),
        # Only this test has the mark; others of the file have none.
        ("@pytest.mark.live\ndef test_one(): ...", "not live", True),
        ("PORT = [1]\npytestmark = []\n@pytest.mark.live\ndef test_one(): ...", "not live", True),
    ],
)
def test_a_file_without_wanted_tests_is_not_read(tmp_path: Path, line: str, marks: str, read: bool) -> None:
    file = tmp_path / "test_one.py"
    file.write_text(f"import pytest\n\n{line}\n", "utf-8")
    assert is_read(file, marks) == read


def test_folders_are_always_read(tmp_path: Path) -> None:
    assert is_read(tmp_path, "live")


@pytest.mark.parametrize(
    ("marks", "refused"), [(["proof", "whole"], True), (["whole", "usefixtures"], False), ([], False)]
)
def test_each_test_belongs_to_one_suite(
    request: pytest.FixtureRequest, marks: list[str], refused: bool
) -> None:
    marked: Any = SimpleNamespace(
        config=request.config,
        nodeid="test_one",
        iter_markers=lambda: [SimpleNamespace(name=name) for name in marks],
    )
    with pytest.raises(pytest.UsageError, match="proof, whole") if refused else nullcontext():
        pytest_itemcollected(marked)


def test_marks_are_written_out_in_each_file() -> None:
    other = re.compile(
        r"add_mark[e]r|from pytest impor[t]|import pytestmar[k]|\bmark = pytes[t]|\(pytest\.mar[k],"
    )
    tests = (ROOT / "tests").rglob("*.py")
    assert [file.name for file in tests if other.search(file.read_text("utf-8"))] == []
