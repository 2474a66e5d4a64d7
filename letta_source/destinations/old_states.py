"""Delete old states of a pipeline, which dlt's `_dlt_pipeline_state` would keep for ever.

Every load that moved a cursor adds a row with the whole state. In a filesystem dlt itself keeps the last 100
(`max_state_files`), in a database all of them.
"""

from __future__ import annotations

from typing import Any

import dlt

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import sql_client_of
from letta_source.destinations.dlt_storage import STATES, pipeline_and_load


def drop_old_states(pipeline: dlt.Pipeline, keep: int) -> int:
    """Delete this pipeline's states except those of its newest loads; return how many.

    A state counts once its load is finished: the state of an unfinished load does not displace one.

    Args:
        keep: how many finished loads keep their state, 1 or more.
    """
    with Files.opened(pipeline) as files:
        if files:
            return _drop_files(files, pipeline.pipeline_name, keep)
    with pipeline.destination_client() as client:
        sql_client = sql_client_of(client)
        return _drop_rows(client, sql_client, pipeline.pipeline_name, keep) if sql_client else 0


def _drop_files(files: Files, pipeline_name: str, keep: int) -> int:
    finished = set(files.finished_loads())
    states = {}
    for path in files.of_table(STATES):
        name, load_id = pipeline_and_load(path)
        if name == pipeline_name:
            states[load_id] = path
    kept = sorted(finished.intersection(states), key=float)[-keep:]
    if len(kept) < keep:
        return 0
    old = [path for load_id, path in states.items() if float(load_id) < float(kept[0])]
    for path in old:
        files.filesystem.rm(path)
    return len(old)


def _drop_rows(client: Any, sql_client: Any, pipeline_name: str, keep: int) -> int:
    def column(name: str) -> str:
        return str(sql_client.escape_column_name(client.schema.naming.normalize_path(name)))

    states = sql_client.make_qualified_table_name(client.schema.state_table_name)
    loads = sql_client.make_qualified_table_name(client.schema.loads_table_name)
    load_id, of_state = column("load_id"), column("_dlt_load_id")
    mine = f"{column('pipeline_name')} = %s"
    finished = f"SELECT {load_id} FROM {loads} WHERE {column('status')} = 0"
    rows = sql_client.execute_sql(
        f"SELECT {of_state} FROM {states} WHERE {mine} AND {of_state} IN ({finished})", pipeline_name
    )
    # dlt compares load ids as text, too.
    kept = sorted({row[0] for row in rows or ()})[-keep:]
    if len(kept) < keep:
        return 0
    ((old,),) = sql_client.execute_sql(
        f"SELECT count(*) FROM {states} WHERE {mine} AND {of_state} < %s", pipeline_name, kept[0]
    )
    if old:
        sql_client.execute_sql(
            f"DELETE FROM {states} WHERE {mine} AND {of_state} < %s", pipeline_name, kept[0]
        )
    return int(old)
