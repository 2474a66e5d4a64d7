"""Run one load of a pipeline at a time: file locks on this machine, a lease in the destination for others."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from dlt.common.destination.exceptions import DestinationException, DestinationUndefinedEntity
from filelock import FileLock, Timeout

from letta_source.destinations.dlt_files import assert_writable, local_place
from letta_source.destinations.dlt_internals import DatabaseException, pipelines_folder, sql_client_of
from letta_source.destinations.duckdb_files import WAIT
from letta_source.destinations.lease import Lease
from letta_source.destinations.lease_sql import TABLE, can_lease
from letta_source.errors import ConfigError, InUse
from letta_source.loading.dlt_rules import ours
from letta_source.loading.error_text import one_line
from letta_source.loading.own_folder import assert_loadable_path, close_to_others, make_own_folder
from letta_source.loading.recovery import discard_if_damaged
from letta_source.loading.target import Target

logger = logging.getLogger(__name__)

# Bytes of a file's name.
_LONGEST_NAME = 255
_DIGITS = 32


@contextmanager
def pipeline_lock(target: Target, steal: bool = False) -> Iterator[Target]:
    """Keep others from running the pipeline while the block runs: each would clean up the other's packages.

    Args:
        steal: take the lease even from another holder.

    Yields:
        The target, with the lease if its destination has one.

    Raises:
        ConfigError: another process runs it, or another user could write into the pipeline's folder.
    """
    folder = Path(pipelines_folder())
    assert_loadable_path(folder, target.destination)
    make_own_folder(folder / target.name)
    with ExitStack() as stack:
        try:
            running = InUse(
                f"the pipeline {target.name} is being run already: {WAIT}, or choose another --pipeline-name"
            )
            own = _locked(folder / f"{target.name}.lock", running, 0o600, target.wait)
            stack.enter_context(own)
        except _CannotLock as error:
            # Two runs in one working folder would lose rows, and nothing else would keep them apart.
            raise ConfigError(f"{error}: set DLT_DATA_DIR to a folder on a disk that has locks") from error
        discard_if_damaged(folder / target.name)
        try:
            with ours(target.name, target.shard.count), _held_there(target, steal) as leased:
                yield leased
        finally:
            close_to_others(folder / target.name)


class _CannotLock(ConfigError):
    """The file cannot be created or locked: some network folders have no locks."""


@contextmanager
def _locked(file: Path, taken: InUse, mode: int, wait: float) -> Iterator[None]:
    # Someone may have planted a link in a shared folder: older versions of filelock empty the file it names.
    if file.is_symlink():
        raise ConfigError(f"{file} is a link, and a lock must be a file: remove it")
    # `is_held` also locks it, for a moment.
    lock = FileLock(file, mode=mode, timeout=max(0.2, wait))
    try:
        lock.acquire()
    except Timeout:
        raise taken from None
    except (OSError, NotImplementedError) as error:
        raise _CannotLock(f"{file} cannot be locked: {error}") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _held_there(target: Target, steal: bool) -> Iterator[Target]:
    """Keep out loads from other working folders, on this machine or another."""
    client = target.destination_client()
    if (place := local_place(client)) is not None:
        assert_writable(client)
        with _locked_beside(place, target.name, target.wait):
            yield target
        return
    sql_client = sql_client_of(client)
    lease = Lease(sql_client, target.name) if sql_client is not None and can_lease(sql_client) else None
    if lease is None or not _is_taken(lease, target.name, steal):
        yield target
        return
    with lease.kept():
        yield replace(target, lease=lease)


@contextmanager
def only_writer(target: Target, table_format: str | None) -> Iterator[None]:
    """Keep other pipelines of this machine out of Iceberg tables in a folder while the block runs.

    They would lose each other's rows, see `assert_no_iceberg_shard`.

    Raises:
        InUse: another pipeline is being loaded into them.
    """
    place = local_place(target.destination_client()) if table_format == "iceberg" else None
    with _locked_beside(place, None, target.wait) if place else nullcontext():
        yield


@contextmanager
def _locked_beside(place: Path, name: str | None, wait: float = 0.0) -> Iterator[None]:
    """Lock a local file or folder by a lock file beside it, for one pipeline or, without a name, for all."""
    lock = place.with_name(f".{place.stem}.{name}.lock" if name else f".{place.stem}.lock")
    if len(os.fsencode(lock.name)) > _LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(lock.name)).hexdigest()
        lock = place.with_name(f".{digest[:_DIGITS]}.lock")
    who = f"the pipeline {name}" if name else "another pipeline"
    taken = InUse(
        f"{who} is being loaded into {place} by another process, which holds the lock {lock}: wait for it"
        " (--wait SECONDS) or end it"
    )
    with ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{lock.parent} cannot be created: {error.strerror}: choose another") from error
        try:
            mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else 0o644
            stack.enter_context(_locked(lock, taken, mode & 0o666, wait))
        except _CannotLock as error:
            logger.warning(
                "%s could be loaded from another working folder at the same time, because no lock could be"
                " taken: %s", name or place, error,
            )  # fmt: skip
        yield


def _is_taken(lease: Lease, name: str, steal: bool) -> bool:
    """Take the lease; return False if its table cannot be created."""
    try:
        try:
            lease.take(steal)
        except DestinationUndefinedEntity:
            try:
                lease.make_table()
            except DatabaseException as error:
                logger.warning(
                    "the table %s cannot be created, so nothing prevents another machine from loading %s at"
                    " the same time: %s", TABLE, name, one_line(error),
                )  # fmt: skip
                return False
            lease.take(steal)
    except DestinationException as error:
        raise ConfigError(f"the lease of {name} in {TABLE} cannot be taken: {one_line(error)}") from error
    return True


@contextmanager
def while_idle(pipeline_name: str) -> Iterator[bool]:
    """Keep others on this machine from running a pipeline; yield False at once if somebody runs it."""
    lock = FileLock(Path(pipelines_folder()) / f"{pipeline_name}.lock", mode=0o600, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    except NotImplementedError:
        # A load does not run without locks.
        yield True
        return
    try:
        yield True
    finally:
        lock.release()


def is_held(pipeline_name: str) -> bool:
    """Return True if a process on this machine runs the pipeline of this name, which may be a shard's."""
    file = Path(pipelines_folder()) / f"{pipeline_name}.lock"
    if not file.exists():
        return False
    try:
        with FileLock(file, mode=0o600, blocking=False):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        # No load runs where there are no locks.
        return False
