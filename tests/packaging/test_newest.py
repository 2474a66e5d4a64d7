"""The newest version of every dependency, even beyond the project's caps, loads and exports."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.environments import install, make_environment
from tests.support.paths import ROOT

pytestmark = pytest.mark.newest


# The README's program, on the tables of `letta-source demo`.
PROGRAM = """
import warnings
warnings.simplefilter("error")
from letta_source import open_dataset
from letta_source.export import batches, conversation, to_arrow, to_pandas

pipeline = open_dataset("letta_demo.duckdb")
messages = to_pandas(pipeline, "agent_messages", children=["tool_calls"])
assert str(messages.dtypes["created_at"]) == "datetime64[us, UTC]", messages.dtypes
assert {type(config) for config in to_pandas(pipeline, "agents").llm_config} == {dict}
assert sum(batch.num_rows for batch in batches(pipeline, "agent_messages")) == len(messages)
assert to_arrow(pipeline, "agent_messages").num_rows == len(messages)
assert "**User**" in str(conversation(pipeline, messages.agent_id.mode()[0]))
print(len(messages))
"""


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of commands of an environment with the newest versions."""
    listed = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert listed
    names = re.findall(r'"([\w.-]+(?:\[\w+\])?)', listed[1])
    python = make_environment(tmp_path_factory.mktemp("newest") / "venv")
    subprocess.run([*install(python), "--upgrade", *names], check=True)
    subprocess.run([*install(python), "--no-deps", str(ROOT)], check=True)
    return python.parent


def test_loaded_rows_can_be_exported(newest: Path, tmp_path: Path) -> None:
    assert_what_was_loaded_comes_out(newest, tmp_path)


def assert_what_was_loaded_comes_out(commands: Path, tmp_path: Path) -> None:
    """Load the demo with an environment's commands, and read it in every way."""
    environment = {**os.environ, "DLT_DATA_DIR": str(tmp_path / "dlt")}
    environment.pop("PYTHONPATH", None)

    def run(*command: str) -> str:
        done = subprocess.run(
            [commands / command[0], *command[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("letta-source", "demo")
    rows = int(run("python", "-c", PROGRAM))
    place = ("--pipeline-name", "letta_demo")
    lines = run("letta-source", "export", "agent_messages", "--children", *place).splitlines()
    assert len(list(map(json.loads, lines))) == rows
    for name in ("m.csv", "m.parquet"):
        run("letta-source", "export", "agent_messages", *place, "--output", name)
        assert (tmp_path / name).stat().st_size
