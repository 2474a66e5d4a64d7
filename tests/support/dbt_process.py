"""Runs dbt in processes that are forked after its imports, which take half of a short call."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.support.forks import Forks


def run_dbt(
    python: Path,
    script: str,
    modules: Sequence[str],
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
) -> tuple[int, str]:
    """Run dbt once; return the exit code and the output.

    Args:
        python: the Python of dbt's environment.
        script: a program that calls dbt with `sys.argv`.
        modules: what to import before the fork.

    Raises:
        TimeoutError: it takes too long.
    """
    done = _forks(python, script, tuple(modules)).run(arguments, folder, environment, together=True)
    return done.returncode, done.stdout


@cache
def _forks(python: Path, script: str, modules: tuple[str, ...]) -> Forks:
    forks = Forks(python, script, modules, ("-W", "ignore"))
    atexit.register(forks.close)
    return forks
