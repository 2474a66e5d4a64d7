"""What every test shares: an environment that names no server, and no report to anyone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No setting of who runs the tests gets in, and nothing of dlt's goes to their home."""
    home = tmp_path_factory.mktemp("dlt")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("LETTA_", "SOURCES__", "DESTINATION__")):
                patch.delenv(name)
        patch.setenv("DLT_DATA_DIR", str(home))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        yield home
