"""A Letta loaded into a warehouse, and the models built there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from letta_source.demo import Letta, serve
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES
from tests.support.dbt_project import LAYERS, Project
from tests.support.dbt_story import told
from tests.support.dbt_warehouses import DbtWarehouse

ON_REQUEST = {f"letta__using_{r.name}": True for r in RESOURCES.values() if r.on_request}
# The families that every host must have.
KEPT = ("agents", "agent_messages")

_OF_NO_FINISHED_LOAD = """
    INSERT INTO agent_messages (agent_id, id, position, created_at, message_type, _dlt_load_id)
    SELECT agent_id, 'message-unfinished', 0, created_at, message_type, '9999999999.0'
    FROM agent_messages LIMIT 1
"""
# Rows as append-only plain files have them: one for each change.
_OLD_VERSIONS = """
    INSERT INTO agents (id, name, _dlt_load_id) SELECT id, 'its old name', '1.0' FROM agents
"""
_OLD_LOAD = """
    INSERT INTO _dlt_loads (load_id, status, inserted_at)
    SELECT '1.0', 0, min(inserted_at) FROM _dlt_loads
"""


@dataclass(frozen=True)
class Built:
    """The outcome of one `dbt build`.

    Attributes:
        statuses: the status of each node, by id.
        models: what dbt knew of each enabled model and seed, by name.
    """

    letta: Letta
    warehouse: DbtWarehouse
    project: Project
    statuses: dict[str, str]
    models: dict[str, dict[str, Any]]


def build(warehouse: DbtWarehouse, folder: Path) -> Built:
    """Load every family, those on request included, and build their models."""
    letta = told()
    everything = [name for name in RESOURCES if name != "message_search"]
    with serve(letta) as server:
        warehouse.load(server.base_url, "--resources", ",".join(everything))
    with serve(letta, "cloud") as server:
        warehouse.load(
            server.base_url, "--same-server", "--resources", "message_search", "--search-query", "dice"
        )
    project = Project.create(folder, warehouse)
    statuses = project.build(**ON_REQUEST)
    return Built(letta, warehouse, project, statuses, project.models())


def less(built: Built, folder: Path) -> Project:
    """Return a project of two families, short of some columns, with rows of unfinished and older loads."""
    warehouse = built.warehouse.copy(folder)
    gone = [t.name for r in RESOURCES.values() if r.name not in KEPT for t in r.tables] + [LOAD_ISSUES.name]
    warehouse.execute(
        # The copy has the models too, and views depend on the tables they read.
        *(f"DROP SCHEMA {name} CASCADE" for name in reversed(LAYERS)),
        # CASCADE, because there is a view of load_issues.
        *(f"DROP TABLE {name} CASCADE" for name in gone),
        *(f"ALTER TABLE agent_messages DROP COLUMN {name}" for name in ("sequence", "seq_id", "extra")),
        *(_OF_NO_FINISHED_LOAD, _OLD_VERSIONS, _OLD_LOAD),
    )
    return replace(built.project, warehouse=warehouse)
