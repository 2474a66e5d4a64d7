"""Shows on standard error what a load does: a line that moves on a terminal, now and then one in a log."""

from __future__ import annotations

import logging
import sys
import threading
import time
from types import TracebackType
from typing import TextIO

from letta_source.safe_text import visible
from letta_source.state.session import Session

_logger = logging.getLogger("letta_source")
_CLEAR = "\r\x1b[K"
_SECONDS_ON_TERMINAL = 0.2
_SECONDS_IN_LOG = 5.0


class Progress(logging.Handler):
    """A line that shows what a load does, and the handler of its log: records do not run into the line.

    Args:
        session: of the source that is being loaded.
        destination: its name, for the time after everything was read.
        out: where to write, by default standard error.
    """

    def __init__(self, session: Session, destination: str, out: TextIO | None = None) -> None:
        super().__init__()
        out = out or sys.stderr
        self._session = session
        self._destination = destination
        self._out = out
        self._terminal = out.isatty()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="letta_source.cli.progress", daemon=True)

    def __enter__(self) -> Progress:
        _logger.addHandler(self)
        self._level = _logger.level
        _logger.setLevel(logging.INFO)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        _logger.removeHandler(self)
        _logger.setLevel(self._level)
        if self._terminal:
            self._write(_CLEAR)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log record on a line of its own."""
        clear = _CLEAR if self._terminal else ""
        said = visible(self.format(record), keep="\n")
        self._write(f"{clear}{record.levelname.lower()}: {said}\n")

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._stopped.wait(_SECONDS_ON_TERMINAL if self._terminal else _SECONDS_IN_LOG):
            line = describe(self._session, self._destination)
            if self._terminal:
                self._write(f"{_CLEAR}{line[:110]}")
            else:
                self._write(f"{time.monotonic() - begun:.0f} s: {line}\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def describe(session: Session, destination: str) -> str:
    """One line: what is being read, how far, how fast."""
    reading = [(name, counts) for name, counts in list(session.counts.items()) if counts.ended is None]
    if session.written.is_writing or not reading:
        items = sum(counts.items for counts in session.counts.values())
        return f"writing {items:,} items to {destination}" if session.counts else "starting"
    name, counts = reading[-1]
    parents = f"{counts.done:,} of {counts.parents:,} parents, " if counts.parents else ""
    speed = counts.items / counts.seconds if counts.seconds > 0 else 0
    return f"reading {name}: {parents}{counts.items:,} items, {speed:,.0f} items/s"
