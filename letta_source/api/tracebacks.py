"""Tracebacks without the frames of other libraries, in which secrets stand as they are sent.

Where a connection breaks, variables of HTTP libraries hold the headers with the key or a proxy's password,
and those of drivers hold the database's password. A crash reporter would send them. The errors, their texts
and their causes stay.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from letta_source.api import transport

_OURS = str(Path(__file__).parents[1])
# These stand between libraries, and get from one what the other is given.
_BETWEEN = {transport.__file__, __file__}


def keep_our_frames(error: BaseException) -> TracebackType | None:
    """Remove the frames of others from an error and all that led to it; return the traceback that is left."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        one.__traceback__ = _ours(one.__traceback__)
    return error.__traceback__


def _ours(trace: TracebackType | None) -> TracebackType | None:
    kept = []
    while trace:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(_OURS) and name not in _BETWEEN:
            kept.append(trace)
        trace = trace.tb_next
    made: TracebackType | None = None
    for one in reversed(kept):
        made = TracebackType(made, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return made
