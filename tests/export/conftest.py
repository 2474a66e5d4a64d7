"""Warehouses that tests of exports only read, each loaded once for all of them."""

from __future__ import annotations

import pytest

from letta_source.demo import recorded_letta, serve
from letta_source.schema.resources import RESOURCES
from tests.support.library_loads import Warehouse
from tests.support.reused_ids import reused


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Return the recordings of the real server, loaded into DuckDB."""
    warehouse = Warehouse(tmp_path_factory.mktemp("recorded"))
    with serve(recorded_letta()) as server:
        warehouse.load(server, *[name for name in RESOURCES if name not in ("messages", "message_search")])
    return warehouse


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Return a story in which ids of tool calls repeat, loaded into DuckDB."""
    warehouse = Warehouse(tmp_path_factory.mktemp("story"))
    with serve(reused()) as server:
        warehouse.load(server)
    return warehouse
