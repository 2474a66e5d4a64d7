"""The examples for cron, GitHub Actions and Kubernetes in `pipelines/` are right; cron's line is run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from croniter import croniter

from letta_source.demo import serve
from tests.support.command import Command, two_agents
from tests.support.paths import ROOT

pytestmark = pytest.mark.whole

PIPELINES = ROOT / "pipelines"


def crontab() -> tuple[str, str]:
    """Return the schedule and the command."""
    (line,) = [line for line in (PIPELINES / "crontab").read_text().splitlines() if not line.startswith("#")]
    *when, command = line.split(maxsplit=5)
    return " ".join(when), command


def cron(folder: Path) -> str:
    """Run the command as cron does, in this folder; return the output that cron would mail."""
    (folder / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    script = folder / ".venv" / "bin" / "letta-source"
    if not script.exists():
        script.symlink_to(Path(sys.executable).with_name("letta-source"))
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "DLT_DATA_DIR": str(folder / "dlt")}
    done = subprocess.run(
        ["/bin/sh", "-c", crontab()[1].replace("/srv/letta", str(folder))],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.stdout


def test_cron_mails_only_failures(letta_source: Command) -> None:
    secrets = letta_source.folder / ".dlt" / "secrets.toml"
    secrets.parent.mkdir()
    letta = two_agents()
    with serve(letta, api_key="sk-let-canary") as server:
        secrets.write_text(
            f'[sources.letta]\nbase_url = "{server.base_url}"\napi_key = "sk-let-canary"\nretries = 0\n'
        )
        poisoned = next(iter(letta.messages.rows))
        letta.poison(poisoned)
        assert "could not be read: see load_issues" in cron(letta_source.folder)
        letta.cure(poisoned)
        assert cron(letta_source.folder) == ""
        assert letta_source.count("agents") == 2
    assert "letta-source: " in cron(letta_source.folder).splitlines()[-1]


def test_every_schedule_is_valid() -> None:
    workflow = yaml.safe_load((PIPELINES / "github_actions.yml").read_text())
    job = yaml.safe_load((PIPELINES / "kubernetes_job.yaml").read_text())
    # YAML parses the key `on` as true.
    schedules = [crontab()[0], workflow[True]["schedule"][0]["cron"], job["spec"]["schedule"]]
    assert [schedule for schedule in schedules if not croniter.is_valid(schedule)] == []


@pytest.mark.parametrize("engine", ["github_actions.yml", "kubernetes_job.yaml"])
def test_every_shard_is_run(engine: str) -> None:
    manifest = yaml.safe_load((PIPELINES / engine).read_text())
    if engine == "github_actions.yml":
        shards = manifest["jobs"]["load"]["strategy"]["matrix"]["shard"]
    else:
        job = manifest["spec"]["jobTemplate"]["spec"]
        (container,) = job["template"]["spec"]["containers"]
        (count,) = re.findall(r'--shard "\$JOB_COMPLETION_INDEX/(\d+)"', container["args"][0])
        shards = [f"{index}/{count}" for index in range(job["completions"])]
    count = shards[0].partition("/")[2]
    assert shards == [f"{index}/{count}" for index in range(int(count))]
