"""Imports follow the layers downwards, and the package imports nothing heavy before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.paths import ROOT

HEAVY = {"dlt", "httpx", "pandas", "pyarrow", "pydantic"}


def test_imports_run_down() -> None:
    # In a subprocess, because import-linter configures the logging of its whole process.
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    answer = subprocess.run([*lint, "--no-cache"], check=False, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("module", ["letta_source", "letta_source.cli.app"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert answer.stdout.split() == [], (
        f"{module} takes a second to import with these: import them where used"
    )
