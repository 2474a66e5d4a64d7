"""The notebook of `docs/` runs in a real kernel, and is stored without what came of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.environments import environment_python
from tests.support.paths import ROOT

NOTEBOOK = ROOT / "docs" / "explore.ipynb"
RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=100).execute()
nbformat.write(notebook, sys.argv[2])
"""


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_it_is_stored_without_outputs() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells(NOTEBOOK))


@pytest.mark.docs
def test_it_runs(tmp_path: Path) -> None:
    python = environment_python("notebook", Path(__file__).with_name("notebook.txt"))
    executed = tmp_path / "executed.ipynb"
    folders = {
        name: str(tmp_path / name.lower())
        for name in ("DLT_DATA_DIR", "IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR")
    }
    done = subprocess.run(
        [python, "-c", RUN, NOTEBOOK, executed],
        cwd=tmp_path,
        env={**os.environ, **folders, "PYTHONPATH": str(ROOT), "RUNTIME__DLTHUB_TELEMETRY": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    shown = [
        output["data"] for cell in code_cells(executed) for output in cell["outputs"] if "data" in output
    ]
    assert sum("image/png" in data for data in shown) == 2
    tables = ["".join(data["text/plain"]) for data in shown if "text/html" in data]
    assert len(tables) == 5
    assert not any("Empty DataFrame" in table for table in tables)
    said = "".join(
        "".join(output["text"])
        for cell in code_cells(executed)
        for output in cell["outputs"]
        if "text" in output
    )
    assert "**Tool call**" in said
