"""The virtual environment the real Letta server runs in: made from the pinned list, once, and cached."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("letta-server.txt")

# The versions the pinned server allows; the list was resolved with the first, so that one is tried first.
PYTHON_VERSIONS = ("3.11", "3.12", "3.13")


def server_python() -> Path:
    """Return the Python of a virtual environment with the pinned Letta server, making it when it is absent.

    The environment is cached below `LETTA_SOURCE_CACHE` (`~/.cache/letta_source` when unset).

    Raises:
        RuntimeError: No interpreter the server can run on was found, or the packages did not install.
    """
    version, interpreter = _interpreter()
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("LETTA_SOURCE_CACHE") or "~/.cache/letta_source").expanduser()
    environment = cache / f"letta-server-{key}"
    python = environment / "bin" / "python"
    # The last thing written, so that an environment without it is half made.
    complete = environment / "complete"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{environment.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(environment, ignore_errors=True)
            _run(interpreter, "-m", "venv", str(environment))
            _run(str(python), "-m", "pip", "install", "--quiet", "uv")
            _run(str(python), "-m", "uv", "pip", "install", "--python", str(python), "-r", str(REQUIREMENTS))
            complete.touch()
    return python


def _interpreter() -> tuple[str, str]:
    """Return the version ("3.11") and the path of an interpreter the server can run on."""
    current = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in PYTHON_VERSIONS:
        candidate = sys.executable if version == current else shutil.which(f"python{version}")
        if candidate and _runs(candidate):
            return version, candidate
    allowed = ", ".join(PYTHON_VERSIONS)
    raise RuntimeError(f"the Letta server needs Python {allowed} on the path; this is Python {current}")


def _runs(interpreter: str) -> bool:
    """Return whether it starts: a version manager's shim may be on the path without its version."""
    return subprocess.run([interpreter, "-c", ""], capture_output=True, check=False).returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
