"""Guard standard output and standard error, which may be full, closed, or no longer read."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from letta_source.errors import ConfigError, NobodyReads, OutputFailed
from letta_source.safe_text import visible


def hold_descriptors() -> None:
    """Open closed standard descriptors on the null device.

    Otherwise the next file to be opened, even DuckDB's, would get their number, and text for standard error
    would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Guard both streams while the block runs: a failed write ends no load and shows no traceback.

    A failed write to standard output raises OutputFailed; one to standard error is ignored, as there is
    nowhere left to report it.
    """
    before = sys.stdout, sys.stderr
    guarded: Any = _Guarded(before[0], is_output=True), _Guarded(before[1], is_output=False)
    sys.stdout, sys.stderr = guarded
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def assert_output() -> None:
    """Check that standard output is open, for a command that has nowhere else to print.

    Raises:
        ConfigError: it was closed before the process began.
    """
    if getattr(sys.stdout, "is_missing", False):
        raise ConfigError("standard output is closed, but the command prints its result there: leave it open")


def print_outcome(text: str) -> None:
    """Print the outcome of a command, sanitized; if that fails, only the exit code reports it."""
    try:
        print(visible(text, keep="\n"), flush=True)
    except NobodyReads:
        return
    except OutputFailed as error:
        print(f"letta-source: the output is incomplete: {error}", file=sys.stderr)


class _Guarded:
    """A guarded stream of text or bytes.

    Attributes:
        is_missing: True if it was closed before.
    """

    def __init__(self, file: Any, is_output: bool) -> None:
        # None if the descriptor was closed when Python started.
        self.is_missing = file is None or file.closed
        self._file = io.StringIO() if self.is_missing else file
        self._is_output = is_output
        self._has_failed = False

    def write(self, data: Any) -> Any:
        """Write everything, or raise OutputFailed; after a failure, nothing more is written."""
        return self._tried("write", data)

    def writelines(self, lines: Any) -> Any:
        """Write several texts."""
        return self._tried("writelines", lines)

    def flush(self) -> None:
        """Flush, or raise OutputFailed."""
        self._tried("flush")

    def isatty(self) -> bool:
        """Return True for a terminal."""
        return bool(self._file.isatty())

    @property
    def closed(self) -> bool:
        """False, even if the stream is missing."""
        return False

    @property
    def buffer(self) -> _Guarded:
        """The underlying stream of bytes."""
        return self if self.is_missing else _Guarded(self._file.buffer, self._is_output)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _tried(self, method: str, *data: Any) -> Any:
        if self._has_failed:
            return None
        if self.is_missing:
            return self._fail("it is closed") if data else None
        try:
            return getattr(self._file, method)(*data)
        except BrokenPipeError as error:
            # The reader has stopped, as `| head` does.
            self._fail("nobody reads it", error, NobodyReads)
        except OSError as error:
            self._fail(error.strerror or str(error), error)

    def _fail(self, why: str, error: OSError | None = None, kind: type[OutputFailed] = OutputFailed) -> None:
        self._has_failed = True
        if error:
            self._forget_buffered()
        if self._is_output:
            raise kind(f"standard output cannot be written: {why}") from error

    def _forget_buffered(self) -> None:
        """Point the descriptor at the null device: Python would write its buffer when the process ends."""
        with suppress(OSError, ValueError):
            number = self._file.fileno()
            if number in (1, 2):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)
