"""A Letta, loaded into two warehouses, and its models built in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from letta_source.demo import Letta, serve
from letta_source.tables import RESOURCES

from ..postgres import postgres
from .project import Project
from .story import told
from .warehouses import DuckDB, Postgres, Warehouse


@dataclass(frozen=True)
class Built:
    """What one `dbt build` made.

    Attributes:
        statuses: of each of its nodes, by id.
        models: what it knew of each model and seed that is on, by name.
    """

    letta: Letta
    warehouse: Warehouse
    project: Project
    statuses: dict[str, str]
    models: dict[str, dict[str, Any]]


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("duckdb", "postgres")],
)
def warehouse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "duckdb":
        yield DuckDB(folder)
        return
    with postgres(folder) as server:
        yield Postgres(folder, server, "letta")


@pytest.fixture(scope="session")
def built(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Every family, those on request too, in its first build."""
    letta = told()
    everything = [name for name in RESOURCES if name != "message_search"]
    with serve(letta) as server:
        warehouse.load(server.base_url, "--resources", ",".join(everything))
    with serve(letta, "cloud") as server:
        warehouse.load(server.base_url, "--resources", "message_search", "--search-query", "dice")
    project = Project.create(tmp_path_factory.mktemp("project"), warehouse)
    on_request = {f"letta__using_{r.name}": True for r in RESOURCES.values() if r.on_request}
    statuses = project.build(**on_request)
    return Built(letta, warehouse, project, statuses, project.models())
