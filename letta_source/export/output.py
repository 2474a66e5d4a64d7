"""The output of an export: a file that is there once it is whole, or standard output."""

from __future__ import annotations

import codecs
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
    """Return where a file is written until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that is there once all went well, in the place of one that was there.

    Raises:
        ConfigError: it cannot be written there.
    """
    if path.is_symlink() and not _is_own(path.lstat()):
        raise ConfigError(f"{path} is a link of another user: name another file")
    # Not in the place of a link, nor of a device or a pipe.
    path = path.resolve()
    part = path if path.exists() and not path.is_file() else part_of(path)
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


def _opened_anew(part: Path, path: Path) -> BinaryIO:
    """Open a file that was not there, readable as the umask says, no looser than the file it will replace.

    In a folder that others can write to, a link or a file may wait under its name.
    """
    # Of a process that was killed.
    part.unlink(missing_ok=True)
    mode = stat.S_IMODE(path.stat().st_mode) & 0o666 if path.exists() else 0o666
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(part, flags, mode), "wb")


def _is_own(state: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or state.st_uid in (os.geteuid(), 0)


def to_output(output: Path | None, write: Callable[[BinaryIO], int]) -> int:
    """Write to a file, which is there once it is whole, or to standard output; return what `write` does."""
    if output is None:
        out = sys.stdout.buffer
        count = write(cast("BinaryIO", Terminal(out)) if out.isatty() else out)
        out.flush()
        return count
    with written_whole(output) as file:
        return write(file)


class Terminal:
    """Standard output where it is a terminal: control characters in what others wrote are made visible."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> int:
        """Write the text with its control characters made visible; return the number of bytes taken."""
        self._file.write(visible(self._decoder.decode(bytes(data)), keep="\n\t").encode())
        return len(data)

    def flush(self) -> None:
        """Flush the file below."""
        self._file.flush()

    @property
    def closed(self) -> bool:
        """True once the file below is closed."""
        return self._file.closed
