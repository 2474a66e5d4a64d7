"""Write the models that `letta-source report` runs in its own DuckDB, as dbt compiles them for DuckDB.

Run it when a model changes, where dbt-duckdb is installed: `python dbt/compile_report.py`. A test checks that
the file is up to date.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
SCRIPT = PACKAGE.parent / "letta_source" / "report" / "models.sql"
# In order: each model reads only those before it.
MODELS = (
    "int_letta__messages",
    "int_letta__tool_events",
    "int_letta__tool_calls",
    "int_letta__run_turns",
    "int_letta__model_prices",
    "letta__step_costs",
    "letta__turns",
    "letta__errors",
)
_HEAD = "-- Made by dbt/compile_report.py: models of the dbt package, compiled for DuckDB.\n"
# Names have a database, a schema and a table; the report has only tables.
_RELATION = re.compile(r'"\w+"\."\w+"\."(\w+)"')


def script(compiled: Mapping[str, str]) -> str:
    """Return the script for compiled models; `compiled` maps their names to SQL."""
    return _HEAD + "".join(_statement(name, compiled[name]) for name in MODELS)


def _statement(name: str, sql: str) -> str:
    lines = [line.rstrip() for line in _RELATION.sub(r"\1", sql).splitlines()]
    return f"\nCREATE TABLE {name} AS\n" + "\n".join(line for line in lines if line) + ";\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        unwanted = shutil.ignore_patterns("target", "logs", "dbt_packages", "package-lock.yml")
        shutil.copytree(PACKAGE, Path(folder) / "dbt", ignore=unwanted)
        project = Path(folder) / "dbt" / "integration_tests"
        environment = {
            **os.environ,
            "LETTA_DBT_TARGET": "duckdb",
            "LETTA_DBT_DUCKDB": f"{folder}/empty.duckdb",
        }
        for command in (["deps"], ["compile", "--select", *MODELS, "--exclude", "resource_type:test"]):
            subprocess.run(["dbt", "--quiet", *command], cwd=project, env=environment, check=True)
        manifest: dict[str, Any] = json.loads((project / "target" / "manifest.json").read_text("utf-8"))
    compiled = {node["name"]: node.get("compiled_code") or "" for node in manifest["nodes"].values()}
    SCRIPT.write_text(script(compiled), "utf-8")


if __name__ == "__main__":
    main()
