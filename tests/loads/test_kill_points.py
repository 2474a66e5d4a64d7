"""A load is killed before each kind of file operation in its working folder; the next load repairs all."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from letta_source.demo import Server, serve
from tests.loads.test_kills import Rows, Talk, held
from tests.support.processes import is_stopped, resume, started

pytestmark = pytest.mark.proof

SOME = ("agents", "runs", "agent_messages")
HANDED_ON = ("normalize/extracted", "load/normalized")
TABLES = "(agents|runs|agent_messages|_dlt)[a-z_]*"


class Load:
    """A repeatable load of more resources than the load before it."""

    def __init__(self, folder: Path, server: Server, talk: Talk) -> None:
        self._folder = folder / "run"
        self._left = folder / "left"
        self._points = folder / "points"
        self._server = server
        self._folder.mkdir()
        self._left.mkdir()
        self.run("agents")
        talk.go_on()

    def run(self, *resources: str) -> None:
        process = self._started(*(resources or SOME))
        process.join()
        self._assert_ended_well(process)

    def run_past_points(self, part: int) -> dict[str, Path]:
        """Load once; return by kill point a copy of the folder, as a kill there would leave it.

        A stopped process changes no more files than a killed one, and one load serves all points.

        Args:
            part: 0 or 1, for every second point.
        """
        process = self._started(
            *SOME, before=partial(_stop_at_points, self._folder / "dlt", part, self._points)
        )
        copies: list[Path] = []
        while process.is_alive():
            if not is_stopped(process):
                time.sleep(0.001)
                continue
            copies.append(self._left / str(len(copies)))
            shutil.copytree(self._folder, copies[-1])
            resume(process)
        self._assert_ended_well(process)
        return dict(zip(self._points.read_text().splitlines(), copies, strict=True))

    def leave(self, copy: Path) -> None:
        """Put a copy in the folder's place, to which dlt's state belongs."""
        shutil.rmtree(self._folder)
        copy.rename(self._folder)

    def rows(self) -> Rows:
        return held(self._folder / "letta_db.duckdb", SOME)

    def _started(self, *resources: str, before: Callable[[], object] | None = None) -> BaseProcess:
        return started(
            self._folder,
            f"run --base-url {self._server.base_url} --resources {','.join(resources)}",
            {"DLT_DATA_DIR": str(self._folder / "dlt")},
            before,
        )

    def _assert_ended_well(self, process: BaseProcess) -> None:
        assert process.exitcode == 0, (self._folder / "said").read_text()


def _stop_at_points(folder: Path, part: int, points: Path) -> None:
    """Stop this process before the first operation of each kind in a folder, and write the kind."""
    written = points.open("wb", buffering=0)
    kinds: set[str] = set()

    def see(event: str, arguments: tuple[object, ...]) -> None:
        if not (path := _changed(event, arguments)) or not path.is_relative_to(folder):
            return
        kind = f"{event} {_kind(path, folder)}"
        if kind not in kinds:
            kinds.add(kind)
            if len(kinds) % 2 == part:
                written.write(f"{kind}\n".encode())
                os.kill(os.getpid(), signal.SIGSTOP)

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
def test_a_load_continues_wherever_it_was_killed(part: int, tmp_path: Path) -> None:
    talk = Talk(0)
    with serve(talk.letta) as server:
        load = Load(tmp_path, server, talk)
        left = load.run_past_points(part)
        expected = load.rows()
        for point, copy in left.items():
            load.leave(copy)
            load.run()
            assert load.rows() == expected, point
    assert len(left) > 25
