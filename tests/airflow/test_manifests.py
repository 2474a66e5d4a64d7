"""The manifests match their schemas, and their commands load every shard into PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from letta_source.demo import serve
from tests.support.airflow_tables import assert_same_tables
from tests.support.library_loads import Merged, small_letta
from tests.support.paths import ROOT
from tests.support.postgres import create_database, postgres

pytestmark = pytest.mark.airflow

WORKFLOW = ROOT / "pipelines" / "github_actions.yml"
JOB = ROOT / "pipelines" / "kubernetes_job.yaml"

Command = tuple[list[str], dict[str, str]]
"""And the names of its secrets, by environment variable, or its plain variables."""


@pytest.mark.parametrize(
    "check",
    [
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)],
        ["kubernetes-validate", "--strict", str(JOB)],
    ],
    ids=["github_actions", "kubernetes"],
)
def test_manifest_is_valid(python: Path, check: list[str]) -> None:
    name, *arguments = check
    done = subprocess.run(
        [str(python.with_name(name)), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def kubernetes() -> Iterator[Command]:
    """Yield the command of each pod."""
    job = yaml.safe_load(JOB.read_text())["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    given = {each["name"]: _value(each) for each in container["env"] if each["name"] != "DLT_DATA_DIR"}
    for index in range(job["completions"]):
        yield [*container["command"], *container["args"]], {**given, "JOB_COMPLETION_INDEX": str(index)}


def _value(variable: dict[str, Any]) -> str:
    return str(variable["valueFrom"]["secretKeyRef"]["key"])


def github_actions() -> Iterator[Command]:
    """Yield the command of each job's last step."""
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["load"]
    step = job["steps"][-1]
    for shard in job["strategy"]["matrix"]["shard"]:
        given = {name: value.strip("${} ") for name, value in step["env"].items()}
        assert given["SHARD"] == "matrix.shard"
        yield ["/bin/sh", "-ec", step["run"]], {**given, "SHARD": shard}


@pytest.mark.parametrize(
    ("commands", "names"),
    [
        (kubernetes, {"api-key": "key", "warehouse": "warehouse"}),
        (github_actions, {"secrets.LETTA_API_KEY": "key", "secrets.WAREHOUSE": "warehouse"}),
    ],
    ids=["kubernetes", "github_actions"],
)
def test_its_commands_together_load_everything(commands: Any, names: dict[str, str], tmp_path: Path) -> None:
    expected = Merged()
    with serve(small_letta(agents=6), api_key="sk-let-canary") as server, postgres(tmp_path) as url:
        secrets = {"key": "sk-let-canary", "warehouse": create_database(url, "warehouse")}
        running = []
        for at, (command, given) in enumerate(commands()):
            folder = tmp_path / str(at)
            folder.mkdir()
            environment = {
                **{name: secrets.get(names.get(value, ""), value) for name, value in given.items()},
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
                "HOME": str(folder),
                # Each job has a machine of its own.
                "DLT_DATA_DIR": str(folder / "dlt"),
                "LETTA_BASE_URL": server.base_url,
            }
            running.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL))
        assert [process.wait(120) for process in running] == [0] * len(running)
        expected.load(server, api_key="sk-let-canary")
        assert_same_tables(secrets["warehouse"], expected)
