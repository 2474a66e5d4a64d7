"""Makes what is kept of commit cc101f0, again.

    git worktree add /tmp/cc101f0 cc101f0
    python3 -m venv /tmp/cc101f0/.venv
    /tmp/cc101f0/.venv/bin/pip install -c constraints.txt -e "/tmp/cc101f0[test]"
    .venv/bin/python -m tests.oracle.make /tmp/cc101f0/.venv/bin

The commit's own command loads, from the small Letta of the code that runs this. So what is kept can be made
again when that Letta changes; nothing else ever has to.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from letta_source.demo import serve
from tests.oracle.corpus import generated_pages, recorded_pages
from tests.oracle.kept import FOLDER
from tests.oracle.story import Story


def make_schema_and_rows(old: Path, folder: Path) -> None:
    pages = [*recorded_pages(), *generated_pages()]
    write_lines(folder / "pages.jsonl", (json.dumps(asdict(page), ensure_ascii=False) for page in pages))
    letta = Story().letta
    with ExitStack() as stack:
        servers = [stack.enter_context(serve(letta, dialect)) for dialect in ("self-hosted", "cloud")]
        script = str(Path(__file__).with_name("old_code.py"))
        urls = [server.base_url for server in servers]
        subprocess.run([old / "python", script, folder, *urls], check=True, cwd=folder)
    for name in ("schema.json", "rows.jsonl"):
        keep(name, (folder / name).read_bytes())


def write_lines(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def keep(name: str, content: bytes) -> None:
    (FOLDER / f"{name}.xz").write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def main(old: Path) -> None:
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        make_schema_and_rows(old, Path(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
