"""Capabilities of destinations, and the hints that each needs so that rows are stored exactly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import dlt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from dlt.pipeline.exceptions import PipelineNotActive

from letta_source.destinations.dlt_internals import (
    DltCapabilities,
    FilesystemClient,
    dlt_capabilities,
    file_formats,
    is_kind,
    merge_strategies,
    sql_client_of,
)
from letta_source.destinations.mysql import widen_texts
from letta_source.errors import ConfigError
from letta_source.schema.tables import Table
from letta_source.settings import Settings
from letta_source.shards import Shard

logger = logging.getLogger(__name__)

Writes = Literal["replace", "upsert", "append"]
"""How a message that was loaded before is written again: its rows are replaced as a whole (`replace`), rows
with the same key are updated (`upsert`), or rows are only added (`append`)."""

# dlt copies Parquet into these by ADBC, which fails on a file without rows.
_FAILS_ON_EMPTY = ("postgres", "mssql", "sqlalchemy")

LONGEST_TEXT: Mapping[str, int] = {
    # VARCHAR(MAX); a text in a SUPER has the same limit.
    "redshift": 65_535,
    "snowflake": 16 * 1024 * 1024,
}
"""Limits in bytes, by sqlglot dialect; other destinations hold all texts of Letta's messages."""


@dataclass(frozen=True)
class Capabilities:
    """The capabilities of one destination.

    Attributes:
        hints: dlt's hints for every table.
        json_is_text: json columns must be declared as text.
        longest_text: its limit in bytes; None if no text is too long.
        takes_empty: a file without rows can be loaded, and creates its table.
    """

    writes: Writes = "replace"
    hints: dict[str, Any] = field(default_factory=dict)
    json_is_text: bool = False
    takes_empty: bool = True
    longest_text: int | None = None


def capabilities_of(pipeline: dlt.Pipeline, settings: Settings) -> Capabilities:
    """Derive the capabilities of the pipeline's destination from dlt's; the defaults if it has none yet."""
    if pipeline.destination is None:
        return Capabilities()
    if is_kind("sqlalchemy", pipeline):
        widen_texts()
    kind, known = pipeline.destination.destination_type.rpartition(".")[2], dlt_capabilities(pipeline)
    hints: dict[str, Any] = {}
    if settings.table_format in (known.supported_table_formats or ()):
        hints["table_format"] = settings.table_format
    if file_format := _file_format(known, hints):
        hints["file_format"] = file_format
    return Capabilities(
        _writes(known, hints),
        hints,
        # Only these two parse JSON text; others would store it as one JSON string, or refuse it.
        json_is_text=kind == "sqlalchemy" or known.sqlglot_dialect not in ("duckdb", "postgres"),
        longest_text=LONGEST_TEXT.get(known.sqlglot_dialect or ""),
        takes_empty=kind not in _FAILS_ON_EMPTY,
    )


def _writes(known: DltCapabilities, hints: dict[str, Any]) -> Writes:
    strategies = merge_strategies(known, hints)
    if "delete-insert" in strategies:
        return "replace"
    return "upsert" if "upsert" in strategies else "append"


def _file_format(known: DltCapabilities, hints: dict[str, Any]) -> str | None:
    supported = file_formats(known, hints)
    # Never csv, which dlt would choose for PostgreSQL: it turns an empty text into NULL.
    return next((one for one in ("parquet", "insert_values") if one in supported), None)


def assert_safe_for_shards(settings: Settings) -> None:
    """Refuse a shard, in a user's own pipeline, where shards would lose each other's rows.

    Raises:
        ConfigError: it would load through dlt's default staging dataset, which all shards share; or into
            Iceberg tables.
    """
    with suppress(PipelineNotActive):
        client: Any = dlt.current.pipeline().destination_client()
        assert_no_iceberg_shard(client, settings.shard, settings.table_format)
        if sql_client_of(client) and client.config.staging_dataset_name_layout == "%s_staging":
            raise ConfigError(
                "shards that share a staging dataset merge each other's rows: give each destination a"
                " staging_dataset_name_layout of its own, or load by letta_source.load, which does"
            )


def assert_no_iceberg_shard(client: Any, shard: Shard, table_format: str | None) -> None:
    """Refuse a shard that loads into Iceberg tables in files.

    dlt commits to them through a catalog in memory, which knows of no other writer: of several commits at the
    same time one is kept, and the others' rows are lost.

    Raises:
        ConfigError: says what to do.
    """
    if table_format == "iceberg" and not shard.is_whole and isinstance(client, FilesystemClient):
        raise ConfigError(
            "shards that load into Iceberg tables lose each other's rows: leave out --shard, or use"
            " --table-format delta"
        )


def fitted(rows: pa.Table, table: Table, longest: int) -> pa.Table:
    """Truncate texts to the bytes that the destination holds; log how many."""
    json = {column.name for column in table.columns if column.type == "json"}
    rows, cut = within(rows, longest, json)
    if cut:
        shown = f"{cut:,}", f"{longest:,}"
        logger.warning("%s: %s texts were truncated to %s bytes", table.name, *shown)
    return rows


def limits_of(capabilities: Capabilities, settings: Settings) -> str | None:
    """Return a line about what the destination cannot do, for users; None if there is nothing to say."""
    if capabilities.writes == "append":
        when = f"when it is complete and older than {settings.lag}"
        return f"can only append rows: each item is loaded once, {when}"
    if capabilities.writes == "upsert":
        return "can only add and update rows: if a message later has fewer parts, its old rows remain"
    return None


def within(rows: pa.Table, longest: int, json: Collection[str]) -> tuple[pa.Table, int]:
    """Return the rows with texts cut to `longest` bytes, and how many: longer ones would fail a load.

    Args:
        longest: bytes of UTF-8, at least 2.
        json: columns of JSON text; a value that is cut becomes a JSON string of its beginning.
    """
    cut = 0
    for index, one in enumerate(rows.schema):
        if not pa.types.is_string(one.type):
            continue
        column = rows.column(index).combine_chunks()
        too_long = pc.fill_null(pc.greater(pc.binary_length(column), longest), False)
        if not pc.any(too_long).as_py():
            continue
        shorten: Callable[[str, int], str] = _json_beginning if one.name in json else _beginning
        shorter = pa.array(
            [shorten(text, longest) for text in column.filter(too_long).to_pylist()], pa.string()
        )
        rows = rows.set_column(index, one, pc.replace_with_mask(column, too_long, shorter))
        cut += len(shorter)
    return rows, cut


def _beginning(text: str, longest: int) -> str:
    return text.encode()[:longest].decode(errors="ignore")


def _json_beginning(text: str, longest: int) -> str:
    room = longest
    while len(made := orjson.dumps(_beginning(text, room))) > longest:
        room -= len(made) - longest
    return made.decode()
