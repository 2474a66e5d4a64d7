"""Return memory to the system before a destination takes its own."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

import pyarrow as pa


def give_back_memory() -> None:
    """Return the memory that reading took, including what dlt leaves in reference cycles."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    # glibc keeps freed memory; other C libraries lack this function.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
