"""The parts of a release, and the steps of its workflow."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environments import extras_python, install, make_environment
from tests.support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
STEPS = runpy.run_path(str(ROOT / ".ci" / "release.py"))
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
URL = "https://git.example.com/someone/letta_source"
# Present in a working tree, but not in a fresh checkout.
NOT_OURS = shutil.ignore_patterns(
    *(".git", ".venv", ".hypothesis", ".*_cache", "__pycache__"),
    *("*.egg-info", "build", "dist", "*.duckdb", "target", "site"),
)


def steps(workflow: Path, *jobs: str) -> list[dict[str, Any]]:
    found = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    return [step for name, job in found.items() if not jobs or name in jobs for step in job["steps"]]


def test_the_version_is_the_same_everywhere() -> None:
    version = STEPS["version"]()
    written = [file for file in (ROOT / "letta_source").rglob("*.py") if version in file.read_text("utf-8")]
    assert written == []
    STEPS["check"](f"v{version}")
    for file in ("Dockerfile", "pipelines/kubernetes_job.yaml"):
        assert set(re.findall(r"letta-source:(\S+)", (ROOT / file).read_text("utf-8"))) == {version}


@pytest.mark.parametrize("tag", ["v0.0.1", "0.2.0", "v0.2", "main"])
def test_a_tag_of_another_version_is_refused(tag: str) -> None:
    with pytest.raises(SystemExit, match=rf"the tag is {tag}, pyproject\.toml has \d"):
        STEPS["check"](tag)


def test_links_of_the_package_page_are_absolute() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    page = STEPS["absolute"](readme, URL, "v9")
    assert f"![The first page of a report]({URL}/raw/v9/docs/report.png)" in page
    assert f"({URL}/blob/v9/docs/export.md#as-chats)" in page
    targets = re.findall(r"\]\(([^)]+)\)", page)
    assert len(targets) == len(re.findall(r"\]\(([^)]+)\)", readme)) > 15
    assert [target for target in targets if not target.startswith("https://")] == []
    # Absolute links are unchanged, and a second pass changes nothing.
    assert "(https://www.letta.com)" in page
    assert STEPS["absolute"](page, URL, "v9") == page


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](docs)", f"[a]({URL}/tree/v9/docs)"),
        ("[a](docs/)", f"[a]({URL}/tree/v9/docs/)"),
        ("[a](#here)", f"[a]({URL}/blob/v9/README.md#here)"),
        ("[a](mailto:a@example.com)", "[a](mailto:a@example.com)"),
    ],
)
def test_links_of_every_kind(link: str, expected: str) -> None:
    assert STEPS["absolute"](link, URL, "v9") == expected


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_actions_are_pinned_by_commit_and_credentials_not_persisted(workflow: Path) -> None:
    text = workflow.read_text("utf-8")
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    assert [
        one for one, note in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one) or "# v" not in note
    ] == []
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")
    assert "secrets." not in text
    # Names of branches and tags are untrusted text, so scripts get them from the environment.
    assert [step for step in steps(workflow) if "${{" in step.get("run", "")] == []


def test_the_test_workflow_runs_what_ci_runs() -> None:
    workflow = ROOT / ".github" / "workflows" / "test.yml"
    [lint] = re.findall(r"^lint\(\) \{ (.+); \}$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    commands = [step["run"] for step in steps(workflow, "lint") if "run" in step]
    assert commands[1:] == lint.replace(".venv/bin/", "").split(" && ")
    markers = set(re.findall(r'^    "(\w+): ', PROJECT, re.MULTILINE))
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    suites = " or ".join(jobs["suites"]["strategy"]["matrix"]["suite"])
    assert set(suites.split(" or ")) == markers
    ci = " ".join(re.findall(r'-m ("[^"]+"|\w+)', (ROOT / ".ci" / "run").read_text("utf-8")))
    assert set(re.findall(r"\w+", ci)) - {"or", "venv"} == markers
    pythons = jobs["offline"]["strategy"]["matrix"]["python"]
    assert pythons == re.findall(r"Python :: (3\.\d+)", PROJECT)


def test_pre_commit_hooks_run_existing_files() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    folder = Path(sys.executable).parent
    for hook in hooks:
        command, *arguments = hook["entry"].split()
        assert shutil.which(command, path=str(folder)), command
        assert [one for one in arguments if one.endswith(".py") and not (ROOT / one).exists()] == []


def test_the_usual_project_files_exist() -> None:
    for file in ("LICENSE", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        assert (ROOT / file).stat().st_size > 500
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    assert 'license = "Apache-2.0"' in PROJECT
    assert "project.urls" not in PROJECT, "no urls until the owner gives them"


# The tests below need the tools of a release.


@pytest.fixture(scope="module")
def tools() -> Path:
    """Return the folder of commands of the extra `release`."""
    return extras_python("release").parent


@pytest.fixture(scope="module")
def released(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout in which the release workflow's first job ran, on a signed tag."""
    folder = tmp_path_factory.mktemp("release")
    checkout = folder / "checkout"
    shutil.copytree(ROOT, checkout, ignore=NOT_OURS)
    key = folder / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], folder)
    public = key.with_suffix(".pub").read_text("utf-8")
    signers = checkout / ".github" / "allowed_signers"
    signers.write_text(f'{signers.read_text("utf-8")}me@example.com namespaces="git" {public}', "utf-8")
    tag = f"v{STEPS['version']()}"
    identity = {"user.name": "me", "user.email": "me@example.com", "gpg.format": "ssh"}
    given = {**identity, "user.signingkey": str(key)}
    git = ["git", *(word for name, value in given.items() for word in ("-c", f"{name}={value}"))]
    run([*git, "init", "-q"], checkout)
    run([*git, "add", "-A"], checkout)
    run([*git, "commit", "-q", "-m", "all"], checkout)
    run([*git, "tag", "-s", tag, "-m", "signed"], checkout)
    run([*git, "tag", "-a", "v9.unsigned", "-m", "unsigned"], checkout)
    run([*git, "remote", "add", "origin", str(checkout)], checkout)
    for step in steps(RELEASE, "build"):
        if "run" in step and not step["run"].startswith("pip install "):
            run_step(step["run"], tools, checkout, tag)
    return checkout


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_step(script: str, tools: Path, checkout: Path, tag: str) -> None:
    server, repository = URL.removesuffix("/someone/letta_source"), "someone/letta_source"
    github = {"GITHUB_REF_NAME": tag, "GITHUB_SERVER_URL": server, "GITHUB_REPOSITORY": repository}
    environment = {**os.environ, **github, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    # Run the script as GitHub does.
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=checkout, env=environment, check=True, capture_output=True,
    )  # fmt: skip


