"""One load at a time of each pipeline: on this machine by a file, elsewhere by a lease in the destination."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from letta_source.destinations.dlt_internals import pipelines_folder
from letta_source.errors import ConfigError
from letta_source.loading.dlt_rules import ours
from letta_source.loading.own_folder import close_to_others, make_own_folder
from letta_source.loading.target import Target


@contextmanager
def held(target: Target) -> Iterator[None]:
    """Keep others on this machine from running the pipeline meanwhile: each would mend what the other does.

    Raises:
        ConfigError: somebody runs it, or could write into the pipeline's folder.
    """
    folder = Path(pipelines_folder())
    make_own_folder(folder / target.name)
    # `is_held` holds it, too, for a moment.
    lock = FileLock(folder / f"{target.name}.lock", mode=0o600, timeout=0.2)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"the pipeline {target.name} is being run already: wait for it, or choose another --pipeline-name"
        ) from None
    try:
        with ours(target.name, target.shard.count):
            yield
    finally:
        close_to_others(folder / target.name)
        lock.release()


def is_held(pipeline_name: str) -> bool:
    """Tell whether somebody on this machine runs the pipeline of this name, which may be a shard's."""
    file = Path(pipelines_folder()) / f"{pipeline_name}.lock"
    if not file.exists():
        return False
    try:
        with FileLock(file, mode=0o600, blocking=False):
            return False
    except Timeout:
        return True
