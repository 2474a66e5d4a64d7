"""Show the progress of a load on standard error: a moving line on a terminal, an occasional line in a log."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import threading
import time
from datetime import datetime, timezone
from types import TracebackType
from typing import Literal, TextIO

from letta_source.safe_text import visible
from letta_source.state.session import Session

_logger = logging.getLogger("letta_source")
_CLEAR = "\r\x1b[K"
_SECONDS_ON_TERMINAL = 0.2
_SECONDS_IN_LOG = 5.0


class Progress(logging.Handler):
    """The progress line of a load, and the handler of its log: records do not run into the line.

    Args:
        session: session of the source that is being loaded.
        destination: its name, shown once everything was read.
        out: where to write, by default standard error.
        form: `json` for a log for machines: one object per line, with time, level, logger and message.
        level: level of `logging`; above INFO, the load's progress is not shown, either.
    """

    def __init__(
        self,
        session: Session,
        destination: str,
        out: TextIO | None = None,
        form: Literal["text", "json"] = "text",
        level: int = logging.INFO,
    ) -> None:
        super().__init__()
        self._form = form
        self._shown = level
        out = out or sys.stderr
        self._session = session
        self._destination = destination
        self._out = out
        self._terminal = out.isatty() and form == "text"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="letta_source.cli.progress", daemon=True)

    def __enter__(self) -> Progress:
        _logger.addHandler(self)
        self._level = _logger.level
        _logger.setLevel(self._shown)
        if self._shown <= logging.INFO:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        _logger.removeHandler(self)
        _logger.setLevel(self._level)
        if self._terminal:
            self._write(_CLEAR)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a log record on a line of its own."""
        self._say(record.levelname.lower(), record.name, self.format(record), record.created)

    def _say(self, level: str, name: str, message: str, moment: float) -> None:
        """Write one line, with its time unless it goes to a terminal."""
        text = visible(message, keep="\n")
        at = datetime.fromtimestamp(moment, timezone.utc)
        if self._form == "json":
            line = {"time": at.isoformat(), "level": level, "logger": name, "message": message}
            self._write(f"{json.dumps(line)}\n")
        elif self._terminal:
            self._write(f"{_CLEAR}{level}: {text}\n")
        else:
            self._write(f"{at:%Y-%m-%dT%H:%M:%SZ} {level}: {text}\n")

    def _run(self) -> None:
        while not self._stopped.wait(_SECONDS_ON_TERMINAL if self._terminal else _SECONDS_IN_LOG):
            line = visible(describe(self._session, self._destination))
            if self._terminal:
                # A longer line would wrap, and its first part would stay.
                width = shutil.get_terminal_size().columns - 1
                self._write(f"{_CLEAR}{line[:width]}")
            else:
                self._say("info", _logger.name, line, time.time())

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def describe(session: Session, destination: str) -> str:
    """Return one line: the resource being read, the number of items, the speed."""
    reading = [(name, counts) for name, counts in list(session.counts.items()) if counts.ended is None]
    if session.written.is_writing or not reading:
        items = sum(counts.items for counts in session.counts.values())
        return f"writing {items:,} items to {destination}" if session.counts else "starting"
    name, counts = reading[-1]
    parents = f"{counts.done:,} of {counts.parents:,} parents, " if counts.parents else ""
    speed = counts.items / counts.seconds if counts.seconds > 0 else 0
    return f"reading {name}: {parents}{counts.items:,} items, {speed:,.0f} items/s"