@pytest.mark.release
def test_workflows_match_their_schema(tools: Path) -> None:
    check = str(tools / "check-jsonschema")
    run([check, "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)], ROOT)


@pytest.mark.release
def test_only_the_tools_of_the_extra_are_installed() -> None:
    [install] = [step["run"] for step in steps(RELEASE, "build") if "pip install" in step.get("run", "")]
    [extra] = re.findall(r"^release = (\[.+\])$", PROJECT, re.MULTILINE)
    assert install.startswith("pip install -c constraints.txt ")
    assert set(install.split()[4:]) < {re.split("[>=<]", one)[0] for one in json.loads(extra)}


@pytest.mark.release
def test_an_unsigned_tag_is_not_released(released: Path, tools: Path) -> None:
    [signed] = [step["run"] for step in steps(RELEASE, "build") if "verify-tag" in step.get("run", "")]
    with pytest.raises(subprocess.CalledProcessError):
        run_step(signed, tools, released, "v9.unsigned")


@pytest.mark.release
def test_the_wheel_has_the_package_and_nothing_else(released: Path) -> None:
    [wheel] = (released / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "letta_source",
        "dlt_source_letta",
    }
    package = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "letta_source").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert package == {name for name in names if name.startswith("letta_source/")}
    metadata = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert f"Version: {STEPS['version']()}\n" in metadata
    assert f"]({URL}/blob/v{STEPS['version']()}/CHANGELOG.md)" in metadata
    assert re.findall(r"\]\((?!https:)", metadata) == []


@pytest.mark.release
def test_the_wheel_works_in_an_empty_environment(released: Path, tmp_path: Path) -> None:
    [wheel] = (released / "dist").glob("*.whl")
    python = make_environment(tmp_path / "empty")
    run([*install(python), "-c", str(ROOT / "constraints.txt"), str(wheel)], tmp_path)
    command = str(python.with_name("letta-source"))
    assert run([command, "--version"], tmp_path) == f"letta-source {STEPS['version']()}\n"
    # Without the extra `report` there is no report, and a line names the extra.
    assert "No report: " in run([command, "demo"], tmp_path)
    exported = run([command, "export", "agents", "--database", "letta_demo.duckdb"], tmp_path)
    assert len(exported.splitlines()) > 20


@pytest.mark.release
def test_the_sdists_tests_run(released: Path, tmp_path: Path) -> None:
    [sdist] = (released / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.iterdir()
    has = {str(file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()}
    tracked = set(run(["git", "ls-files"], released).splitlines())
    # The workflow built it from a tree with a changed README.
    assert tracked - has == set()
    # All are collected, and those of three files run. Rewriting the assertions would take longer than both.
    some = "test_flatten.py or test_docs.py or test_lock.py"
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--assert=plain", "-k", some]
    [(passed, others)] = re.findall(r"^(\d+) passed, (\d+) deselected", run(pytest_, unpacked), re.MULTILINE)
    assert int(passed) > 100
    assert int(passed) + int(others) > 2_000


@pytest.mark.release
def test_the_sbom_lists_the_dependencies(released: Path) -> None:
    listed = json.loads((released / "sbom.cdx.json").read_text("utf-8"))
    assert listed["metadata"]["component"]["name"] == "dlt-source-letta"
    assert listed["metadata"]["component"]["version"] == STEPS["version"]()
    names = {component["name"] for component in listed["components"]}
    assert {"dlt", "httpx", "duckdb", "pyarrow"} <= names
    assert len(names) > 60
    assert all(component["version"] for component in listed["components"])
