"""Shared by every test: an environment that names no server, and no telemetry."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from letta_source.demo import Server
    from tests.support.command import Command
    from tests.support.first_loads import FirstLoads, Loaded
    from tests.support.full_letta import FullLetta

# The folder of cached environments; not a setting of the source.
CACHE = "LETTA_SOURCE_CACHE"

# The same examples each time, so that only changes make tests fail, unless --hypothesis-profile=long.
_PATIENT = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _PATIENT, derandomize=True)
settings.register_profile("long", _PATIENT, derandomize=False)
settings.load_profile("ci")

# With PYTHONDONTWRITEBYTECODE, each worker of each run rewrites the assertions of all tests: six seconds.
sys.dont_write_bytecode = False


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the files that have no wanted test by their marks, because importing all takes many seconds."""
    marks: str = config.option.markexpr
    if collection_path.suffix != ".py":
        return None
    if re.fullmatch(r"\w+( or \w+)*", marks):
        # Tests without a mark are not wanted.
        wanted = rf"pytest\.mark\.({marks.replace(' or ', '|')})\b"
        return None if re.search(wanted, collection_path.read_text("utf-8")) else True
    if re.fullmatch(r"not \w+( and not \w+)*", marks):
        # So is the default expression.
        unwanted = "|".join(re.findall(r"not (\w+)", marks))
        of_file = rf"^pytestmark = (\[[^\]]*)?pytest\.mark\.({unwanted})\b"
        return True if re.search(of_file, collection_path.read_text("utf-8"), re.MULTILINE) else None
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Unfreeze at the end, because some libraries report what is left at exit as leaks.

    Last of all, because pytest collects garbage before it ends: with what is frozen, that takes a second.
    """
    config.add_cleanup(gc.unfreeze)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect no garbage while tests are collected, which took a third of that time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse tests of two suites, which `.ci/run` would run twice."""
    suites = re.findall(r"\bnot (\w+)", " ".join(item.config.getini("addopts")))
    named = {mark.name for mark in item.iter_markers()}.intersection(suites)
    if len(named) > 1:
        raise pytest.UsageError(f"{item.nodeid} is of more than one suite: {', '.join(sorted(named))}")


def pytest_collection_finish() -> None:
    """Exclude the collected tests from garbage collection, which took a quarter of all time.

    It also starts later: after 700 new objects, as by default, it took a twentieth.
    """
    if "dlt" in sys.modules:
        import tests.support.type_hints  # noqa: F401
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's settings out of the tests, and dlt's files out of the user's home."""
    home = tmp_path_factory.mktemp("dlt")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name != CACHE and name.startswith(("LETTA_", "SOURCES__", "DESTINATION__")):
                patch.delenv(name)
        # It makes every write unbuffered, so that a missing flush would go unnoticed.
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        # With it, each process that a test starts compiles its imports anew, which takes most of its time.
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("DLT_DATA_DIR", str(home))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        yield home


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Undo what a load leaves in this process: environment variables, dlt's active pipeline."""
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
    """Retry at once; yield the seconds that retries would have waited."""
    from tests.support.wire import no_waits

    with no_waits() as waited:
        yield waited


@pytest.fixture
def letta_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Return the command line in a folder of its own, without retries."""
    from tests.support.command import Command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    # The command sets it for its process, and this process outlives the command.
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "CRITICAL")
    monkeypatch.setenv("SOURCES__LETTA__RETRIES", "0")
    # Else its output would depend on the machine's speed.
    monkeypatch.setattr("letta_source.cli.progress._SECONDS_IN_LOG", 3600.0)
    return Command(tmp_path, capsys)


@pytest.fixture
def letta() -> FullLetta:
    from tests.support.command import two_agents

    return two_agents()


@pytest.fixture
def server(letta: FullLetta) -> Iterator[Server]:
    from letta_source.demo import serve

    with serve(letta) as server:
        yield server


@pytest.fixture(scope="session")
def all_first_loads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstLoads]:
    from tests.support.first_loads import first_loads

    with first_loads(tmp_path_factory.mktemp("first_loads")) as loads:
        yield loads


@pytest.fixture
def loaded(
    request: pytest.FixtureRequest,
    letta_source: Command,
    all_first_loads: FirstLoads,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Loaded]:
    """Yield what one load left, or as many as the parameter says; it has the settings of `letta_source`."""
    with all_first_loads.after(getattr(request, "param", 1), monkeypatch, capsys) as loaded:
        yield loaded
