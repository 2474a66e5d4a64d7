"""What every test shares: an environment that names no server, and no report to anyone."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from letta_source.demo import Letta, Server
    from tests.support.command import Command

# Where environments are cached; no setting of the source.
CACHE = "LETTA_SOURCE_CACHE"

# The same examples each time, unless --hypothesis-profile=long: a change fails by what it changed.
_PATIENT = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _PATIENT, derandomize=True)
settings.register_profile("long", _PATIENT, derandomize=False)
settings.load_profile("ci")


def pytest_collection_finish() -> None:
    """Leave what was collected out of each garbage collection, which took a quarter of all time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let the interpreter end as ever: some libraries report what is left as leaks."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No setting of who runs the tests gets in, and nothing of dlt's goes to their home."""
    home = tmp_path_factory.mktemp("dlt")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name != CACHE and name.startswith(("LETTA_", "SOURCES__", "DESTINATION__")):
                patch.delenv(name)
        # With it nothing that a process prints has to be flushed, so nothing that is lost would be missed.
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        patch.setenv("DLT_DATA_DIR", str(home))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        yield home


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Undo what a load in this process leaves there: environment variables, dlt's active pipeline."""
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)
    if "dlt" in sys.modules:
        from dlt.common.configuration.container import Container
        from dlt.common.pipeline import PipelineContext

        active = Container()[PipelineContext]
        if active.is_active():
            active.deactivate()


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """Retries come at once; the seconds they would have waited."""
    from tests.support.wire import no_waits

    with no_waits() as waited:
        yield waited


@pytest.fixture
def letta_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command line in a folder of its own, where no request is sent twice."""
    from tests.support.command import Command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    # The command sets it for its process; here that outlives it.
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "CRITICAL")
    monkeypatch.setenv("SOURCES__LETTA__RETRIES", "0")
    # Else what it says would depend on how fast the machine is.
    monkeypatch.setattr("letta_source.cli.progress._SECONDS_IN_LOG", 3600.0)
    return Command(tmp_path, capsys)


@pytest.fixture
def letta() -> Letta:
    from tests.support.command import two_agents

    return two_agents()


@pytest.fixture
def server(letta: Letta) -> Iterator[Server]:
    from letta_source.demo import serve

    with serve(letta) as server:
        yield server
