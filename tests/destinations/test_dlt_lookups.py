"""Values that dlt would compute again in each step are computed once, with the same result."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.storages.exceptions import SchemaNotFoundError

from letta_source.destinations.dlt_internals import Schema, SchemaStorage
from letta_source.destinations.dlt_lookups import find_capabilities_once, read_schemas_once
from letta_source.errors import ConfigError


@pytest.mark.parametrize(
    "destination",
    [
        dlt.destinations.duckdb("w.duckdb"),
        dlt.destinations.postgres("postgresql://me:pw@localhost/w"),
        dlt.destinations.sqlalchemy("sqlite:///w.db"),
        dlt.destinations.filesystem("file:///srv/lake"),
    ],
    ids=lambda one: str(one.destination_name),
)
def test_capabilities_are_found_once(
    destination: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    naming = Schema("letta").naming
    plain, named = destination.capabilities(), destination.capabilities(None, naming)
    looked_up: list[Any] = []
    find = destination.configuration

    def configuration(config: Any, accept_partial: bool) -> Any:
        looked_up.append(config)
        return find(config, accept_partial)

    monkeypatch.setattr(destination, "configuration", configuration)
    find_capabilities_once(destination)
    for _ in range(3):
        answer = destination.capabilities(naming=naming)
        assert shown(answer) == shown(named)
        assert shown(destination.capabilities()) == shown(plain)
        # The caller may change the result.
        answer.supported_loader_file_formats = []
    assert len(looked_up) <= 2


def shown(capabilities: Any) -> dict[str, str]:
    # Equivalent partial functions and dialects do not compare equal.
    return {name: re.sub(" at 0x[0-9a-f]+", "", str(value)) for name, value in dict(capabilities).items()}


def test_capabilities_with_a_given_configuration_are_not_cached() -> None:
    destination: Any = dlt.destinations.duckdb("w.duckdb", max_identifier_length=30)
    find_capabilities_once(destination)
    config = destination.spec()
    assert destination.capabilities(config).max_identifier_length == 30
    destination.caps_params["max_identifier_length"] = 20
    assert destination.capabilities(config).max_identifier_length == 20


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[dlt.Pipeline]:
    made = dlt.pipeline("read_once", pipelines_dir=str(tmp_path), destination="dummy")
    made.schemas.save_schema(Schema("letta"))
    made.default_schema_name = "letta"  # type: ignore[assignment]
    yield made
    made.deactivate()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the schemas that dlt reads from their files."""
    names: list[str] = []
    read = SchemaStorage.load_schema

    def load_schema(storage: SchemaStorage, name: str) -> Schema:
        names.append(name)
        return read(storage, name)

    monkeypatch.setattr(SchemaStorage, "load_schema", load_schema)
    return names


def _with_table(name: str) -> Schema:
    schema = Schema("letta")
    schema.update_table({"name": name, "columns": {"id": {"name": "id", "data_type": "text"}}})
    return schema


def test_a_schema_is_read_again_only_after_its_file_was_written(
    pipeline: dlt.Pipeline, reads: list[str]
) -> None:
    read_schemas_once(pipeline)
    assert all(pipeline.default_schema.name == "letta" for _ in range(5))
    assert reads == ["letta"]
    # Another process, or dlt itself in its next step.
    others = SchemaStorage(pipeline.schemas.config)
    others.save_schema(_with_table("agents"))
    reads.clear()
    assert all("agents" in pipeline.default_schema.tables for _ in range(5))
    assert reads == ["letta"]
    Path(pipeline.working_dir, "schemas", "letta.schema.json").unlink()
    with pytest.raises(SchemaNotFoundError):
        pipeline.schemas.load_schema("letta")


def test_changes_in_memory_do_not_replace_the_files_schema(pipeline: dlt.Pipeline) -> None:
    """dlt reads the file to take back what a failed step changed."""
    read_schemas_once(pipeline)
    pipeline.default_schema.update_table(_with_table("agents").tables["agents"])
    assert "agents" in pipeline.default_schema.tables
    assert "agents" not in pipeline.schemas.load_schema("letta").tables


def test_an_import_schema_path_is_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    (tmp_path / "mine").mkdir()
    made = dlt.pipeline(
        "imports", pipelines_dir=str(tmp_path), destination="dummy", import_schema_path=str(tmp_path / "mine")
    )
    made.schemas.save_schema(Schema("letta"))
    made.default_schema_name = "letta"  # type: ignore[assignment]
    read_schemas_once(made)
    assert {made.default_schema.name for _ in range(3)} == {"letta"}
    assert len(reads) == 3
    made.deactivate()


def test_a_dlt_without_live_schemas_is_refused(pipeline: dlt.Pipeline) -> None:
    del pipeline.schemas.live_schemas  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="has no live_schemas as letta_source knows it"):
        read_schemas_once(pipeline)
