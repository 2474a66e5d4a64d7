"""Abilities of destinations, and what each has to be told so that rows come out exact."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import dlt
import pyarrow as pa
from dlt.pipeline.exceptions import PipelineNotActive

from letta_source.destinations.dlt_internals import (
    Capabilities,
    capabilities_of,
    file_formats,
    is_kind,
    merge_strategies,
    sql_client_of,
)
from letta_source.destinations.mysql import widen_texts
from letta_source.destinations.text_limits import LONGEST_TEXT, within
from letta_source.errors import ConfigError
from letta_source.schema.tables import Table
from letta_source.settings import Settings

logger = logging.getLogger(__name__)

Writes = Literal["replace", "upsert", "append"]
"""What becomes of rows that were loaded before: all of a message gives way to what comes (`replace`), rows
with the same key do (`upsert`), or nothing does (`append`)."""

# ADBC, by which dlt copies Parquet into these, fails on a file without rows.
_FAILS_ON_EMPTY = ("postgres", "mssql", "sqlalchemy")


@dataclass(frozen=True)
class Traits:
    """The capabilities of one destination.

    Attributes:
        hints: of dlt, for every table.
        json_is_text: json columns are to be declared as text.
        longest_text: bytes of it.
        takes_empty: a table can be made by loading no rows into it.
    """

    writes: Writes = "replace"
    hints: dict[str, Any] = field(default_factory=dict)
    json_is_text: bool = False
    takes_empty: bool = True
    longest_text: int | None = None


def traits_of(destination_type: str, capabilities: Capabilities, table_format: str | None) -> Traits:
    """Return a destination's capabilities, by what dlt knows of it.

    Args:
        destination_type: such as `dlt.destinations.postgres`.
    """
    kind = destination_type.rpartition(".")[2]
    hints: dict[str, Any] = {}
    if table_format in (capabilities.supported_table_formats or ()):
        hints["table_format"] = table_format
    if file_format := _file_format(capabilities, hints):
        hints["file_format"] = file_format
    return Traits(
        _writes(capabilities, hints),
        hints,
        # Only these take a JSON text for JSON; others would keep it as one string, or refuse it.
        json_is_text=kind == "sqlalchemy" or capabilities.sqlglot_dialect not in ("duckdb", "postgres"),
        longest_text=LONGEST_TEXT.get(capabilities.sqlglot_dialect or ""),
        takes_empty=kind not in _FAILS_ON_EMPTY,
    )


def _writes(capabilities: Capabilities, hints: dict[str, Any]) -> Writes:
    strategies = merge_strategies(capabilities, hints)
    if "delete-insert" in strategies:
        return "replace"
    return "upsert" if "upsert" in strategies else "append"


def _file_format(capabilities: Capabilities, hints: dict[str, Any]) -> str | None:
    supported = file_formats(capabilities, hints)
    # Rather than csv, which dlt would take for PostgreSQL: there an empty text is null.
    return next((known for known in ("parquet", "insert_values") if known in supported), None)


def traits_of_pipeline(pipeline: dlt.Pipeline, settings: Settings) -> Traits:
    """Return the capabilities of the pipeline's destination; the most common ones if it has none yet."""
    if pipeline.destination is None:
        return Traits()
    if is_kind("sqlalchemy", pipeline):
        widen_texts()
    kind = pipeline.destination.destination_type
    return traits_of(kind, capabilities_of(pipeline), settings.table_format)


def assert_own_staging() -> None:
    """Refuse a shard that shares its staging dataset, in a pipeline of the user's own.

    Raises:
        ConfigError: it would load through the staging dataset that it shares with the others.
    """
    with suppress(PipelineNotActive):
        client: Any = dlt.current.pipeline().destination_client()
        if sql_client_of(client) and client.config.staging_dataset_name_layout == "%s_staging":
            raise ConfigError(
                "shards that share a staging dataset merge each other's rows: give each destination a"
                " staging_dataset_name_layout of its own, or load by letta_source.load, which does"
            )


def fitted(rows: pa.Table, table: Table, traits: Traits) -> pa.Table:
    """Rows whose texts the destination can hold; says how many were cut."""
    if traits.longest_text is None:
        return rows
    json = {column.name for column in table.columns if column.type == "json"}
    rows, cut = within(rows, traits.longest_text, json)
    if cut:
        longest = f"{traits.longest_text:,}"
        logger.warning("%s: %s texts were cut to the %s bytes that fit", table.name, f"{cut:,}", longest)
    return rows


def limits_of(traits: Traits, settings: Settings) -> str | None:
    """Return what a user has to know of the destination, in a line."""
    if traits.writes == "append":
        return f"can only add rows: each comes once, when it is complete and older than {settings.lag}"
    if traits.writes == "upsert":
        return "can only add and change rows: what a message no longer has stays"
    return None
