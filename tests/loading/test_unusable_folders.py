"""Folders that are gone, write-protected or without locks: one line says what to do."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

from letta_source.demo import Server
from letta_source.errors import ConfigError
from letta_source.loading import lock, own_folder
from letta_source.loading.lock import is_held
from letta_source.loading.own_folder import make_own_folder
from tests.support.command import Command

# Some of these are the same number on some systems.
NO_LOCKS = sorted({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EIO})


@pytest.mark.parametrize("line", ["run", "check", "status", "export agents", "report", "transcript agent-1"])
def test_a_deleted_current_folder(
    letta_source: Command, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    monkeypatch.setenv("LETTA_BASE_URL", server.base_url)
    refused = letta_source(*line.split())
    assert (refused.code, server.requests) == (2, [])
    assert refused.errors == ["letta-source: the current folder was deleted: change to one that exists"]


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("destination", "setting", "place"),
    [
        ("duckdb", "CREDENTIALS", "file/warehouse.duckdb"),
        ("duckdb", "CREDENTIALS", "missing/warehouse.duckdb"),
        ("sqlalchemy", "CREDENTIALS", "sqlite:///missing/warehouse.db"),
        ("filesystem", "BUCKET_URL", "file"),
        ("filesystem", "BUCKET_URL", "file/below/it"),
    ],
)
def test_a_folder_that_cannot_be_created(
    letta_source: Command,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    destination: str,
    setting: str,
    place: str,
) -> None:
    (letta_source.folder / "file").touch()
    monkeypatch.setenv(f"DESTINATION__{destination.upper()}__{setting}", place)
    refused = letta_source(command, "--base-url", server.base_url, "--destination", destination)
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert re.search("cannot (be|create) ", refused.errors[0])
    assert "create it first" not in refused.errors[0] or "missing" in place
    # It checks that Letta is reachable, and reads nothing.
    assert len(server.requests) <= (1 if command == "run" else 11)
    assert not list(letta_source.folder.rglob("*.parquet"))


def no_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def acquire(self: Any, *given: object) -> None:
        # Some versions of filelock raise this for ENOSYS; others create a lock file instead.
        raise NotImplementedError if number == errno.ENOSYS else OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_working_folder_without_locks(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    no_locks(monkeypatch, number)
    refused = letta_source.load(server)
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert refused.errors[0].endswith(": set DLT_DATA_DIR to a folder on a disk that has locks")
    assert not is_held("letta")


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_destination_folder_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    no_locks(monkeypatch, number)
    with caplog.at_level(logging.WARNING), lock._locked_beside(tmp_path / "lake" / "letta", "letta"):
        pass
    assert "letta could be loaded from another working folder at the same time, because" in caplog.text


def denied(*given: object, **named: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(
    ("break_it", "line"),
    [
        (lambda patch: patch.setattr(Path, "mkdir", denied), "cannot be created: Permission denied"),
        (lambda patch: patch.setattr(Path, "chmod", denied), "is not yours: Permission denied"),
    ],
)
def test_a_write_protected_working_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[pytest.MonkeyPatch], None],
    line: str,
) -> None:
    break_it(monkeypatch)
    with pytest.raises(ConfigError, match=f"{line}: {own_folder._ELSEWHERE}"):
        make_own_folder(tmp_path / "pipelines" / "letta")


def test_a_write_protected_destination_folder(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can still be read."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(letta_source.folder / "lake"))
    to = ("--destination", "filesystem")
    assert letta_source.load(server, "--resources", "agents", *to).code == 0
    monkeypatch.setattr(
        "letta_source.destinations.dlt_files.os.access", lambda path, mode: not mode & os.W_OK
    )
    for arguments in (("run", "--base-url", server.base_url), ("check", "--base-url", server.base_url)):
        refused = letta_source(*arguments, *to)
        assert (refused.code, len(refused.errors)) == (2, 1)
        assert "lake/letta is write-protected" in refused.errors[0]
    assert letta_source("export", "agents", *to).code == 0
