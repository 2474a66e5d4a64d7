"""Cleanup after loads under other masks, and warnings of rows that keep what is masked now."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable

from letta_source.destinations.dlt_internals import local_value, sql_client_of
from letta_source.destinations.dlt_storage import empty_staging, staged_tables
from letta_source.loading.error_text import failure_logged
from letta_source.rows.mask import Mask
from letta_source.schema.columns import LOAD_ID
from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.schema.tables import LOAD_ISSUES, LOAD_LOG
from letta_source.settings import Settings
from letta_source.settings.masking import Masking, logged_masking, masking_digest

logger = logging.getLogger(__name__)

_MASKING = "letta_source_masking"
# True from when rows under other masks are replaced until the file is rewritten.
_REWRITE = "letta_source_rewrite"


def keep_masking(pipeline: dlt.Pipeline, settings: Settings) -> None:
    """Record under which masks packages are extracted from now on; warn if they hide what was loaded."""
    before, now = local_value(pipeline, _MASKING), settings.masking_digest
    # The digest of a function is never the same.
    is_known = before and not any(map(callable, settings.mask.values()))
    if is_known and before != now and settings.is_masked and not settings.refresh:
        logger.warning(
            "the masks are not those of the last run: rows that were loaded before keep their values until"
            " you run once with --refresh"
        )
    pipeline.set_local_state_val(_MASKING, now)
    if settings.refresh and settings.is_masked:
        set_rewrite_due(pipeline, True)


def was_masked_otherwise(pipeline: dlt.Pipeline, settings: Settings) -> bool:
    """Return True if pending packages were extracted under other masks than the current ones.

    A package of a version that recorded no masks counts as not masked.
    """
    kept = local_value(pipeline, _MASKING) or masking_digest(Masking(), None)
    return bool(kept != settings.masking_digest)


def is_rewrite_due(pipeline: dlt.Pipeline) -> bool:
    """Return True if a local database's file is to be rewritten: replaced values stay in its free blocks."""
    return bool(local_value(pipeline, _REWRITE))


def set_rewrite_due(pipeline: dlt.Pipeline, due: bool) -> None:
    """Record that the file is to be rewritten, or that it was."""
    pipeline.set_local_state_val(_REWRITE, due)


def drop_unfinished_load(pipeline: dlt.Pipeline, settings: Settings) -> None:
    """Delete a pipeline's unfinished packages, its state, and under masks also the rows that it staged.

    The next load empties only the staging tables that it loads into, and a first load into DuckDB none.
    """
    client: Any = pipeline.destination_client()
    if settings.is_masked and sql_client_of(client) is not None:
        with client:
            staged = staged_tables(client, [table.name for table in all_tables()])
            empty_staging(client.sql_client, staged)
    pipeline.drop()


def warn_of_kept_rows(pipeline: dlt.Pipeline, settings: Settings, load_ids: Collection[str]) -> None:
    """Log how many rows keep what is masked now, after a refresh under masks.

    Args:
        load_ids: the loads of this run.
    """
    if not (settings.refresh and settings.is_masked and settings.shard.is_whole):
        return
    with failure_logged("rows of earlier loads could not be counted: they may keep what is masked now"):
        if kept := _kept_rows(pipeline, settings, load_ids):
            logger.warning(
                "rows of loads with other masks were not read again, and keep what is masked now: %s. This"
                " run did not load their resources, their destination only adds rows, or the server no"
                " longer lists them: name them in --resources, delete them, or load into another dataset",
                ", ".join(f"{table} {count:,}" for table, count in kept.items()),
            )


def _kept_rows(pipeline: dlt.Pipeline, settings: Settings, load_ids: Collection[str]) -> dict[str, int]:
    masks = [Mask(card, settings) for card in RESOURCES.values()]
    hidden = {LOAD_ISSUES.name: masks[0].hidden(LOAD_ISSUES.name)}
    for card, mask in zip(RESOURCES.values(), masks, strict=True):
        hidden |= {table.name: mask.hidden(table.name) for table in card.tables}
    kept: dict[str, int] = {}
    with suppress(SqlClientNotAvailable), pipeline.sql_client() as client:
        masked_alike = {*load_ids, *_masked_alike(client, settings)}
        for table, columns in hidden.items():
            # Tables that this run did not load may lack columns of this version.
            held = pipeline.default_schema.tables.get(table, {}).get("columns", {})
            if there := columns & held.keys():
                loads = _loads_of_rows(client, table, there)
                if count := sum(rows for load_id, rows in loads.items() if load_id not in masked_alike):
                    kept[table] = count
    return kept


def _masked_alike(client: Any, settings: Settings) -> set[str]:
    """Return the loads that had the current masks, by load_log."""
    now = masking_digest(settings.masking, None)
    with suppress(DestinationUndefinedEntity):
        table = client.make_qualified_table_name(LOAD_LOG.name)
        rows = client.execute_sql(f"SELECT DISTINCT load_ids, masks FROM {table}") or ()
        return {
            load_id
            for load_ids, then in rows
            # A function may be another one of the same column.
            if load_ids and "=a function (" not in (then or "")
            if masking_digest(logged_masking(then or ""), None) == now
            for load_id in load_ids.split(",")
        }
    return set()


def _loads_of_rows(client: Any, table: str, columns: Iterable[str]) -> dict[str, int]:
    """Map load ids to the number of rows with a value in one of these columns."""
    load_id = client.escape_column_name(LOAD_ID.name)
    has_value = " OR ".join(f"{client.escape_column_name(one)} IS NOT NULL" for one in sorted(columns))
    with suppress(DestinationUndefinedEntity):
        name = client.make_qualified_table_name(table)
        sql = f"SELECT {load_id}, count(*) FROM {name} WHERE {has_value} GROUP BY {load_id}"
        return {row[0]: row[1] for row in client.execute_sql(sql) or ()}
    return {}
