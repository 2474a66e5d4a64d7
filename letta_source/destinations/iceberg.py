"""Add new columns to Iceberg tables, in a snapshot, before rows are merged."""

from __future__ import annotations

import dlt

from letta_source.destinations.dlt_files import Files
from letta_source.rows.arrow import empty
from letta_source.schema.resources import all_tables


def add_columns(pipeline: dlt.Pipeline) -> None:
    """Add the columns that this version has and the destination lacks.

    dlt adds columns too, but merges at once: pyiceberg then compares rows of the new schema with those of
    the last snapshot, which has the old schema, and fails.
    """
    schema = pipeline.default_schema
    with Files.opened(pipeline) as files:
        if files is None or files.has_schema(schema.version_hash):
            return
        for table in all_tables():
            if table.name in schema.tables:
                rows = empty(table)
                if found := files.open_table("iceberg", table.name, rows.schema):
                    # Adds no rows, but a snapshot.
                    found.append(rows)
