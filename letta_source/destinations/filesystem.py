"""Plain files cannot be loaded again over themselves: those of a load that never finished are taken away."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient

from letta_source.schema.tables import all_tables

logger = logging.getLogger("letta_source")


def drop_unfinished(pipeline: dlt.Pipeline) -> None:
    """Deletes the files of loads that are not in `_dlt_loads`; for a working folder that knows of no load.

    Their rows are read again, as their cursors were not kept. The load's id is in each file's name:
    `letta_source.loading.target` sees to that.
    """
    with pipeline.destination_client() as client:
        if not isinstance(client, FilesystemClient):
            return
        with suppress(DestinationUndefinedEntity):
            loads = client.list_table_files(client.schema.loads_table_name)
            # As `letta__1732230000.1.jsonl`.
            finished = [Path(path).stem.rpartition("__")[2] for path in loads]
            for table in all_tables():
                _drop_others(client, table.name, finished)


def _drop_others(client: FilesystemClient, table: str, finished: list[str]) -> None:
    with suppress(DestinationUndefinedEntity):
        unfinished = [
            path
            for path in client.list_table_files(table)
            if not any(load_id in path for load_id in finished)
        ]
        for path in unfinished:
            client.fs_client.rm_file(path)
        if unfinished:
            logger.info("%s: %d files of a load that never finished are deleted", table, len(unfinished))
