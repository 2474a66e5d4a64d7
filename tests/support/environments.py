"""Cached virtual environments of pinned packages that are installed apart from the project."""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.paths import ROOT

_UV = (sys.executable, "-m", "uv")
_THIS_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def environment_python(
    name: str, requirements: Path, versions: Sequence[str] = (_THIS_VERSION,), no_deps: bool = False
) -> Path:
    """Return the Python of a virtual environment with a pinned list, creating it when it is absent.

    The environment is cached below `LETTA_SOURCE_CACHE` (`~/.cache/letta_source` when unset).

    Args:
        name: The name of its folder.
        requirements: The list, as `uv pip compile` writes it.
        versions: Python versions the list works with, such as 3.11, best first; by default this Python's.
        no_deps: Install only what the list names, because it leaves a dependency out.

    Raises:
        RuntimeError: None of these Python versions is installed, or the packages did not install.
    """
    version, interpreter = _interpreter(name, versions)
    key = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("LETTA_SOURCE_CACHE") or "~/.cache/letta_source").expanduser()
    folder = cache / f"{name}-{key}"
    python = folder / "bin" / "python"
    # Written last, so an environment without it is incomplete.
    complete = folder / "complete"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make_environment(folder, interpreter)
            _run(*install(python), *(["--no-deps"] if no_deps else []), "-r", str(requirements))
            complete.touch()
    return python


def extras_python(*extras: str) -> Path:
    """Return the Python of a cached environment with the packages of extras, pinned by constraints.txt.

    Raises:
        RuntimeError: The packages did not install.
    """
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    lists = re.findall(rf"^(?:{'|'.join(extras)}) = (\[.+\])$", project, re.MULTILINE)
    named = [one for found in lists for one in ast.literal_eval(found)]
    pins = (ROOT / "constraints.txt").read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        # uv reads the pins from a file of their own; with their digest, the cache key changes with them.
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(pins, "utf-8")
        digest = hashlib.sha256(pins.encode()).hexdigest()
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text("\n".join([f"# {digest}", "-c constraints.txt", *named, ""]), "utf-8")
        return environment_python("-".join(extras), wanted)


def make_environment(folder: Path, interpreter: str = sys.executable) -> Path:
    """Make a virtual environment with pip alone; return its Python.

    uv does what `venv` and pip do, in a tenth of the time.

    Raises:
        RuntimeError: pip did not install.
    """
    # `python -m build` takes longer where there is no pip.
    _run(*_UV, "venv", "--quiet", "--seed", "--python", interpreter, str(folder))
    return folder / "bin" / "python"


def install(python: Path) -> list[str]:
    """Return the command that installs into an environment what follows it."""
    return [*_UV, "pip", "install", "--quiet", "--python", str(python)]


def _interpreter(name: str, versions: Sequence[str]) -> tuple[str, str]:
    """Return the version ("3.11") and the path of the first interpreter that is installed."""
    for version in versions:
        candidate = sys.executable if version == _THIS_VERSION else shutil.which(f"python{version}")
        if candidate and _runs(candidate):
            return version, candidate
    raise RuntimeError(f"{name} needs Python {', '.join(versions)} on the path; this is {_THIS_VERSION}")


def _runs(interpreter: str) -> bool:
    """Return True if it starts: a version manager's shim may exist without its version."""
    return subprocess.run([interpreter, "-c", ""], capture_output=True, check=False).returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
