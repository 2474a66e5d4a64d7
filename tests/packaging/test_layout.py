"""Modules are short, few are at the top of the package, and the tests' helpers have unique names."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "letta_source"
LINES = 300
TOP = {"__init__", "__main__", "source", "arrays", "errors", "items", "times", "shards", "safe_text"}


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_modules_are_short(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= LINES


def test_few_modules_are_at_the_top() -> None:
    assert {file.stem for file in PACKAGE.glob("*.py")} == TOP


def test_tests_mirror_the_package() -> None:
    packages = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    # Whole loads, and tests of what is not in the package.
    others = {"airflow", "dbt", "docs", "live", "loads", "notebook", "oracle", "packaging", "support"}
    tested = {file.parent.name for file in (ROOT / "tests").glob("*/__init__.py")}
    assert packages - tested == set()
    assert tested - others - packages == set()


def test_helpers_are_defined_once() -> None:
    defined = Counter(
        node.name
        for file in (ROOT / "tests" / "support").glob("*.py")
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, times in defined.items() if times > 1] == []
