"""Columns that are new to an Iceberg table have to be there, in a snapshot, before rows are merged."""

from __future__ import annotations

from contextlib import suppress

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

from letta_source.rows.arrow import empty
from letta_source.schema.tables import all_tables


def add_columns(pipeline: dlt.Pipeline) -> None:
    """Adds what this version of the tables has and the destination has not.

    dlt adds columns too, but merges at once: pyiceberg then compares rows of the new schema with those of
    the last snapshot, which has the old one, and fails.
    """
    schema = pipeline.default_schema
    with pipeline.destination_client() as client, suppress(DestinationUndefinedEntity):
        if not isinstance(client, FilesystemClient) or client.get_stored_schema_by_hash(schema.version_hash):
            return
        for table in all_tables():
            if table.name in schema.tables:
                with suppress(DestinationUndefinedEntity):
                    rows = empty(table)
                    # Without rows, but a snapshot.
                    client.load_open_table("iceberg", table.name, schema=rows.schema).append(rows)
