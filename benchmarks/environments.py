"""The virtual environments of those that are compared: made from their pinned lists, once, and cached."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).with_name("peers")


def peer_python(name: str) -> str:
    """The Python of an environment with `peers/NAME.txt`, made when it is absent.

    It is below `LETTA_SOURCE_CACHE` (`~/.cache/letta_source` when unset).

    Raises:
        RuntimeError: the packages did not install.
    """
    requirements = PEERS / f"{name}.txt"
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("LETTA_SOURCE_CACHE") or "~/.cache/letta_source").expanduser() / "benchmarks"
    environment = cache / f"{name}-{key}"
    python = str(environment / "bin" / "python")
    # The last thing written, so that an environment without it is half made.
    complete = environment / "complete"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{environment.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(environment, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(environment))
            _run(python, "-m", "pip", "install", "--quiet", "-r", str(requirements))
            complete.touch()
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
