"""The container is pinned and not root, and its steps make an environment in which the command works."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch

import pytest
import yaml

from tests.support import debian_tree
from tests.support.debian_tree import Image
from tests.support.paths import ROOT

# Joins continued lines.
TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text("utf-8"))
LINES = [line.partition(" ") for line in TEXT.splitlines() if line and not line.startswith("#")]
STEPS = [(word, rest) for word, _, rest in LINES]


def of(word: str) -> list[str]:
    return [rest for one, rest in STEPS if one == word]


def test_images_are_pinned() -> None:
    assert len(of("FROM")) == 2
    assert len({image.split()[0] for image in of("FROM")}) == 1
    assert all(
        re.match(r"python:3\.\d+\.\d+-slim-\w+(@sha256:\w{64})?( AS \w+)?$", one) for one in of("FROM")
    )


def test_it_is_not_root_and_owns_its_volume() -> None:
    last = STEPS[[word for word, _ in STEPS].index("FROM", 1) :]
    words = [word for word, _ in last]
    assert dict(last)["USER"] == "1000:1000"
    assert words.index("RUN") < words.index("USER") < words.index("ENTRYPOINT")
    assert "install -d -o letta -g letta /data" in dict(last)["RUN"]
    assert dict(last)["WORKDIR"] == dict(last)["VOLUME"] == "/data"


def test_the_build_context_has_only_what_is_copied() -> None:
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


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Return the image's last stage, built step by step in a tree of the Debian that the Dockerfile names."""
    if reason := debian_tree.why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("image")
    [release] = {re.findall(r"-slim-(\w+)", image)[0] for image in of("FROM")}
    try:
        debian_tree.make_tree(release, folder / "debian.tar")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"Debian's packages cannot be had: {error.stderr[-500:]}")
    stages: dict[str, Image] = {}
    for word, rest in STEPS:
        if word == "FROM":
            name = rest.partition(" AS ")[2]
            stages[name] = Image(folder / "debian.tar", folder / f"stage-{name}")
        try:
            stages[name].step(word, rest, stages)
        except subprocess.CalledProcessError as error:
            pytest.fail(f"{word} {rest}\n{error.stdout}{error.stderr}")
    return stages[""]


@pytest.mark.release
def test_the_image_loads_as_its_user_and_is_healthy_after_a_load(image: Image) -> None:
    health = ["sh", "-c", of("HEALTHCHECK")[0].partition(" CMD ")[2]]
    [entrypoint] = [yaml.safe_load(rest) for rest in of("ENTRYPOINT")]
    assert image.run(health).returncode == 2, "nothing was loaded yet"
    assert image.run(["id", "-u"]).stdout == "1000\n"
    loaded = image.run([*entrypoint, "demo"])
    assert loaded.returncode == 0, loaded.stderr
    image.variables["STATUS_OPTIONS"] = "--database letta_demo.duckdb"
    healthy = image.run(health)
    assert healthy.returncode == 0, healthy.stderr
    assert "agent_messages" in healthy.stdout
    assert {"dlt", "letta_demo.duckdb"} <= set(image.run(["ls", "/data"]).stdout.split())
    assert yaml.safe_load(of("CMD")[0]) == ["run"]


@pytest.mark.release
def test_the_image_writes_only_to_its_volume(image: Image) -> None:
    refused = image.run(["touch", "/opt/letta-source/new"])
    assert "Permission denied" in refused.stderr
    assert image.run(["touch", "/data/new"]).returncode == 0
