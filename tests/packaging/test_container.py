"""The container: pinned, not root, and its steps make an environment in which the command works."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT

# Continued lines are one.
TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text("utf-8"))
LINES = [line.partition(" ") for line in TEXT.splitlines() if line and not line.startswith("#")]
STEPS = [(word, rest) for word, _, rest in LINES]


def of(word: str) -> list[str]:
    return [rest for one, rest in STEPS if one == word]


def test_images_are_named_by_their_full_version() -> None:
    assert len(of("FROM")) == 2
    assert len({image.split()[0] for image in of("FROM")}) == 1
    assert all(
        re.match(r"python:3\.\d+\.\d+-slim-\w+(@sha256:\w{64})?( AS \w+)?$", one) for one in of("FROM")
    )


def test_it_is_not_root_and_owns_what_it_writes() -> None:
    last = STEPS[[word for word, _ in STEPS].index("FROM", 1) :]
    words = [word for word, _ in last]
    assert dict(last)["USER"] == "1000:1000"
    assert words.index("RUN") < words.index("USER") < words.index("ENTRYPOINT")
    assert "install -d -o letta -g letta /data" in dict(last)["RUN"]
    assert dict(last)["WORKDIR"] == dict(last)["VOLUME"] == "/data"


def test_what_is_copied_is_not_ignored_and_nothing_else_is_sent() -> None:
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[0] == "!"
    ]
    copied = [name for rest in of("COPY") if "--from" not in rest for name in rest.split()[:-1]]
    assert sorted(name.removeprefix("./") for name in copied) == sorted(allowed)
    assert not any(fnmatch(".dlt/secrets.toml", pattern) for pattern in allowed)


def test_the_manifest_uses_it() -> None:
    text = (ROOT / "pipelines" / "kubernetes_job.yaml").read_text("utf-8")
    pod = yaml.safe_load(text)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert f"docker build -t {container['image']} ." in text
    assert f"docker build -t {container['image']} ." in TEXT
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['fsGroup']}" == of("USER")[0]
    assert container["workingDir"] == of("WORKDIR")[-1]


@pytest.mark.release
def test_its_steps_make_what_its_commands_need(tmp_path: Path) -> None:
    source, opt, data = tmp_path / "src", tmp_path / "opt", tmp_path / "data"
    for folder in (source, opt, data):
        folder.mkdir()
    # The image's own Python; dlt's telemetry is off as in every test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = f"{Path(sys.executable).resolve().parent}{os.pathsep}{environment['PATH']}"
    first = STEPS[: [word for word, _ in STEPS].index("FROM", 1)]
    for word, rest in first:
        if word == "COPY":
            *names, target = rest.split()
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(
                        ROOT / name, source / target, ignore=shutil.ignore_patterns("__pycache__")
                    )
                else:
                    shutil.copy(ROOT / name, source / target)
        if word == "RUN":
            step = rest.replace("/opt/", f"{opt}/")
            subprocess.run(["bash", "-ec", step], cwd=source, env={**environment, "PATH": path}, check=True)
    said = [rest for word, rest in STEPS[len(first) :] if word == "ENV"]
    variables = dict(one.split("=", 1) for rest in said for one in shlex.split(rest))
    variables["PATH"] = variables["PATH"].replace("/opt/", f"{opt}/").replace("$PATH", environment["PATH"])
    variables["DLT_DATA_DIR"] = variables["DLT_DATA_DIR"].replace("/data", str(data))

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        inside = {**environment, **variables}
        return subprocess.run(words, cwd=data, env=inside, capture_output=True, text=True, check=False)

    health = of("HEALTHCHECK")[0].partition(" CMD ")[2]
    assert command("sh", "-c", health).returncode == 2, "nothing was loaded yet"
    [entrypoint] = [yaml.safe_load(rest) for rest in of("ENTRYPOINT")]
    loaded = command(*entrypoint, "demo")
    assert loaded.returncode == 0, loaded.stderr
    variables["STATUS_OPTIONS"] = "--database letta_demo.duckdb"
    healthy = command("sh", "-c", health)
    assert healthy.returncode == 0, healthy.stderr
    assert "agent_messages" in healthy.stdout
    assert sorted(file.name for file in data.iterdir() if not file.name.startswith("."))[0] == "dlt"
    assert yaml.safe_load(of("CMD")[0]) == ["run"]
