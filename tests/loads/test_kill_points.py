"""A load is killed before each kind of file operation in its working folder; the next load repairs all."""

from __future__ import annotations

import os
import re
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from letta_source.demo import Server, serve
from tests.loads.test_kills import Rows, Talk, held
from tests.support.processes import started

pytestmark = pytest.mark.proof

SOME = ("agents", "runs", "agent_messages")
KILLED = 99
HANDED_ON = ("normalize/extracted", "load/normalized")
TABLES = "(agents|runs|agent_messages|_dlt)[a-z_]*"


class Load:
    """A repeatable load of more resources than the load before it."""

    def __init__(self, folder: Path, server: Server, talk: Talk) -> None:
        self._folder = folder / "run"
        self._operations = folder / "operations"
        self._before = folder / "before"
        self._server = server
        self._folder.mkdir()
        self.run("agents")
        talk.go_on()
        # Copied back to the same place, to which dlt's state belongs.
        shutil.copytree(self._folder, self._before)

    def again(self) -> None:
        """Restore everything as it was before the first load."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._before, self._folder)

    def run(self, *resources: str) -> None:
        assert self._exit_code(*(resources or SOME)) == 0, (self._folder / "said").read_text()

    def kill(self, operation: int) -> bool:
        """Exit before an operation in the working folder, counted from 1; return False if there are fewer."""
        code = self._exit_code(*SOME, kill_before=operation)
        assert code in (KILLED, 0)
        return code == KILLED

    def rows(self) -> Rows:
        return held(self._folder / "letta_db.duckdb", SOME)

    def kill_points(self) -> list[int]:
        """Return the last load's first operation of each kind."""
        kinds: dict[str, int] = {}
        for number, kind in enumerate(self._operations.read_text().splitlines(), 1):
            kinds.setdefault(kind, number)
        return list(kinds.values())

    def _exit_code(self, *resources: str, kill_before: int = 0) -> int | None:
        process = started(
            self._folder,
            f"run --base-url {self._server.base_url} --resources {','.join(resources)}",
            {"DLT_DATA_DIR": str(self._folder / "dlt")},
            partial(_watch, self._folder / "dlt", kill_before, self._operations),
        )
        process.join()
        return process.exitcode


def _watch(folder: Path, kill_before: int, operations: Path) -> None:
    """Write the kind of each operation in a folder, one per line."""
    written = operations.open("wb", buffering=0)
    count = 0

    def see(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if (path := _changed(event, arguments)) and path.is_relative_to(folder):
            count += 1
            if count == kill_before:
                os._exit(KILLED)
            written.write(f"{event} {_kind(path, folder)}\n".encode())

    sys.addaudithook(see)


def _changed(event: str, arguments: tuple[object, ...]) -> Path | None:
    """Return the path that is about to be created, moved or deleted, if any."""
    path: object
    if event in ("os.rename", "os.mkdir"):
        path = arguments[0]
    elif event in ("os.remove", "os.rmdir"):
        path, inside = arguments
        if isinstance(path, str) and isinstance(inside, int) and inside >= 0:
            path = Path(os.readlink(f"/proc/self/fd/{inside}"), path)
    else:
        return None
    return Path(path) if isinstance(path, (str, Path)) else None


def _kind(path: Path, folder: Path) -> str:
    """Return the path without names of packages, jobs and tables, and the steps that packages wait for."""
    waits = [any(one.is_dir() for one in folder.glob(f"pipelines/letta/{step}/*")) for step in HANDED_ON]
    name = re.sub(r"\d+\.\d+|[0-9a-f]{10,}", "…", str(path.relative_to(folder)))
    return f"{waits} {re.sub(TABLES, '…', name)}"


@pytest.mark.skipif(sys.platform != "linux", reason="finds open folders in /proc")
@pytest.mark.parametrize("part", range(2))
def test_a_load_goes_on_wherever_it_was_killed(part: int, tmp_path: Path) -> None:
    talk = Talk(0)
    with serve(talk.letta) as server:
        load = Load(tmp_path, server, talk)
        load.run()
        expected, points = load.rows(), load.kill_points()
        killed = 0
        for point in points[part::2]:
            load.again()
            killed += load.kill(point)
            load.run()
            assert load.rows() == expected, point
        assert killed > 25
