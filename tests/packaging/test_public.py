"""The names that users import: the public ones, and those of the previous version."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys

import pytest

import letta_source
from tests.support.paths import ROOT


def test_importing_all_modules_keeps_the_public_names() -> None:
    """Importing a sub-package with a public name would replace that name."""
    program = (
        "import importlib, pkgutil, letta_source\n"
        "for module in pkgutil.walk_packages(letta_source.__path__, 'letta_source.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "print(*[name for name in letta_source.__all__ if not callable(getattr(letta_source, name))])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert answer.stdout.split() == []


def test_the_public_names() -> None:
    assert letta_source.__all__ == [
        "ConfigError",
        "LettaError",
        "Load",
        "LoadFailed",
        "Loaded",
        "letta",
        "load",
        "open_dataset",
    ]


def test_the_python_page_has_all_public_names() -> None:
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    described = re.findall(r"^::: letta_source\.([\w.]+)$", page, re.MULTILINE)
    places = [one.rpartition(".") for one in described if one != "export"]
    shown = [getattr(importlib.import_module(f"letta_source.{module}"), name) for module, _, name in places]
    assert "export" in described
    assert {id(one) for one in shown} == {id(getattr(letta_source, name)) for name in letta_source.__all__}


def test_no_public_name_is_a_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(letta_source.__path__)}
    assert not modules & set(letta_source.__all__)


@pytest.mark.parametrize("name", ["Load", "LoadFailed", "Loaded", "load"])
def test_imports_of_version_0_1_work_with_a_warning(name: str) -> None:
    moved = importlib.import_module("letta_source.run")
    with pytest.warns(DeprecationWarning, match=rf"letta_source\.run\.{name} is letta_source\.{name} now"):
        assert getattr(moved, name) is getattr(letta_source, name)


def test_other_names_of_the_old_module_are_missing() -> None:
    with pytest.raises(ImportError):
        exec("from letta_source.run import nothing")
