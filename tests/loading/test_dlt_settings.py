"""A load from Python is like `letta-source run`: no telemetry, nothing left on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from letta_source.demo import Letta, serve
from tests.support.paths import ROOT

pytestmark = pytest.mark.whole

PROMPT = "a prompt that stays on no disk"
LIBRARY = """
import sys, dlt, letta_source
if "another" in sys.argv:
    pipeline = dlt.pipeline("another", destination="duckdb", dataset_name="things")
    pipeline.run([{"n": 1}], table_name="numbers")
before = dict(__import__("os").environ)
letta_source.load(letta_source.Load({"base_url": sys.argv[1]}, resources=["agents", "agent_messages"]))
assert dict(__import__("os").environ) == before
if "another" in sys.argv:
    pipeline.run([{"n": 2}], table_name="numbers")
"""


@contextmanager
def reports() -> Iterator[tuple[str, list[str]]]:
    """Yield a URL for dlt's telemetry, and the names of the pipeline steps that it received."""
    came: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["event"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came
    finally:
        server.shutdown()
        server.server_close()


def load(folder: Path, address: str, *arguments: str, **more: str) -> None:
    letta = Letta()
    letta.talk(letta.add_agent(), PROMPT)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RUNTIME__", "LOAD__"))},
        "PYTHONPATH": str(ROOT),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY_ENDPOINT": address,
        **more,
    }
    with serve(letta) as server:
        program = [sys.executable, "-c", LIBRARY, server.base_url, *arguments]
        subprocess.run(program, check=True, cwd=folder, env=environment, timeout=120)


def test_a_load_reports_nothing_and_leaves_no_prompt_on_disk(tmp_path: Path) -> None:
    with reports() as (address, came):
        load(tmp_path, address)
    assert came == []
    files = [file for file in (tmp_path / "dlt").rglob("*") if file.is_file()]
    assert files
    assert [file for file in files if PROMPT.encode() in file.read_bytes() or file.suffix == ".parquet"] == []


def test_telemetry_of_another_pipeline_continues(tmp_path: Path) -> None:
    with reports() as (address, came):
        load(tmp_path, address, "another")
    assert came.count("pipeline_load") == 2


def test_telemetry_can_be_turned_on(tmp_path: Path) -> None:
    with reports() as (address, came):
        load(tmp_path, address, RUNTIME__DLTHUB_TELEMETRY="true")
    assert "pipeline_load" in came
