"""Plain files cannot be loaded again over themselves: those of a load that never finished are taken away."""

from __future__ import annotations

import logging

import dlt

from letta_source.destinations.dlt_files import Files
from letta_source.schema.resources import all_tables

logger = logging.getLogger("letta_source")


def drop_unfinished(pipeline: dlt.Pipeline) -> None:
    """Deletes the files of loads that are not in `_dlt_loads`; for a working folder that knows of no load.

    Their rows are read again, as their cursors were not kept. The load's id is in each file's name:
    `letta_source.loading.target` sees to that.
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
