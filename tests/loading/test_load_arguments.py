"""Arguments of `letta_source.load` from Python, which no option parser has checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import letta_source
from letta_source import ConfigError, Load
from letta_source.loading.target import Target


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"settings": ["lag"]}, "a Load takes settings and resources"),
        ({"settings": None}, "a Load takes settings and resources"),
        ({"settings": {"max_retries": 3}}, "unknown setting 'max_retries': did you mean retries?"),
        ({"settings": {3: 1}}, "unknown setting '3'"),
        ({"resources": 3}, "a Load takes settings and resources"),
        ({"resources": [None]}, "unknown resource 'None'"),
        ({"resources": "agents,run"}, "unknown resource 'run': did you mean runs?"),
        ({"pipeline_name": None}, "the pipeline name None cannot be used"),
        ({"pipeline_name": 3}, "the pipeline name 3 cannot be used"),
        ({"wait": -1}, "wait must be a number of seconds, 0 or more, not -1"),
        ({"wait": float("nan")}, "wait must be a number of seconds"),
        ({"steal_lock": "no"}, "steal_lock must be True or False, not 'no'"),
        ({"wait": "5"}, "wait must be a number of seconds, 0 or more, not '5'"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Load(**given)
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["destination", "dataset_name"])
@pytest.mark.parametrize("value", [None, 3, "", "  ", Path("x")])
def test_names_must_be_texts(name: str, value: Any) -> None:
    names: dict[str, Any] = {"destination": "duckdb", "dataset_name": "letta"}
    with pytest.raises(ConfigError, match=f"^{name} must be a text that is not empty, not"):
        Target("letta", **{**names, name: value}).resolved()


@pytest.mark.parametrize("name", ["destination_name", "database"])
def test_optional_names_must_not_be_empty(name: str) -> None:
    given: dict[str, Any] = {name: ""}
    with pytest.raises(ConfigError, match=f"^{name} must be a text that is not empty, not ''"):
        Target("letta", "duckdb", "letta", **given).resolved()


@pytest.mark.parametrize("database", [3, b"letta.duckdb", [], True])
def test_open_dataset_takes_a_text_or_a_path(database: Any) -> None:
    with pytest.raises(ConfigError, match=r"^database must be a text that is not empty, not"):
        letta_source.open_dataset(database)


def test_load_takes_only_a_load() -> None:
    settings: Any = {"base_url": "http://localhost:8283"}
    with pytest.raises(ConfigError, match="load takes a Load"):
        letta_source.load(settings)


def test_resources_must_be_a_text_or_a_list() -> None:
    what = Load(resources="agents, runs", database=Path("letta.duckdb"))
    assert what.resources == ("agents", "runs")
    assert what.database == "letta.duckdb"
    assert Load(resources=(name for name in ["agents"])).resources == ("agents",)
