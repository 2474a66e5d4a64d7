"""Runs dbt in processes that are forked after its imports, which take half of a short call."""

from __future__ import annotations

import atexit
import json
import select
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

# Seconds; a build takes about 30.
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
        said = os.open(call["said"], os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir(call["folder"])
        os.environ.clear()
        os.environ.update(call["environment"])
        sys.argv[1:] = call["arguments"]
        exec(script, {"__name__": "__main__"})
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


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
        TimeoutError: it takes longer than `LONGEST`.
    """
    server = _server(python, script, tuple(modules))
    assert server.stdin
    assert server.stdout
    with TemporaryDirectory() as place:
        said = Path(place) / "said"
        call = {
            "folder": str(folder),
            "environment": dict(environment),
            "arguments": list(arguments),
            "said": str(said),
        }
        server.stdin.write(json.dumps(call) + "\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], LONGEST)[0]:
            raise TimeoutError(said.read_text("utf-8"))
        code = server.stdout.readline()
        assert code, "the process that runs dbt has ended"
        return int(code), said.read_text("utf-8")


@cache
def _server(python: Path, script: str, modules: tuple[str, ...]) -> subprocess.Popen[str]:
    command = [str(python), "-W", "ignore", "-c", _SERVER, script, *modules]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_stop, server)
    return server


def _stop(server: subprocess.Popen[str]) -> None:
    # Both pipes are closed, and the process is waited for.
    with server:
        pass
