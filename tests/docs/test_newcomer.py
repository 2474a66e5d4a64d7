"""A newcomer gets to a report by following README.md and the demo, and nothing fails."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

SCRIPT = ROOT / ".ci" / "newcomer.py"
PLAY: dict[str, Any] = runpy.run_path(str(SCRIPT))
SAID = """
Look closer:

  letta-source status --database letta_demo.duckdb
  letta-source export --format chat

Next, your own server:

  letta-source run
"""


def test_only_commands_suggested_by_the_demo_are_run() -> None:
    assert list(PLAY["suggested"](SAID)) == [
        "letta-source status --database letta_demo.duckdb",
        "letta-source export --format chat",
    ]


@pytest.mark.parametrize(
    ("command", "fails"),
    [
        ("true", 0),
        ("false", 1),
        ("echo Traceback", 0),
        ("echo 'Traceback (most recent call last):' >&2", 1),
        ("echo '2026-01-31T12:00:00Z warning: slow' >&2", 1),
        ("echo '2026-01-31T12:00:00Z info: fine' >&2", 0),
        ("echo 'x.py:1: DeprecationWarning: old' >&2", 1),
        ("echo 'ERROR: no matching distribution' >&2", 1),
    ],
)
def test_suspicious_output_fails(tmp_path: Path, command: str, fails: int) -> None:
    newcomer = PLAY["Newcomer"](tmp_path, tmp_path, tmp_path)
    newcomer.types(command, "")
    assert (newcomer.typed, newcomer.failed) == (1, fails)


@pytest.mark.docs
def test_a_newcomer_needs_five_minutes() -> None:
    played = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stdout + played.stderr
    figures = re.findall(r"^(\d+) commands in (\d+) s, 0 failed$", played.stdout, re.MULTILINE)
    assert len(figures) == 1
    commands, seconds = map(int, figures[0])
    assert commands <= 10
    assert seconds < 300
