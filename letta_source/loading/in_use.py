"""Errors for DuckDB files and pipelines that another process uses, and waiting for it to end."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from letta_source.errors import InUse

Result = TypeVar("Result")

_SECONDS_BETWEEN = 0.5
# DuckDB's message; it names no program in another container.
_LOCKED = re.compile(
    r'Could not set lock on file "(.*?)"(?:: Conflicting lock is held in (.*? \(PID \d+\)))?'
)
_HOW = "wait until it has ended, or give --wait SECONDS"


def in_use(message: str) -> InUse | None:
    """Return the error for a DuckDB file that another process holds; None if the message is another."""
    if (found := _LOCKED.search(message)) is None:
        return None
    return InUse(f"{found[1]} is in use by {found[2] or 'another process'}: {_HOW}")


def is_being_run(pipeline: str) -> InUse:
    """Return the error for a pipeline that another process runs."""
    return InUse(f"the pipeline {pipeline} is being run already: {_HOW}, or choose another --pipeline-name")


def waited_for(seconds: float, attempt: Callable[[], Result]) -> Result:
    """Retry an attempt as long as it raises InUse.

    Raises:
        InUse: it still does after so many seconds.
    """
    tries = Retrying(
        retry=retry_if_exception_type(InUse),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(_SECONDS_BETWEEN),
        reraise=True,
    )
    return tries(attempt)
