"""Programs that tests start, which never outlive the tests."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

# Seconds.
START_TIMEOUT = 120
STOP_TIMEOUT = 20

# Runs a command whose process group is signalled as soon as the pipe on its standard input closes: when
# we close it, and also when this process is killed without cleaning up.
TETHER = 'exec 3<&0; (cat <&3 >/dev/null; kill -s "$0" 0) & exec "$@" 3<&- </dev/null'


@contextmanager
def tethered(
    command: Sequence[str],
    log: Path,
    stop_signal: str,
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, which does not outlive the block or this process."""
    arguments = ["/bin/sh", "-c", TETHER, stop_signal, *command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            user=user,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop within %d s and is killed", command[0], STOP_TIMEOUT)
        finally:
            # Also end what the command started and left behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    """Wait until a program is ready.

    Raises:
        RuntimeError: It ended, or did not start; the message ends with the end of its log.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while not ready():
        if process.poll() is not None:
            problem = f"ended with {process.returncode}"
        elif time.monotonic() > deadline:
            problem = f"did not come up within {START_TIMEOUT} s"
        else:
            time.sleep(0.1)
            continue
        raise RuntimeError(f"{log.stem} {problem}:\n{log.read_text(errors='replace')[-4000:]}")


def run_to_end(command: Sequence[str], env: Mapping[str, str], cwd: Path, user: str | None = None) -> str:
    """Run a command; return its output.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(command, env=env, cwd=cwd, user=user, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
