"""`letta-source run` in subprocesses: at a given hour, killed at a given point, or as an older version."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from letta_source.demo import Server
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import Table
from letta_source.state.resource_state import ResourceState
from tests.support.hours import Story, stop_clock
from tests.support.library_loads import TABLES
from tests.support.places import Place
from tests.support.processes import started

# Seconds; the slowest load takes about ten.
LONGEST = 120

# A list, parents that finish, messages by cursor, and messages of finished parents.
ONE_OF_EACH_KIND = ("agents", "runs", "agent_messages", "batch_messages")

# The column of messages' tables that the older version lacks.
NEW_COLUMN = "name"


class Loads:
    """Loads into one place, at the hours of one story.

    Args:
        resources: the names of those to load; all by default.
    """

    def __init__(self, place: Place, server: Server, story: Story, resources: Sequence[str] = ()) -> None:
        self._chosen = ("--resources", ",".join(resources)) if resources else ()
        self._place = place
        self._server = server
        self._story = story

    def run(self, *options: str, older: bool = False) -> list[str]:
        """Run to the end; return the text it wrote as lines.

        Args:
            older: run a version that has no `NEW_COLUMN`.
        """
        code = self._exit_code(options, partial(_prepare, self._story.now, None, older))
        said = (self._place.folder / "said").read_text()
        assert code == 0, said
        # Users who run a load can do nothing about a library's warnings.
        assert "Warning: " not in said
        return said.splitlines()

    def run_shards(self, count: int) -> None:
        """Run all shards at the same time, to the end."""
        processes = {}
        for index in range(count):
            folder = self._place.folder / f"shard_{index}"
            folder.mkdir(exist_ok=True)
            options = ("--shard", f"{index}/{count}")
            processes[folder] = self._started(
                folder, options, partial(_prepare, self._story.now, None, False)
            )
        for folder, process in processes.items():
            assert self._ended(folder, process) == 0, (folder / "said").read_text()

    def kill(self, point: str) -> None:
        """Kill a load with SIGKILL at one of `KILL_POINTS`."""
        code = self._exit_code((), partial(_prepare, self._story.now, point, False))
        assert code == -signal.SIGKILL, (self._place.folder / "said").read_text()

    def forget(self) -> None:
        """Delete the working folder, as when a container starts anew."""
        shutil.rmtree(self._place.folder / "dlt")

    def _exit_code(self, options: tuple[str, ...], before: Callable[[], None]) -> int | None:
        folder = self._place.folder
        return self._ended(folder, self._started(folder, options, before))

    def _started(self, folder: Path, options: tuple[str, ...], before: Callable[[], None]) -> BaseProcess:
        command = ["run", "--base-url", self._server.base_url, *self._place.options]
        command += [*self._chosen, *options]
        data = {"DLT_DATA_DIR": str(self._place.folder / "dlt")}
        return started(folder, " ".join(command), {**self._place.environment, **data}, before)

    def _ended(self, folder: Path, process: BaseProcess) -> int | None:
        process.join(LONGEST)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError((folder / "said").read_text())
        return process.exitcode


def make_older(patch: pytest.MonkeyPatch) -> None:
    """Remove `NEW_COLUMN` from every table of messages, as if this version had never known it."""
    for name, resource in RESOURCES.items():
        if resource.children:
            root = _without(resource.root)
            older = replace(resource)
            # Where the cached property keeps its value.
            vars(older)["root"] = root
            patch.setitem(RESOURCES, name, older)
            patch.setitem(TABLES, root.name, root)


def _without(table: Table) -> Table:
    return replace(table, columns=tuple(one for one in table.columns if one.name != NEW_COLUMN))


def _prepare(now: datetime, point: str | None, older: bool) -> None:
    # The process is a test's own, so nothing needs to be undone.
    patch = pytest.MonkeyPatch()
    stop_clock(now, patch)
    if older:
        make_older(patch)
    if point:
        KILL_POINTS[point](patch)


def _kill_in_extract(patch: pytest.MonkeyPatch) -> None:
    """Kill in the middle of the extraction."""
    _kill_before(patch, ResourceState, "commit", calls=4)


def _kill_in_normalize(patch: pytest.MonkeyPatch) -> None:
    """Kill when all files are written and the package is not yet handed over."""
    from dlt.common.storages import LoadStorage

    _kill_before(patch, LoadStorage, "commit_new_load_package")


def _kill_in_load(patch: pytest.MonkeyPatch) -> None:
    """Kill when some tables are loaded, the last of them not yet recorded by dlt."""
    from dlt.common.storages import PackageStorage

    _kill_before(patch, PackageStorage, "complete_job", calls=8)


def _kill_before_commit(patch: pytest.MonkeyPatch) -> None:
    """Kill when all tables are loaded and the destination has not recorded the load."""
    from dlt.load.load import Load

    _kill_before(patch, Load, "complete_package")


def _kill_after_commit(patch: pytest.MonkeyPatch) -> None:
    """Kill when the destination has recorded the load and the working folder has not."""
    from dlt.common.storages import LoadStorage

    _kill_before(patch, LoadStorage, "complete_load_package")


KILL_POINTS = {
    "extract": _kill_in_extract,
    "normalize": _kill_in_normalize,
    "load": _kill_in_load,
    "before commit": _kill_before_commit,
    "after commit": _kill_after_commit,
}


def _kill_before(patch: pytest.MonkeyPatch, owner: Any, name: str, calls: int = 1) -> None:
    """Send SIGKILL in place of the call of a method that makes `calls` calls."""
    method = getattr(owner, name)
    left = calls

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*args, **kwargs)

    patch.setattr(owner, name, dying)
