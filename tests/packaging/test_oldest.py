"""The lower bounds of pyproject.toml are right: the oldest versions that they allow load and export."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.test_newest import assert_what_was_loaded_comes_out
from tests.support.paths import ROOT

pytestmark = pytest.mark.oldest


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of commands of an environment with the oldest versions that the bounds allow."""
    folder = tmp_path_factory.mktemp("oldest")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"], check=True
    )
    # Indirect dependencies are the newest, because their bounds are not ours.
    install = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "--resolution", "lowest-direct", str(ROOT)], check=True)
    return folder / "bin"


def test_what_was_loaded_comes_out(oldest: Path, tmp_path: Path) -> None:
    assert_what_was_loaded_comes_out(oldest, tmp_path)
