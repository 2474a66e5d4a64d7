"""Give memory back to the system, before a destination takes its own."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

import pyarrow as pa


def give_back_memory() -> None:
    """Give back what reading took: what dlt leaves in circles of references, too."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    # glibc keeps what was freed; other C libraries have no such function.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
