"""requirements.lock has the versions of constraints.txt, with hashes, and all that the examples install."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.environments import install, make_environment
from tests.support.paths import ROOT

LOCK = (ROOT / "requirements.lock").read_text("utf-8")
INSTALL = "pip install --require-hashes -r requirements.lock", "pip install --no-deps --no-build-isolation ."


def pins(text: str) -> dict[tuple[str, str], str]:
    """Return versions by name and environment."""
    lines = [line.removesuffix("\\").strip() for line in text.splitlines() if re.match(r"[\w.-]+==", line)]
    found = [re.split("==| ; ", line, maxsplit=2) for line in lines]
    return {(name, "".join(marker)): version for name, version, *marker in found}


def test_versions_match_the_constraints() -> None:
    constraints = {
        (name, version) for (name, _), version in pins((ROOT / "constraints.txt").read_text("utf-8")).items()
    }
    locked = {(name, version) for (name, _), version in pins(LOCK).items()}
    assert len(locked) > 60
    assert locked - constraints == set()


def test_every_version_has_hashes_and_nothing_names_an_index() -> None:
    blocks = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(LOCK))
    assert [block for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []
    assert "://" not in LOCK


def test_all_requirements_are_locked() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    needed = {
        re.split(r"[\[<>=]", one)[0].lower()
        for one in re.findall(
            r'^    "([^"]+)",$', project.partition("dependencies = [")[2].partition("]\n")[0], re.M
        )
    }
    locked = {name for name, _ in pins(LOCK)}
    # The backend that builds the package is there, too.
    extras = {"psycopg2-binary", "adbc-driver-postgresql", "deltalake", "jinja2"}
    assert {*needed, *extras, "setuptools"} <= locked
    assert not {"pytest", "mypy", "ruff"} & locked


@pytest.mark.parametrize("file", ["docs/install.md", "pipelines/github_actions.yml", "Dockerfile"])
def test_the_docs_install_locked_packages(file: str) -> None:
    text = re.sub(r"\s+", " ", (ROOT / file).read_text("utf-8"))
    assert all(command in text for command in INSTALL)


def test_actions_are_pinned_by_commit() -> None:
    steps = yaml.safe_load((ROOT / "pipelines" / "github_actions.yml").read_text("utf-8"))["jobs"]["load"][
        "steps"
    ]
    used = [step["uses"] for step in steps if "uses" in step]
    assert len(used) == 2
    assert [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one)] == []


def test_postgresql_examples_use_encryption() -> None:
    files = [
        *ROOT.glob("docs/*.md"),
        ROOT / "README.md",
        *ROOT.glob("pipelines/*"),
        ROOT / ".dlt/secrets.toml.example",
    ]
    shown = [
        address
        for file in files
        if file.is_file()
        for address in re.findall(r"postgresql://[^\s\"'`]+", file.read_text("utf-8"))
    ]
    assert len(shown) >= 3
    assert [address for address in shown if "sslmode=" not in address] == []


@pytest.mark.newest
def test_the_lock_installs(tmp_path: Path) -> None:
    """It does so without an isolated build environment, too.

    By uv, in a tenth of pip's time; pip runs the same commands in the test of the container.
    """
    python = make_environment(tmp_path / "venv")
    for command in INSTALL:
        subprocess.run([*install(python), *command.split()[2:]], cwd=ROOT, check=True)
    said = subprocess.run([str(python.with_name("letta-source")), "--help"], capture_output=True, check=True)
    assert b"letta-source" in said.stdout
