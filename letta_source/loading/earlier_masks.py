"""What loads under other masks left: unfinished packages, staged rows, and values in free blocks."""

from __future__ import annotations

from typing import Any

import dlt

from letta_source.destinations.dlt_internals import local_value, sql_client_of
from letta_source.destinations.dlt_storage import empty_staging, staged_tables
from letta_source.schema.resources import all_tables
from letta_source.settings import Settings
from letta_source.settings.masking import Masking, masking_digest

_MASKING = "letta_source_masking"
# True from when rows under other masks are replaced until the file is rewritten.
_REWRITE = "letta_source_rewrite"


def keep_masking(pipeline: dlt.Pipeline, settings: Settings) -> None:
    """Record under which masks packages are extracted from now on."""
    pipeline.set_local_state_val(_MASKING, settings.masking_digest)
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
