"""Runs a program of another environment in processes that are forked after its imports, which take long."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

# Seconds, of one call.
LONGEST = 300

# Serves calls, one a line, until its standard input closes.
_SERVER = """
import importlib, json, os, sys
script, *modules = sys.argv[1:]
for module in modules:
    importlib.import_module(module)
for line in sys.stdin:
    call = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in enumerate(call["written"], 1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        os.chdir(call["folder"])
        os.environ.clear()
        os.environ.update(call["environment"])
        sys.argv[1:] = call["arguments"]
        exec(script, {"__name__": "__main__"})
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """A program that is called again and again.

    Args:
        python: the environment's Python.
        script: the program, which reads `sys.argv`.
        modules: what to import before the forks.
        options: Python's own, such as `-W ignore`.
        variables: environment variables to add for the imports; those of a call are its own.
    """

    def __init__(
        self,
        python: Path,
        script: str,
        modules: Sequence[str],
        options: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._server = subprocess.Popen(
            [str(python), *options, "-c", _SERVER, script, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(variables or {})},
        )

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], together: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Call it once, in a folder and with these environment variables only.

        Args:
            together: write both streams to `stdout`, in order.

        Raises:
            TimeoutError: it takes longer than `LONGEST`.
        """
        assert self._server.stdin
        assert self._server.stdout
        with TemporaryDirectory() as place:
            out, err = Path(place, "stdout"), Path(place, "stderr")
            written = (out, out if together else err)
            for file in (out, err):
                file.touch()
            call = {
                "folder": str(folder),
                "environment": dict(environment),
                "arguments": list(arguments),
                "written": [str(file) for file in written],
            }
            self._server.stdin.write(json.dumps(call) + "\n")
            self._server.stdin.flush()
            ended = select.select([self._server.stdout], [], [], LONGEST)[0]
            said = out.read_text("utf-8"), err.read_text("utf-8")
            if not ended:
                raise TimeoutError("\n".join(said))
            code = self._server.stdout.readline()
            assert code, "the process that forks has ended"
            return subprocess.CompletedProcess(arguments, int(code), *said)

    def close(self) -> None:
        """Close both pipes, which ends the process, and wait for it."""
        with self._server:
            pass
