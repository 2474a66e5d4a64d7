"""The tables, columns, keys, resources and dlt hints of commit cc101f0 are still there."""

from __future__ import annotations

import pytest

from letta_source.demo import serve
from letta_source.schema.resources import RESOURCES, all_tables
from tests.oracle import kept
from tests.oracle.dumps import DESTINATIONS, Json, dlt_dumps, schema_dump
from tests.oracle.story import Story

FOUND = schema_dump(RESOURCES, all_tables())
KEPT = kept.schema()


@pytest.mark.parametrize("table", KEPT["tables"])
def test_a_table_keeps_its_keys_and_columns(table: str) -> None:
    was, now = KEPT["tables"][table], FOUND["tables"].get(table)
    # `content` may cover more than then, but not less.
    covered = [name for name, column in was["columns"].items() if not column["content"]]
    for name in covered:
        was["columns"][name] |= {"content": now["columns"][name]["content"]}
    assert list(kept.differences(was, now)) == []
    assert len(covered) < len(was["columns"])


@pytest.mark.parametrize("resource", KEPT["resources"])
def test_a_resource_keeps_what_it_loads(resource: str) -> None:
    assert list(kept.differences(KEPT["resources"][resource], FOUND["resources"].get(resource))) == []


def test_resources_keep_their_order() -> None:
    # Later resources use what earlier ones listed.
    assert [name for name in FOUND["resources"] if name in KEPT["resources"]] == list(KEPT["resources"])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Json:
    letta = Story().letta
    with serve(letta) as self_hosted, serve(letta, "cloud") as cloud:
        return dlt_dumps(tmp_path_factory.mktemp("dlt"), self_hosted.base_url, cloud.base_url)


@pytest.mark.whole
@pytest.mark.parametrize("destination", DESTINATIONS)
def test_dlt_hints_are_unchanged(destination: str, told: Json) -> None:
    assert KEPT["dlt"][destination]
    assert list(kept.differences(KEPT["dlt"][destination], told[destination])) == []
