"""Columns that are new to an Iceberg table have to be there, in a snapshot, before rows are merged."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.storages import LoadStorage, PackageStorage
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

from letta_source.arrow import empty
from letta_source.tables import all_tables


def add_columns(pipeline: dlt.Pipeline) -> None:
    """Adds what the packages that are to be loaded have and the tables have not.

    dlt adds them too, but merges at once: pyiceberg then compares rows of the new schema with those of the
    last snapshot, which have the old one, and fails.
    """
    folder = Path(pipeline.working_dir, "load", LoadStorage.NORMALIZED_FOLDER)
    changed: set[str] = set()
    for updates in folder.glob(f"*/{PackageStorage.SCHEMA_UPDATES_FILE_NAME}"):
        for update in json.loads(updates.read_text("utf-8")):
            changed.update(update)
    if not changed:
        return
    with pipeline.destination_client() as client:
        assert isinstance(client, FilesystemClient)
        for table in all_tables():
            if table.name in changed:
                with suppress(DestinationUndefinedEntity):
                    rows = empty(table)
                    # Without rows, but a snapshot.
                    client.load_open_table("iceberg", table.name, schema=rows.schema).append(rows)
