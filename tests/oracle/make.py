"""Make the stored results of commit cc101f0 again.

    git worktree add CHECKOUT cc101f0
    python3 -m venv CHECKOUT/.venv
    CHECKOUT/.venv/bin/pip install -c constraints.txt -e "CHECKOUT[test]"
    .venv/bin/python -m tests.oracle.make CHECKOUT/.venv/bin

CHECKOUT is an absolute path outside of this repository. With more arguments, `rows` or names of cases, only
those are made. The commit's own command loads from the current code's small Letta, so the results can be made
again when that Letta changes.
"""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from letta_source.demo import Server, serve
from tests.oracle.cases import CASES, ENVIRONMENT, Asked, Case, Killed, Rows, asked_of, rows_of
from tests.oracle.corpus import generated_pages, recorded_pages
from tests.oracle.dumps import to_line
from tests.oracle.kept import FOLDER, archive_name, warehouses
from tests.oracle.story import DAYS, Story

_KILLED = 99
# Code that exits as a kill would: before dlt's next step, or before dlt records that it loaded a file.
_KILL: dict[Killed, str] = {
    "": "",
    "extracted": f"import dlt, os; dlt.Pipeline.normalize = lambda *_, **__: os._exit({_KILLED})",
    "normalized": f"import dlt, os; dlt.Pipeline.load = lambda *_, **__: os._exit({_KILLED})",
    "begun": f"""
import os, re, sys
def see(event, arguments):
    if event in ("open", "os.rename") and re.search("pending_transitions/agent_messages[.]", str(arguments)):
        os._exit({_KILLED})
sys.addaudithook(see)
""",
}


def make_schema_and_rows(old: Path, folder: Path) -> None:
    pages = [*recorded_pages(), *generated_pages()]
    write_lines(folder / "pages.jsonl", (json.dumps(asdict(page), ensure_ascii=False) for page in pages))
    letta = Story().letta
    with ExitStack() as stack:
        servers = [stack.enter_context(serve(letta, dialect)) for dialect in ("self-hosted", "cloud")]
        script = str(Path(__file__).with_name("old_code.py"))
        urls = [server.base_url for server in servers]
        subprocess.run(
            [old / "python", script, folder, *urls],
            check=True,
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    for name in ("schema.json", "rows.jsonl"):
        keep(name, (folder / name).read_bytes())


def write_lines(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def make_warehouses(old: Path, names: Sequence[str]) -> None:
    """Leave each warehouse as its case says, archive it, and continue its loads."""
    rows: dict[str, Rows] = {}
    asked: dict[str, Asked] = {}
    if len(names) < len(CASES):
        before = warehouses()
        rows, asked = before["rows"], before["asked"]
    for name in names:
        case = CASES[name]
        print(name)
        story = Story()
        with serve(story.letta) as server, TemporaryDirectory() as folder:
            load = Load(old, server, case, Path(folder))
            if case.poisoned:
                story.letta.poison(story.unreadable)
            for _ in range(1, case.days):
                load.run()
                story.day()
            load.run(case.killed)
            if not case.left:
                load.archive(FOLDER / archive_name(name))
            for _ in range(case.days, DAYS):
                story.day()
            if case.poisoned == "cured":
                story.letta.cure(story.unreadable)
            server.requests.clear()
            load.run()
            held = rows_of(case, Path(folder))
            if rows.setdefault(case.rows, held) != held:
                raise AssertionError(f"{name}: its rows are not those of {case.rows}")
            asked[name] = asked_of(server)
    keep("warehouses.json", to_line({"rows": rows, "asked": asked}).encode())


class Load:
    """Loads of one case by the old command."""

    def __init__(self, old: Path, server: Server, case: Case, folder: Path) -> None:
        self._old = old
        self._server = server
        self._case = case
        self._folder = folder

    def run(self, killed: Killed = "") -> None:
        command = str(self._old / "letta-source")
        for options in self._case.runs:
            arguments = ["run", "--base-url", self._server.base_url, *options.split()]
            script = f"{_KILL[killed]}\nimport runpy, sys\nsys.argv = {[command, *arguments]}\n"
            script += f"runpy.run_path({command!r}, run_name='__main__')"
            environment = {"PATH": os.environ["PATH"], **ENVIRONMENT}
            done = subprocess.run([self._old / "python", "-c", script], cwd=self._folder, env=environment)
            expected = [_KILLED] if killed else [0, 3] if self._case.poisoned else [0]
            assert done.returncode in expected, done.returncode
        if killed == "begun":
            done_before = [
                *self._folder.rglob("completed_jobs/*"),
                *self._folder.rglob(".pending_transitions/*"),
            ]
            assert done_before, "no other file was loaded before: try again"

    def archive(self, file: Path) -> None:
        def clean(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
            """Remove traces of the user, and files that no load reads."""
            if info.name.endswith((".lock", "trace.pickle")):
                return None
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            return info

        with tarfile.open(file, "w:xz", preset=9) as archive:
            archive.add(self._folder, ".", filter=clean)


def keep(name: str, content: bytes) -> None:
    (FOLDER / f"{name}.xz").write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def main(old: Path, what: Sequence[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    if "rows" in what:
        with TemporaryDirectory() as folder:
            make_schema_and_rows(old, Path(folder))
    make_warehouses(old, [name for name in CASES if name in what])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ("rows", *CASES))
