"""Runs the command line in subprocesses that are forked after a load's imports, which take seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

# Seconds, of one command.
LONGEST = 300

_IMPORTED = (
    "letta_source.cli.run", "letta_source.loading.run", "dlt.destinations.impl.duckdb.duck",
    "dlt.sources.helpers.requests",
    "anyio._backends._asyncio", "httpcore", "pandas", "pyarrow.parquet",
    "dlt.destinations.impl.postgres.postgres", "adbc_driver_manager.dbapi",
    "dlt.destinations.impl.sqlalchemy.sqlalchemy_job_client", "dlt.destinations.impl.filesystem.filesystem",
    "dlt.common.libs.deltalake", "dlt.common.libs.pyiceberg", "pyiceberg.catalog.sql",
    "tests.support.type_hints", "tests.support.frozen",
)  # fmt: skip
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(list(_IMPORTED))


def started(
    folder: Path,
    command: str,
    environment: Mapping[str, str],
    before: Callable[[], object] | None = None,
) -> BaseProcess:
    """Start `letta-source` in a folder, whose file `said` gets its output.

    Args:
        environment: variables to add to those of this process.
        before: a function that the process calls first; it must be picklable.
    """
    said = folder / "said"
    variables = {**os.environ, **environment}
    process = _FORKS.Process(target=_run, args=(folder, command.split(), variables, said, said, before))
    process.start()
    return process


def ran(
    folder: Path, arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `letta-source` in a folder to its end.

    Args:
        environment: all of its variables.

    Raises:
        TimeoutError: it takes longer than `LONGEST`.
    """
    with TemporaryDirectory() as place:
        out, err = Path(place) / "stdout", Path(place) / "stderr"
        process = _FORKS.Process(target=_run, args=(folder, arguments, environment, out, err, None))
        process.start()
        process.join(LONGEST)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(err.read_text("utf-8"))
        said = out.read_text("utf-8"), err.read_text("utf-8")
        return subprocess.CompletedProcess(arguments, process.exitcode, *said)


def is_stopped(process: BaseProcess) -> bool:
    """Return True if SIGSTOP has stopped all threads of a process."""
    try:
        stats = [stat.read_text() for stat in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        # A thread has ended meanwhile.
        return False
    return {stat.rpartition(")")[2].split()[0] for stat in stats} == {"T"}


def resume(process: BaseProcess) -> None:
    """Continue a stopped process."""
    assert process.pid
    os.kill(process.pid, signal.SIGCONT)


def _run(
    folder: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    out: Path,
    err: Path,
    before: Callable[[], object] | None,
) -> None:
    from letta_source.cli import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    os.dup2(os.open(out, flags), 1)
    os.dup2(1 if err == out else os.open(err, flags), 2)
    if before:
        before()
    raise SystemExit(main(arguments))
