"""First loads that many tests begin with: made once in a process, and copied for each test."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import pytest

from letta_source.demo import Server, serve
from tests.support.command import Command, ago, one_of, two_agents
from tests.support.full_letta import FullLetta


class Loaded(NamedTuple):
    """The command line in a folder with what it loaded, and the Letta and server it loaded from."""

    command: Command
    letta: FullLetta
    server: Server


class FirstLoads:
    """Loads of the same two agents, each of which added a message to what the load before it read.

    State belongs to the folder and to the server's URL, so all tests have the same of both.
    """

    def __init__(self, root: Path, reserved: socket.socket) -> None:
        self._folder, self._copies = root / "folder", root / "copies"
        self._port: int = reserved.getsockname()[1]
        self._lettas: list[FullLetta] = []

    @contextmanager
    def after(
        self, times: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Iterator[Loaded]:
        """Yield the state after one or more loads: the first appends, the others go through staging."""
        while len(self._lettas) < times:
            with self._at(len(self._lettas), monkeypatch, capsys) as (command, letta, server):
                if self._lettas:
                    letta.add_message(one_of(letta), date=ago(hours=1))
                assert command.load(server).code == 0
                self._lettas.append(_copy(letta))
                shutil.copytree(self._folder, self._copies / str(len(self._lettas)))
        with self._at(times, monkeypatch, capsys) as loaded:
            yield loaded

    @contextmanager
    def _at(
        self, times: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Iterator[Loaded]:
        shutil.rmtree(self._folder, ignore_errors=True)
        if times:
            shutil.copytree(self._copies / str(times), self._folder)
        else:
            self._folder.mkdir()
        monkeypatch.chdir(self._folder)
        monkeypatch.setenv("DLT_DATA_DIR", str(self._folder / "dlt"))
        letta = _copy(self._lettas[times - 1]) if times else two_agents()
        with serve(letta, port=self._port) as server:
            yield Loaded(Command(self._folder, capsys), letta, server)


@contextmanager
def first_loads(root: Path) -> Iterator[FirstLoads]:
    """Reserve a port while the block runs: bound and not listened to, nobody else gets it, and we do."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield FirstLoads(root, reserved)


def _copy(letta: FullLetta) -> FullLetta:
    # A lock cannot be copied.
    return deepcopy(letta, {id(letta.lock): threading.RLock()})
