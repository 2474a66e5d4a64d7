"""The page `docs/dlt.md`, followed in a dlt project: the pipeline, dlt's commands, the dashboard."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from letta_source.demo import recorded_letta, serve
from tests.support.environments import environment_python
from tests.support.paths import ROOT

KEY = "of-this-test"

pytestmark = pytest.mark.docs

PAGE = (ROOT / "docs" / "dlt.md").read_text("utf-8")


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def python() -> Path:
    return environment_python("dashboard", Path(__file__).with_name("dashboard.txt"))


@pytest.fixture(scope="module")
def environment(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folders = {"DLT_DATA_DIR": str(tmp_path_factory.mktemp("data")), "PYTHONPATH": str(ROOT)}
    # As in an activated environment; nothing opens a browser.
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **folders, "PATH": path, "BROWSER": "true"}


@pytest.fixture(scope="module")
def project(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the project's folder after its pipeline ran."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".dlt").mkdir()
    secrets, config = fences("toml")
    (folder / ".dlt" / "secrets.toml").write_text(secrets.replace("…", KEY), "utf-8")
    [program] = fences("python")
    (folder / "letta_pipeline.py").write_text(program, "utf-8")
    with serve(recorded_letta(), api_key=f"sk-let-{KEY}") as server:
        # Only the URL of this server is not on the page.
        (folder / ".dlt" / "config.toml").write_text(f'{config}base_url = "{server.base_url}"\n', "utf-8")
        said = run(["python", "letta_pipeline.py"], folder, environment)
    assert said.returncode == 0, said.stderr
    assert "LOADED and contains no failed jobs" in said.stdout
    return folder


def commands() -> Iterator[list[str]]:
    for fence in fences("sh"):
        yield from (line.split() for line in fence.splitlines() if line.startswith("dlt "))


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("info", ["agent_messages with 5 table(s)", "Pipeline has last run trace"]),
        ("trace", ["COMPLETED in", "agent_messages: 412 row(s)"]),
        ("schema", ["agent_messages__tool_calls"]),
    ],
)
def test_dlts_commands_show_the_pipeline(
    project: Path, environment: dict[str, str], command: str, shown: list[str]
) -> None:
    [words] = [words for words in commands() if words[-1] == command]
    said = run(words, project, environment)
    assert said.returncode == 0, said.stderr
    assert [one for one in shown if one not in said.stdout] == []


def test_the_dashboard_starts(project: Path, environment: dict[str, str]) -> None:
    [words] = [words for words in commands() if words[-1] == "show"]
    log = project / "dashboard.log"
    with log.open("wb") as out:
        # In a process group of its own, because it starts other processes.
        running = subprocess.Popen(
            words, cwd=project, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (address := re.search(r"URL: (http://\S+)", log.read_text("utf-8", "replace"))):
            assert running.poll() is None, log.read_text("utf-8", "replace")
            assert time.monotonic() < deadline, log.read_text("utf-8", "replace")
            time.sleep(0.2)
        page = httpx.get(address[1], timeout=60, follow_redirects=True)
        assert page.status_code == 200
        assert "dashboard" in page.text.lower()
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        running.wait(20)
