"""Plays a newcomer: does what README.md says, in a bare environment, and measures time and commands.

`python3 .ci/newcomer.py [--more] [--tests] [--python PYTHON] [CHECKOUT]`: of a checkout, by default this one,
in a copy that is removed again. `--more` also builds the dbt package on the demo and runs the notebook,
`--tests` runs the tests.
Ends with 1 if a command fails, or prints a warning or a traceback.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BAD = re.compile(r"Traceback|Warning:|^\S* ?warning:|^ERROR", re.MULTILINE)
SERVER = """
import sys, time
from letta_source.demo import recorded_letta, serve
with serve(recorded_letta()) as server:
    print(server.base_url, flush=True)
    sys.stdin.read()
"""
NOT_IN_A_CLONE = shutil.ignore_patterns(
    ".venv", "*cache*", ".hypothesis", "*.egg-info", "build", "dist", "site", "*.duckdb", "__pycache__"
)


class Newcomer:
    """A person who types the commands.

    Args:
        folder: The clone.
        home: An empty home. Of the user's environment, only `PATH` and pip's settings are visible.
        python: The folder of the newcomer's Python.
    """

    def __init__(self, folder: Path, home: Path, python: Path) -> None:
        self.folder, self.typed, self.failed = folder, 0, 0
        pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}
        path = f"{python}:/usr/local/bin:/usr/bin:/bin"
        self.environment = {**pip, "HOME": str(home), "PATH": path, "LANG": "C.UTF-8", "TMPDIR": str(home)}
        for name in ("pip.conf", "pip"):
            # Package sources are configured by the machine.
            for place in (Path.home() / ".config" / name, Path.home() / f".{name}"):
                if place.exists():
                    target = home / place.relative_to(Path.home())
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.symlink_to(place)

    def types(self, command: str, what: str) -> str:
        """Run one line, and return its output."""
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        # Standard output is data: conversations contain tracebacks.
        bad = done.returncode != 0 or BAD.search(done.stderr)
        self.typed += 1
        self.failed += bool(bad)
        print(
            f"{'FAILED' if bad else 'ok':<7} {time.monotonic() - began:6.1f} s  {what}: {command}", flush=True
        )
        if bad:
            print(done.stdout[-3000:] + done.stderr[-3000:])
        return done.stdout

    def activates(self) -> None:
        """Activate the environment that the README's command made."""
        self.typed += 1
        self.environment["PATH"] = f"{self.folder / '.venv' / 'bin'}:{self.environment['PATH']}"


def suggested(said: str) -> Iterator[str]:
    """Yield the commands that the demo suggests for its own tables."""
    closer = said.partition("Look closer:")[2].partition("Next, your own")[0]
    yield from (line.strip() for line in closer.splitlines() if line.strip())


def looks_around(newcomer: Newcomer) -> None:
    """Run the demo, its suggestions, the report, and a load from a server."""
    demo = re.findall(r"^```sh\n(.+)\n```", (newcomer.folder / "README.md").read_text("utf-8"), re.MULTILINE)[
        0
    ]
    said = newcomer.types(demo, "README, the demo")
    report = Path(said.rstrip().rpartition("\n")[2].strip())
    if not (report.suffix == ".html" and report.exists() and report.stat().st_size > 50_000):
        newcomer.failed += 1
        print(f"FAILED  no report at {report}")
    proposals = list(suggested(said))
    if len(proposals) < 4:
        newcomer.failed += 1
        print(f"FAILED  the demo proposes {proposals}")
    for command in proposals:
        newcomer.types(command, "as the demo proposes")
    newcomer.activates()
    newcomer.types("letta-source report --database letta_demo.duckdb", "README, the report")
    python = newcomer.folder / ".venv" / "bin" / "python"
    server = subprocess.Popen(
        [python, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=newcomer.environment,
    )
    assert server.stdin
    assert server.stdout
    try:
        url = server.stdout.readline().strip()
        newcomer.types(f"letta-source run --base-url {url}", "README, a server of one's own")
        newcomer.types("letta-source status", "README, how it went")
    finally:
        server.stdin.close()
        server.wait(10)


def goes_on(newcomer: Newcomer) -> None:
    """Build the dbt package and run the notebook."""
    project = "--project-dir dbt/integration_tests --profiles-dir dbt/integration_tests"
    newcomer.environment["LETTA_DBT_DUCKDB"] = str(newcomer.folder / "letta_demo.duckdb")
    install = ".dbt/bin/pip install -q --no-deps -r tests/dbt/dbt.txt"
    newcomer.types(f"python3 -m venv .dbt && {install}", "dbt, installed")
    newcomer.types(f".dbt/bin/dbt deps {project}", "dbt, the package")
    newcomer.types(f".dbt/bin/dbt build {project}", "dbt, on the demo's tables")
    newcomer.types("pip install -q jupyterlab matplotlib", "the notebook, as it says")
    newcomer.types("jupyter execute docs/explore.ipynb", "the notebook")


def tests_it(newcomer: Newcomer) -> None:
    """Run the README's test command."""
    tests = re.findall(
        r"^```sh\n(.+)\n```", (newcomer.folder / "README.md").read_text("utf-8"), re.MULTILINE
    )[1]
    newcomer.types(tests, "README, the tests")


def main() -> int:
    """Run the newcomer, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--tests", action="store_true")
    parser.add_argument("--python", type=Path, default=Path(sys.executable).resolve())
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).parents[1])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone, home, bin_ = (Path(folder) / name for name in ("letta_source", "home", "bin"))
        home.mkdir()
        bin_.mkdir()
        (bin_ / "python3").symlink_to(options.python)
        shutil.copytree(options.checkout, clone, ignore=NOT_IN_A_CLONE, symlinks=True)
        newcomer = Newcomer(clone, home, bin_)
        began = time.monotonic()
        looks_around(newcomer)
        if options.more:
            goes_on(newcomer)
        if options.tests:
            tests_it(newcomer)
        took = time.monotonic() - began
    print(f"{newcomer.typed} commands in {took:.0f} s, {newcomer.failed} failed")
    return 1 if newcomer.failed else 0


if __name__ == "__main__":
    sys.exit(main())
