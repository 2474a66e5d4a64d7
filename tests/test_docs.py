"""The pages of `docs/` say what the code does."""

from __future__ import annotations

import re

import pytest

from docs import generate
from letta_source.demo import recorded_letta, serve
from letta_source.tables import RESOURCES

from .warehouse import EVERY_RESOURCE, TABLES, Merged, columns_of, small_letta

# Found by what only Cloud answers.
ON_CLOUD = ("steps", "message_search")


def test_the_tables_are_those_of_the_code() -> None:
    assert generate.PAGE.read_text("utf-8") == generate.page(), "run python docs/generate.py"


@pytest.mark.parametrize("resource", RESOURCES)
def test_items_come_from_the_endpoint_that_is_named(resource: str) -> None:
    method, path = RESOURCES[resource].endpoint.split()
    pattern = re.sub(r"\{\w+\}", "[^/]+", path)
    with serve(small_letta(), "cloud" if resource in ON_CLOUD else "self-hosted") as server:
        Merged().load(server, resource, search_query="hi")
        asked = [request for request in server.requests if request.method == method]
    assert any(re.fullmatch(pattern, request.path) for request in asked)


def test_references_name_ids_of_the_same_kind() -> None:
    merged = Merged()
    with serve(recorded_letta()) as server:
        merged.load(server, *EVERY_RESOURCE)

    def kinds(table: str, column: str) -> set[str]:
        """What Letta's ids begin with: run, agent, …"""
        place = columns_of(table).index(column)
        return {row[place].partition("-")[0] for row in merged.rows(table) if row[place]}

    met = set()
    for table in TABLES.values():
        for column in table.columns:
            if column.references and (found := kinds(table.name, column.name)):
                assert found == kinds(*column.references.split(".")), f"{table.name}.{column.name}"
                met.add(f"{table.name}.{column.name}")
    assert {"agent_messages.run_id", "steps.run_id", "runs.agent_id", "batch_messages.agent_id"} <= met
