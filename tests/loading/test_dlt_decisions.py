"""Each setting of dlt is decided: set by us, refused, left to the user, or without effect."""

from __future__ import annotations

from collections import Counter
from importlib import import_module

from dlt.common.configuration.specs import RuntimeConfiguration
from dlt.common.destination.client import DestinationClientDwhWithStagingConfiguration
from dlt.pipeline.configuration import PipelineConfiguration, PipelineRuntimeConfiguration

from docs import dlt_settings_table
from docs.dlt_settings_table import OURS_OTHERWISE, WITHOUT_EFFECT, YOURS
from letta_source.destinations.dlt_specs import settings_of, settings_of_steps
from letta_source.loading.dlt_rules import OURS, REFUSED, REFUSED_OF_DESTINATION
from tests.support.paths import ROOT

# Each destination that has a chapter in docs/warehouses.md, and its class.
CLASSES = {
    "duckdb": "DuckDbClientConfiguration",
    "motherduck": "MotherDuckClientConfiguration",
    "postgres": "PostgresClientConfiguration",
    "bigquery": "BigQueryClientConfiguration",
    "snowflake": "SnowflakeClientConfiguration",
    "redshift": "RedshiftClientConfiguration",
    "databricks": "DatabricksClientConfiguration",
    "clickhouse": "ClickHouseClientConfiguration",
    "sqlalchemy": "SqlalchemyClientConfiguration",
    "filesystem": "FilesystemDestinationClientConfiguration",
}


def of_dlt() -> set[str]:
    """Return every dlt setting that a load resolves, with its section."""
    found = set(settings_of_steps())
    for section, spec in (
        ("pipelines", PipelineConfiguration),
        ("runtime", RuntimeConfiguration),
        ("runtime", PipelineRuntimeConfiguration),
    ):
        found |= {name.replace("pipelines.runtime.", "runtime.") for name, _ in settings_of(spec, section)}
    common = dict(settings_of(DestinationClientDwhWithStagingConfiguration, "destination"))
    found |= {one for one in common if "staging_config" not in one}
    for kind, name in CLASSES.items():
        spec = getattr(import_module(f"dlt.destinations.impl.{kind}.configuration"), name)
        place = f"destination.{kind}"
        for key, _ in settings_of(spec, place):
            own = key.removeprefix(f"{place}.").split(".")[0]
            if f"destination.{own}" not in common and own != "staging_config":
                found.add(f"{place}.{own}")
    return found


def decided() -> list[str]:
    """Return every decided setting; one that is refused at some values is the user's at others."""
    mine = [*OURS, *OURS_OTHERWISE]
    yours = [f"{section}.{name}" for section, names in YOURS.items() for name in names.split()]
    without = [
        f"{section}.{name}" for section, (names, _) in WITHOUT_EFFECT.items() for name in names.split()
    ]
    refused = {*REFUSED, *(f"destination.{key}" for key in REFUSED_OF_DESTINATION)}
    return [*mine, *yours, *without, *(refused - set(yours))]


def test_each_setting_is_decided_once() -> None:
    assert of_dlt() - set(decided()) == set()
    assert [key for key, times in Counter(decided()).items() if times > 1] == []


def test_every_decided_setting_exists_in_dlt() -> None:
    assert set(decided()) - of_dlt() - {"PGCLIENTENCODING"} == set()


def test_every_documented_destination_is_covered() -> None:
    page = (ROOT / "docs" / "warehouses.md").read_text("utf-8")
    table = page.partition("| destination | file format |")[2].partition("\n\n")[0]
    assert {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")} == set(CLASSES)


def test_the_docs_are_up_to_date() -> None:
    assert dlt_settings_table.PAGE.read_text("utf-8") == dlt_settings_table.page(), (
        "run python docs/dlt_settings_table.py"
    )
