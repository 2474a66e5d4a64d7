"""Settings of dlt that a load sets unless the environment does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

TELEMETRY = "RUNTIME__DLTHUB_TELEMETRY"
SETTINGS = {
    # dlt reports usage to its makers unless told not to.
    TELEMETRY: "false",
    # dlt would keep the files of every loaded package, with prompts in them.
    "LOAD__DELETE_COMPLETED_JOBS": "true",
    # dlt would buffer 5,000 rows before it writes them, however large they are.
    "DATA_WRITER__BUFFER_MAX_ITEMS": "1",
}


# Variables of database drivers, set whatever the environment says.
FORCED = {
    # ADBC, which copies into PostgreSQL, sends UTF-8 whatever the role or the database sets.
    "PGCLIENTENCODING": "UTF8",
}


def set_for_process() -> None:
    """Apply `SETTINGS` for good, before dlt is imported."""
    os.environ.update(FORCED)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs: dlt looks there first."""
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(before)


@contextmanager
def dlt_settings() -> Iterator[None]:
    """Apply `SETTINGS` and `FORCED` while the block runs."""
    import dlt

    from letta_source.destinations.dlt_internals import (
        is_telemetry_started,
        start_telemetry,
        stop_telemetry,
    )

    added = {name: value for name, value in SETTINGS.items() if name not in os.environ}
    # Another pipeline of this process may have started the telemetry.
    paused = is_telemetry_started() and os.environ.get(TELEMETRY) in (None, SETTINGS[TELEMETRY])
    if paused:
        stop_telemetry()
    try:
        with environment(added | FORCED):
            yield
    finally:
        if paused:
            start_telemetry(dlt.current.run_context().runtime_config)
