"""Parts of the dbt package that repeat something else are up to date."""

from __future__ import annotations

import re
from runpy import run_path

from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES
from tests.support.paths import ROOT

PACKAGE = ROOT / "dbt"


def test_generated_files_are_up_to_date() -> None:
    made = run_path(str(PACKAGE / "generate.py"))["files"]()
    macros = [PACKAGE / "macros" / name for name in ("letta_schema.sql", "letta_pairing.sql")]
    there = [*(PACKAGE / "models" / "staging").iterdir(), *macros]
    assert {path: path.read_text("utf-8") for path in there} == made


def test_every_model_is_in_the_readme() -> None:
    readme = (PACKAGE / "README.md").read_text("utf-8")
    models = {path.stem for path in PACKAGE.glob("models/*/*letta__*.sql")}
    assert {name for name in models if f"`{name}`" not in readme and not name.startswith("stg_")} == set()


def test_every_variable_is_in_the_readme() -> None:
    readme = (PACKAGE / "README.md").read_text("utf-8")
    files = (path for ending in ("sql", "yml") for path in PACKAGE.glob(f"[ms]*/**/*.{ending}"))
    variables = {name for path in files for name in re.findall(r"var\(['\"](\w+)", path.read_text("utf-8"))}
    # The staging models' macro builds the names with this prefix.
    variables.discard("letta__using_")
    variables |= {f"letta__using_{name}" for name in (*RESOURCES, LOAD_ISSUES.name)}
    assert len(variables) > 20
    assert {name for name in variables if f"`{name}`" not in readme} == set()
