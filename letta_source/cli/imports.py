"""Import what a command needs, in a process that was started for it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import without garbage collection while the block runs, and spare later collections what it imported.

    Modules are not garbage; searching them for some takes a seventh of a small load's time. Where dlt was
    imported before, the process does more than load: what is garbage there stays collectable.
    """
    if "dlt" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
