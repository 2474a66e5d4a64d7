"""Garbage collections skip the modules that a command has imported."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

from letta_source.cli.imports import importing
from letta_source.demo import recorded_letta, serve
from tests.support.paths import ROOT

_RUN = """
import gc
from letta_source.cli import main
code = main()
print(code, gc.isenabled(), gc.get_freeze_count() > 50_000)
"""


def test_garbage_collections_of_a_run_skip_modules(tmp_path: Path) -> None:
    with serve(recorded_letta()) as server:
        said = subprocess.run(
            [sys.executable, "-c", _RUN, "run", "--base-url", server.base_url, "--resources", "agents"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert said.stdout.splitlines()[-1] == "0 True True", said.stderr


def test_in_other_processes_everything_stays_collectable() -> None:
    import dlt  # noqa: F401

    before = gc.get_freeze_count()
    with importing():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
