"""Delete plain files of loads that never finished, as loading again does not overwrite them."""

from __future__ import annotations

import logging

import dlt

from letta_source.destinations.dlt_files import Files
from letta_source.schema.resources import all_tables

logger = logging.getLogger("letta_source")


def drop_unfinished(pipeline: dlt.Pipeline) -> None:
    """Delete the files of loads that are not in `_dlt_loads`; for a new working folder.

    Their rows are read again, as their cursors were not stored. Each file's name contains its load's id:
    `letta_source.loading.dlt_rules` refuses other layouts.
    """
    with Files.opened(pipeline) as files:
        if files:
            finished = files.finished_loads()
            for table in all_tables():
                _drop_others(files, table.name, finished)


def _drop_others(files: Files, table: str, finished: list[str]) -> None:
    unfinished = [path for path in files.of_table(table) if not any(load_id in path for load_id in finished)]
    for path in unfinished:
        files.filesystem.rm_file(path)
    if unfinished:
        logger.info("%s: %d files of a load that never finished are deleted", table, len(unfinished))
