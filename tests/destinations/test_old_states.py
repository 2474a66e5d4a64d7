"""Every destination keeps a pipeline's last states of completed loads, and all other states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import pytest

from letta_source.destinations.old_states import drop_old_states
from letta_source.loading.target import Target
from tests.support.places import Place

pytestmark = pytest.mark.destinations


@pytest.fixture
def target(place: Place, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("DLT_DATA_DIR", str(place.folder / "dlt"))
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    said = dict(zip(place.options[::2], place.options[1::2], strict=True))
    dataset = said.get("--dataset-name", "letta")
    return Target("letta", said.get("--destination", "duckdb"), dataset, wait=0.0).resolved()


def load(pipeline: dlt.Pipeline, number: int) -> str:
    """Load a row and a state; return the load id."""

    @dlt.resource(name="numbers")
    def numbers() -> Any:
        dlt.current.resource_state()["number"] = number
        yield {"number": number}

    source = dlt.source(lambda: numbers, name="letta")()
    (load_id,) = pipeline.run(source).loads_ids
    return load_id


def states(pipeline: dlt.Pipeline, place: Place) -> dict[str, list[str]]:
    """Return the stored load ids by pipeline."""
    found: dict[str, list[str]] = {}
    for name, load_id in _pairs(pipeline, place):
        found.setdefault(name, []).append(load_id)
    return {name: sorted(load_ids) for name, load_ids in found.items()}


def _pairs(pipeline: dlt.Pipeline, place: Place) -> list[tuple[str, str]]:
    if "filesystem" in place.options:
        files = (place.folder / "lake" / "letta" / "_dlt_pipeline_state").glob("*.jsonl")
        parts = [file.stem.rsplit("__", 2) for file in files]
        return [(part[0], part[1]) for part in parts]
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name("_dlt_pipeline_state")
        rows = client.execute_sql(f"SELECT pipeline_name, _dlt_load_id FROM {table}")
        return [(row[0], row[1]) for row in rows or ()]


def unfinish(pipeline: dlt.Pipeline, place: Place, load_id: str) -> None:
    """Make this load look as if it had never completed."""
    if "filesystem" in place.options:
        (file,) = Path(place.folder / "lake" / "letta" / "_dlt_loads").glob(f"*{load_id}*")
        file.unlink()
        return
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name("_dlt_loads")
        client.execute_sql(f"DELETE FROM {table} WHERE load_id = %s", load_id)


def test_the_states_of_the_last_completed_loads_are_kept(target: Target, place: Place) -> None:
    pipeline, other = target.pipeline(), _another(target).pipeline()
    of_other = [load(other, 1), load(other, 2)]
    loads = [load(pipeline, number) for number in range(4)]
    unfinish(pipeline, place, loads[3])
    assert drop_old_states(pipeline, 4) == 0
    # The newest state is of an unfinished load, so it is not one of the two.
    assert drop_old_states(pipeline, 2) == 1
    assert states(pipeline, place) == {"letta": loads[1:], "letta__2": of_other}
    assert drop_old_states(pipeline, 1) == 1
    assert drop_old_states(pipeline, 1) == 0
    assert states(pipeline, place) == {"letta": loads[2:], "letta__2": of_other}
    # A run from an empty working folder continues with a remaining state.
    pipeline.drop()
    restored = target.pipeline()
    restored.sync_destination()
    assert restored.state["sources"]["letta"]["resources"]["numbers"]["number"] in (2, 3)


def _another(target: Target) -> Target:
    file = "letta_db.duckdb" if target.destination == "duckdb" else None
    return Target("letta__2", target.destination, target.dataset_name, database=file).resolved()
