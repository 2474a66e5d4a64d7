"""Time and memory of a pipe of processes, their children included."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_TOUCH = """
import mmap
memory = mmap.mmap(-1, 3 << 30)
for at in range(0, len(memory), mmap.PAGESIZE):
    memory[at] = 1
"""

_EVERY = 0.05
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Measured:
    """The measurements of a pipe of processes.

    Attributes:
        started, ended: on `time.monotonic`, which all processes share.
        peak: bytes of memory of all of them together, at most.
        cpu: seconds of processor time of all of them.
        said: the output of the last one.
    """

    started: float
    ended: float
    peak: int
    cpu: float
    said: str


def touch_memory() -> None:
    """Take memory and give it back, so that no contender pays for a virtual machine's first use of it.

    Where the host reclaims free memory, a page that it returns costs about 16 µs instead of 0.7.
    """
    subprocess.run([sys.executable, "-c", _TOUCH], check=True)


class Failed(RuntimeError):
    """A process failed; the message says how it ended."""


def run(
    pipe: Sequence[Sequence[str]], folder: Path, environment: Mapping[str, str], name: str = "run"
) -> Measured:
    """Run commands in a folder, each reading the output of the one before.

    Args:
        name: the name of the files there that get their output.

    Raises:
        Failed: one of them failed.
    """
    said = folder / f"{name}.out"
    processes: list[subprocess.Popen[bytes]] = []
    feed: IO[bytes] | None = None
    with said.open("wb") as output, (folder / f"{name}.err").open("wb") as errors:
        started = time.monotonic()
        for at, command in enumerate(pipe):
            is_last = at == len(pipe) - 1
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=feed or subprocess.DEVNULL,
                stdout=output if is_last else subprocess.PIPE,
                stderr=errors,
            )
            if feed:
                # The first must notice when the second ends.
                feed.close()
            feed = process.stdout
            processes.append(process)
        with _Watched([process.pid for process in processes]) as watched:
            usages = [_waited(process) for process in processes]
            ended = time.monotonic()
    if any(process.returncode for process in processes):
        problems = (folder / f"{name}.err").read_text(errors="replace")[-3000:]
        codes = [process.returncode for process in processes]
        raise Failed(
            f"{pipe[-1][:4]} ended with {codes}:\n{problems}{said.read_text(errors='replace')[-500:]}"
        )
    largest = sum(usage.ru_maxrss for usage in usages) * 1024
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return Measured(started, ended, max(largest, watched.most), cpu, said.read_text(errors="replace"))


def _waited(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """Wait for the end of a process; its memory is the peak of it, or of its largest child."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


class _Watched:
    """The peak memory of processes with children, sampled while the block runs.

    The kernel's record of a process is exact, but of its children it keeps only the largest.
    """

    def __init__(self, pids: list[int]) -> None:
        self.most = 0
        self._pids = pids
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Watched:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY):
            every = [pid for parent in self._pids for pid in (parent, *_descendants(parent))]
            if len(every) > len(self._pids):
                self.most = max(self.most, sum(map(_memory, every)))


def _descendants(pid: int) -> list[int]:
    children: list[int] = []
    # A process or a thread may end meanwhile.
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return [found for child in children for found in (child, *_descendants(child))]


def _memory(pid: int) -> int:
    """Return its proportional share: memory that processes share counts once in all."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
