"""The README says what the code does, and CI runs what the README says."""

from __future__ import annotations

import inspect
import re

import pytest

from letta_source.cli import main
from letta_source.schema.tables import CHILDREN, LOAD_ISSUES, RESOURCES
from letta_source.settings import Settings
from letta_source.source import letta
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def first_cells(title: str) -> set[str]:
    rows = re.findall(r"^\| (.+?) \|", section(title), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_ci_runs_the_readmes_test_command() -> None:
    commands = re.findall(r"```sh\n(.+)\n```", README)
    demo, tests = commands[:2]
    assert demo.endswith("letta-source demo")
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_setting_is_in_the_table() -> None:
    settings = {field.alias or name for name, field in Settings.model_fields.items()}
    assert first_cells("Settings") == settings


def test_every_setting_is_an_argument_of_the_source() -> None:
    settings = {field.alias or name for name, field in Settings.model_fields.items()}
    assert inspect.signature(letta).parameters.keys() - {"session"} == settings


def test_every_table_is_in_the_table() -> None:
    children = {f"…__{child}" for child in CHILDREN}
    assert first_cells("Tables") == {*RESOURCES, *children, LOAD_ISSUES.name}


def test_every_option_is_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {option for option in options if option not in README} == set()


def test_no_index_address_in_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line) for line in lines)
