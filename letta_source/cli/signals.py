"""End the process at once on Ctrl-C and SIGTERM.

A load may be killed at any moment without losing anything, so there is nothing to tidy up; and a request, or
a merge in the database, would not stop in time.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from letta_source.state.session import Session

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping(last_words: Callable[[], str]) -> Iterator[None]:
    """End the process on either signal, with a last line on standard error; no effect in other threads.

    The exit code is `ExitCode.INTERRUPTED` or `ExitCode.TERMINATED`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told, tells = socket.socketpair()
    tells.setblocking(False)

    def watch() -> None:
        while number := told.recv(1):
            if number[0] not in _SIGNALS:
                continue
            try:
                os.write(2, f"\n{last_words()}\n".encode())
            finally:
                # Even if nobody reads standard error any more.
                os._exit(128 + number[0])

    watching = threading.Thread(target=watch, name="letta_source.cli.signals", daemon=True)
    watching.start()
    # Python runs handlers between two steps of the main thread, which may take long; the descriptor is
    # written to at once.
    handlers = {number: signal.signal(number, _nothing) for number in _SIGNALS}
    descriptor = signal.set_wakeup_fd(tells.fileno())
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        tells.close()
        watching.join()
        told.close()


def _nothing(number: int, frame: object) -> None:
    """Do nothing: the watching thread ends the process."""


def what_is_kept(session: Session) -> str:
    """Return the last line of a stopped load: the number of items loaded."""
    if session.written.is_writing:
        return "stopped while a load package was written: the next run finishes it first"
    if session.written.items:
        return f"stopped: {session.written.items:,} items are loaded, the next run continues from there"
    return "stopped: nothing was loaded yet, the next run begins where this one did"
