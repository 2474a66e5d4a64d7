"""The dbt package as its users run it: a project that depends on it, over one warehouse."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.dbt_process import run_dbt
from tests.support.dbt_warehouses import DbtWarehouse
from tests.support.paths import ROOT

PACKAGE = ROOT / "dbt"

# The names that the warehouse has for the schema of the marts and for those of the other layers.
MODELS = "letta_models"
LAYERS = (MODELS, f"{MODELS}_letta_intermediate", f"{MODELS}_letta_staging")


@dataclass(frozen=True)
class Project:
    """A copy of the package and of `integration_tests`, in a folder of its own."""

    folder: Path
    warehouse: DbtWarehouse

    @classmethod
    def create(cls, folder: Path, warehouse: DbtWarehouse) -> Project:
        unwanted = shutil.ignore_patterns("target", "logs", "dbt_packages", "package-lock.yml")
        shutil.copytree(PACKAGE, folder / "dbt", ignore=unwanted)
        project = cls(folder / "dbt" / "integration_tests", warehouse)
        project.run("deps")
        return project

    def run(self, *arguments: str) -> str:
        """Call dbt once, with warnings as errors; return its output.

        Raises:
            AssertionError: the exit code is not 0.
        """
        code, said = self.try_run(*arguments)
        assert code == 0, said
        return said

    def try_run(self, *arguments: str) -> tuple[int, str]:
        """Call dbt once; return the exit code and the output."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DBT_", "LETTA_"))},
            **self.warehouse.models_environment,
            "LETTA_DBT_SCHEMA": MODELS,
            "DO_NOT_TRACK": "1",
        }
        return run_dbt(
            *self.warehouse.dbt(),
            ["--warn-error", "--no-use-colors", "--quiet", *arguments],
            self.folder,
            environment,
        )

    def build(self, **variables: Any) -> dict[str, str]:
        """Run `dbt build`; return the status of each node, by id."""
        self.run("build", "--vars", json.dumps(variables))
        return self.statuses()

    def statuses(self) -> dict[str, str]:
        """Return the status of each node of the last call, by id."""
        results = self._artifact("run_results")["results"]
        return {result["unique_id"]: result["status"] for result in results}

    def models(self) -> dict[str, dict[str, Any]]:
        """Return what the last call knew of each enabled model and seed of the package, by name."""
        nodes = self._artifact("manifest")["nodes"].values()
        return {node["name"]: node for node in nodes if node["resource_type"] in ("model", "seed")}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Query the warehouse; tables are those of the models."""
        return self.warehouse.rows(query, ",".join(LAYERS))

    def _artifact(self, name: str) -> dict[str, Any]:
        artifact: dict[str, Any] = json.loads((self.folder / "target" / f"{name}.json").read_text())
        return artifact
