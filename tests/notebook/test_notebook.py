"""The notebook of `docs/` runs in a real kernel, and is stored with its outputs.

`WRITE_NOTEBOOK=1 pytest -m docs tests/notebook` stores it again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.environments import environment_python
from tests.support.paths import ROOT

NOTEBOOK = ROOT / "docs" / "explore.ipynb"
# Output that depends on machine and time is left out: times, the kernel's version, and the load's log, which
# names folders and the small Letta's port.
RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
metadata = notebook.metadata.copy()
nbclient.NotebookClient(notebook, timeout=100, record_timing=False).execute()
notebook.metadata = metadata
for cell in notebook.cells:
    if cell.cell_type == "code":
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
nbformat.write(notebook, sys.argv[2])
"""
# In bytes, because every clone and every view of the page downloads it.
MOST = 300_000
MACHINE = re.compile(r"/(?:tmp|home|root|Users|work)/|127\.0\.0\.1|localhost:\d|:\d{2}Z info")


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def texts(notebook: Path) -> list[list[dict[str, str]]]:
    """Return the outputs of each cell by type; a picture only as a placeholder, because fonts differ."""
    return [
        [
            {"text": "".join(output["text"])}
            if "text" in output
            else {
                kind: "a picture" if kind.startswith("image/") else "".join(data)
                for kind, data in output["data"].items()
            }
            for output in cell["outputs"]
        ]
        for cell in code_cells(notebook)
    ]


def test_the_stored_notebook_was_run_and_names_no_machine() -> None:
    cells = code_cells(NOTEBOOK)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    shown = [output for cell in texts(NOTEBOOK) for output in cell]
    assert sum("image/png" in output for output in shown) == 2
    assert sum("text/html" in output for output in shown) == 5
    assert [found for output in shown for text in output.values() for found in MACHINE.findall(text)] == []
    assert NOTEBOOK.stat().st_size < MOST


@pytest.mark.docs
def test_the_stored_outputs_are_up_to_date(tmp_path: Path) -> None:
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
    if os.environ.get("WRITE_NOTEBOOK"):
        NOTEBOOK.write_bytes(executed.read_bytes())
    for number, (stored, came) in enumerate(zip(texts(NOTEBOOK), texts(executed), strict=True), 1):
        assert stored == came, f"cell {number}: WRITE_NOTEBOOK=1 pytest -m docs tests/notebook"
