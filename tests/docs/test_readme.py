"""The README says what the code does, and CI runs what the README says."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from docs import settings_table
from letta_source.cli import main
from letta_source.errors import ExitCode
from letta_source.settings import Settings
from letta_source.source import letta
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_ci_runs_the_readmes_test_command() -> None:
    commands = re.findall(r"```sh\n(.+)\n```", README)
    demo, tests = commands[:2]
    assert demo.endswith("letta-source demo")
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize(("python", "pip"), [(7, 0), (0, 8)])
def test_ci_stops_where_the_environment_cannot_be_made(tmp_path: Path, python: int, pip: int) -> None:
    script, tools = tmp_path / ".ci" / "run", tmp_path / "tools"
    for folder in (script.parent, tools, tmp_path / ".venv" / "bin"):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", script)
    # Those that the script would install.
    found = ["chromium", "chromedriver", "mariadbd", "mmdebstrap"]
    commands = {tools / name: 0 for name in found} | {tools / "python3": python}
    for command, code in (commands | {tmp_path / ".venv" / "bin" / "pip": pip}).items():
        command.write_text(f"#!/bin/sh\nexit {code}\n")
        command.chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin"}
    ended = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (python or pip, "")


def test_the_settings_table_is_up_to_date() -> None:
    assert settings_table.PAGE.read_text("utf-8") == settings_table.page(), (
        "run python docs/settings_table.py"
    )


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= 900


def test_every_setting_is_an_argument_of_the_source() -> None:
    settings = {field.alias or name for name, field in Settings.model_fields.items()}
    assert inspect.signature(letta).parameters.keys() - {"session"} == settings


def test_every_option_is_in_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    docs = README + settings_table.PAGE.read_text("utf-8")
    assert {option for option in options if option not in docs} == set()


def test_exit_codes_match_the_code() -> None:
    codes = [str(code.value) for code in ExitCode]
    operate = (ROOT / "docs" / "operate.md").read_text("utf-8")
    assert re.findall(r"^\| (\d+) \|", operate, re.MULTILINE) == codes
    assert re.findall(r"^\| (\d+) \|", README, re.MULTILINE) == codes[:4]


def test_no_index_address_in_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line) for line in lines)
