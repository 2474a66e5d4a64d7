"""The lower bounds of pyproject.toml are right: the oldest versions that they allow load and export."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.packaging.test_newest import assert_what_was_loaded_comes_out
from tests.support.environments import install, make_environment
from tests.support.paths import ROOT

pytestmark = pytest.mark.oldest


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of commands of an environment with the oldest versions that the bounds allow."""
    python = make_environment(tmp_path_factory.mktemp("oldest") / "venv")
    # Indirect dependencies are the newest, because their bounds are not ours.
    subprocess.run([*install(python), "--resolution", "lowest-direct", str(ROOT)], check=True)
    return python.parent


def test_loaded_rows_can_be_exported(oldest: Path, tmp_path: Path) -> None:
    assert_what_was_loaded_comes_out(oldest, tmp_path)
