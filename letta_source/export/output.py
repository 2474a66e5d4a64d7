"""The output of an export: a file that appears once it is complete, or standard output."""

from __future__ import annotations

import codecs
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from letta_source.errors import ConfigError
from letta_source.safe_text import visible


def part_of(path: Path) -> Path:
    """Return the path where a file is written until it is complete."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes its place, replacing an existing one, once everything went well.

    Raises:
        ConfigError: it cannot be written there.
    """
    if path.is_symlink() and not _is_own(path.lstat()):
        raise ConfigError(f"{path} is a link of another user: name another file")
    _assert_no_loop(path)
    # A link is followed; a device or a pipe is written to directly.
    path = path.resolve()
    part = path if path.exists() and not path.is_file() else part_of(path)
    if part == path and not _is_own(path.stat()):
        # It may have been planted in a shared folder, to read along.
        raise ConfigError(f"{path} is a pipe or device of another user: name another file")
    try:
        file = part.open("wb") if part == path else _opened_anew(part, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with file:
            yield file
        if part != path:
            part.replace(path)
    except BaseException:
        if part != path:
            part.unlink(missing_ok=True)
        raise


def _assert_no_loop(path: Path) -> None:
    """Refuse links that lead to each other: `resolve` raises a RuntimeError, and none from Python 3.13 on.

    Raises:
        ConfigError: the path has such a link, or a folder that cannot be entered.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _opened_anew(part: Path, path: Path) -> BinaryIO:
    """Open a new file with the permissions of the umask, no looser than those of the file it will replace.

    In a folder that others can write to, a link or a file may already have its name.
    """
    # A process that was killed may have left one.
    part.unlink(missing_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode) & 0o666 if path.exists() else 0o666
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(part, flags, mode), "wb")


def _is_own(state: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or state.st_uid in (os.geteuid(), 0)


def to_output(output: Path | None, write: Callable[[BinaryIO], int]) -> int:
    """Write to standard output, or to a file that appears once complete; return the result of `write`."""
    if output is None:
        out = sys.stdout.buffer
        count = write(cast("BinaryIO", Terminal(out)) if out.isatty() else out)
        out.flush()
        return count
    with written_whole(output) as file:
        return write(file)


class Terminal:
    """Standard output on a terminal: control characters in other people's text are made visible."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> int:
        """Write the text with its control characters made visible; return the number of bytes taken."""
        self._file.write(visible(self._decoder.decode(bytes(data)), keep="\n\t").encode())
        return len(data)

    def flush(self) -> None:
        """Flush the underlying file."""
        self._file.flush()

    @property
    def closed(self) -> bool:
        """True once the underlying file is closed."""
        return self._file.closed
