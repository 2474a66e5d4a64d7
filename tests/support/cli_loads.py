"""`letta-source run` in processes of their own: at a given hour, killed at a given point, or older."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
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

# Seconds; the slowest load takes some ten of them.
LONGEST = 120

# What the older version lacks, of the messages' tables.
NEW_COLUMN = "name"


class Loads:
    """Loads into one place, at the hours of one story."""

    def __init__(self, place: Place, server: Server, story: Story) -> None:
        self._place = place
        self._server = server
        self._story = story

    def run(self, *options: str, older: bool = False) -> list[str]:
        """To the end; returns the lines it wrote.

        Args:
            older: by a version that has no `NEW_COLUMN`.
        """
        code = self._exit_code(options, partial(_prepare, self._story.now, None, older))
        said = (self._place.folder / "said").read_text()
        assert code == 0, said
        # Nobody who runs a load can do anything about a library's.
        assert "Warning: " not in said
        return said.splitlines()

    def run_shards(self, count: int) -> None:
        """All of them at the same time, to the end."""
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
        """With SIGKILL, at one of `KILL_POINTS`."""
        code = self._exit_code((), partial(_prepare, self._story.now, point, False))
        assert code == -signal.SIGKILL, (self._place.folder / "said").read_text()

    def forget(self) -> None:
        """Loses the working folder, as in a container that is started anew."""
        shutil.rmtree(self._place.folder / "dlt")

    def _exit_code(self, options: tuple[str, ...], before: Callable[[], None]) -> int | None:
        folder = self._place.folder
        return self._ended(folder, self._started(folder, options, before))

    def _started(self, folder: Path, options: tuple[str, ...], before: Callable[[], None]) -> BaseProcess:
        command = ["run", "--base-url", self._server.base_url, *self._place.options, *options]
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
    """Takes `NEW_COLUMN` out of every table of messages, as if this version had never heard of it."""
    for name, resource in RESOURCES.items():
        if resource.children:
            root = _without(resource.root)
            older = replace(resource)
            # Where the property keeps what it made.
            vars(older)["root"] = root
            patch.setitem(RESOURCES, name, older)
            patch.setitem(TABLES, root.name, root)


def _without(table: Table) -> Table:
    return replace(table, columns=tuple(one for one in table.columns if one.name != NEW_COLUMN))


def _prepare(now: datetime, point: str | None, older: bool) -> None:
    # Of a process of its own: nothing is ever put back.
    patch = pytest.MonkeyPatch()
    stop_clock(now, patch)
    if older:
        make_older(patch)
    if point:
        KILL_POINTS[point](patch)


def _kill_in_extract(patch: pytest.MonkeyPatch) -> None:
    """In the middle of it."""
    _kill_before(patch, ResourceState, "commit", calls=4)


def _kill_in_normalize(patch: pytest.MonkeyPatch) -> None:
    """All files are written, and the package is not handed over."""
    from dlt.common.storages import LoadStorage

    _kill_before(patch, LoadStorage, "commit_new_load_package")


def _kill_in_load(patch: pytest.MonkeyPatch) -> None:
    """Some tables are loaded, and one is that dlt does not yet know of."""
    from dlt.common.storages import PackageStorage

    _kill_before(patch, PackageStorage, "complete_job", calls=8)


def _kill_before_commit(patch: pytest.MonkeyPatch) -> None:
    """All tables are loaded; the destination does not yet know that the load is."""
    from dlt.load.load import Load

    _kill_before(patch, Load, "complete_package")


def _kill_after_commit(patch: pytest.MonkeyPatch) -> None:
    """The destination knows; the working folder does not."""
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
    """SIGKILL instead of the call of a method that makes these many."""
    method = getattr(owner, name)
    left = calls

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*args, **kwargs)

    patch.setattr(owner, name, dying)
