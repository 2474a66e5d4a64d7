"""The pipeline's own folder: nobody else may write into it, or read it.

It contains load packages with what people wrote, and jobs that run with the warehouse's credentials: anybody
who can write there, or replace the folder, can run SQL. If dlt finds no home folder it uses the temporary
folder, which everybody can write to.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from letta_source.errors import ConfigError

_UID_MAP = Path("/proc/self/uid_map")


def make_own_folder(folder: Path) -> None:
    """Create the folder, readable for this user alone; close it to others if it exists.

    Raises:
        ConfigError: others could write into it, or it cannot be created.
    """
    try:
        for parent in reversed(folder.parents):
            if not parent.exists():
                parent.mkdir(mode=0o700, exist_ok=True)
        try:
            folder.mkdir(mode=0o700)
            was_there = False
        except FileExistsError:
            was_there = True
    except OSError as error:
        raise ConfigError(f"{folder} cannot be created: {error.strerror}: {_ELSEWHERE}") from error
    if hasattr(os, "geteuid"):
        # A folder created just now is ours, even if our user id is not mapped in this namespace.
        _assert_own(folder, was_there)
        try:
            folder.chmod(0o700)
        except OSError as error:
            raise ConfigError(f"{folder} is not yours: {error.strerror}: {_ELSEWHERE}") from error


def assert_loadable_path(folder: Path, destination: str) -> None:
    """Refuse a path that dlt mistakes for something else: each load would fail after everything is read.

    Raises:
        ConfigError: it has such a character.
    """
    # dlt puts names into paths by `%`, and has DuckDB read its files by paths between unescaped quotes.
    for character in ("%", "'") if "duck" in destination else ("%",):
        if character in str(folder):
            raise ConfigError(
                f"dlt cannot load from a folder with {character} in its path: {folder}: {_ELSEWHERE}"
            )


def close_to_others(folder: Path) -> None:
    """Remove the access that the umask left to others: files 0600, folders 0700."""
    for place, _, files in os.walk(folder):
        for name in ["", *files]:
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & 0o077:
                path.chmod(stat.S_IMODE(mode) & 0o700)


_ELSEWHERE = "set DLT_DATA_DIR to a folder of your own"


def _assert_own(folder: Path, was_there: bool) -> None:
    # A link to a folder of ours may belong to another user.
    for path in {folder, folder.resolve()}:
        if was_there and not _is_trusted(path):
            raise ConfigError(f"{path} belongs to another user, who could use it to run SQL: {_ELSEWHERE}")
    below = folder.resolve()
    for path in (below, *below.parents):
        if _is_open(path):
            raise ConfigError(
                f"everybody can write to {path} and could use it to run SQL: {_ELSEWHERE}, or chmod o-w it"
            )
        if was_there and path != below and _is_shared(path) and not _is_trusted(below):
            raise ConfigError(f"{below}, in {path}, belongs to another user: {_ELSEWHERE}")
        below = path


def _is_trusted(path: Path) -> bool:
    """Return True if the folder belongs to this user or to root.

    In a user namespace that does not map this user, all unmapped users share one id: nobody's.
    """
    owner = path.lstat().st_uid
    return owner in (os.geteuid(), 0) and _is_mapped(owner)


def _is_mapped(user: int) -> bool:
    try:
        ranges = [line.split() for line in _UID_MAP.read_text().splitlines()]
    except OSError:
        # Only Linux has such namespaces.
        return True
    return any(int(first) <= user < int(first) + int(count) for first, _, count in ranges)


def _is_shared(path: Path) -> bool:
    """Return True if everybody can write to a folder, but rename and delete only their own files."""
    mode = path.stat().st_mode
    return bool(mode & stat.S_IWOTH and mode & stat.S_ISVTX)


def _is_open(path: Path) -> bool:
    """Return True if everybody can rename and replace files in a folder."""
    state = path.stat()
    if not state.st_mode & stat.S_IWOTH or state.st_mode & stat.S_ISVTX:
        return False
    # A pod's volume with fsGroup, or an emptyDir: Kubernetes opens it to everybody, but only the pod has it.
    of_pod = state.st_mode & stat.S_ISGID and state.st_gid in (os.getegid(), *os.getgroups())
    return not (of_pod or ("KUBERNETES_SERVICE_HOST" in os.environ and path.is_mount()))
