"""What destinations can do with rows, and what each has to be told so that they come out exact."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import dlt
import pyarrow as pa
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.pipeline.exceptions import PipelineNotActive

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
    """Of one destination.

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


def traits_of(
    destination_type: str, capabilities: DestinationCapabilitiesContext, table_format: str | None
) -> Traits:
    """Of a destination, by what dlt knows of it.

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


def _writes(capabilities: DestinationCapabilitiesContext, hints: dict[str, Any]) -> Writes:
    strategies = capabilities.supported_merge_strategies or []
    if capabilities.merge_strategies_selector:
        strategies = list(capabilities.merge_strategies_selector(strategies, table_schema=_table(hints)))
    if "delete-insert" in strategies:
        return "replace"
    return "upsert" if "upsert" in strategies else "append"


def _file_format(capabilities: DestinationCapabilitiesContext, hints: dict[str, Any]) -> str | None:
    supported = list(capabilities.supported_loader_file_formats or ())
    if capabilities.loader_file_format_selector:
        # PostgreSQL takes Parquet only where its ADBC driver is installed.
        _, chosen = capabilities.loader_file_format_selector(
            capabilities.preferred_loader_file_format or "parquet", supported, table_schema=_table(hints)
        )
        supported = list(chosen)
    # Rather than csv, which dlt would take for PostgreSQL: there an empty text is null.
    return next((known for known in ("parquet", "insert_values") if known in supported), None)


def _table(hints: dict[str, Any]) -> Any:
    return {"name": "", "columns": {}, **hints}


def traits_of_pipeline(pipeline: dlt.Pipeline, settings: Settings) -> Traits:
    """Of the pipeline's destination; the most common ones if it has none yet."""
    if pipeline.destination is None:
        return Traits()
    kind = pipeline.destination.destination_type
    if kind.endswith(".sqlalchemy"):
        widen_texts()
        # Only its credentials say which database it is.
        return traits_of(kind, pipeline.destination_client().capabilities, settings.table_format)
    # With those of the staging destination, where there is one.
    with pipeline._maybe_destination_capabilities() as capabilities:
        return traits_of(kind, capabilities, settings.table_format)


def assert_own_staging() -> None:
    """To be called where a shard loads by a pipeline of the user's own.

    Raises:
        ConfigError: it would load through the staging dataset that it shares with the others.
    """
    with suppress(PipelineNotActive):
        client: Any = dlt.current.pipeline().destination_client()
        is_sql = isinstance(client, SqlJobClientBase)
        if is_sql and client.config.staging_dataset_name_layout == "%s_staging":
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
    """What a user has to know of the destination, in a line."""
    if traits.writes == "append":
        return f"can only add rows: each comes once, when it is complete and older than {settings.lag}"
    if traits.writes == "upsert":
        return "can only add and change rows: what a message no longer has stays"
    return None
