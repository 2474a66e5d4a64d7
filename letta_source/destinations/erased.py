"""The table `erased`: ids that `letta-source erase` removed, and that loads leave out."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import dlt
import pyarrow.parquet as pq
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import is_kind
from letta_source.schema.tables import ERASED


def erased_ids(pipeline: dlt.Pipeline) -> frozenset[str]:
    """Return the ids that `letta-source erase` removed from a dataset."""
    if is_kind("filesystem", pipeline):
        with Files.opened(pipeline) as files:
            paths = files.of_table(ERASED.name) if files else []
            return frozenset(one for path in paths for one in _ids(files, path))
    try:
        with suppress(DestinationUndefinedEntity), pipeline.sql_client() as client:
            table, id_ = client.make_qualified_table_name(ERASED.name), client.escape_column_name("id")
            return frozenset(row[0] for row in client.execute_sql(f"SELECT {id_} FROM {table}") or ())
    except SqlClientNotAvailable:
        pass
    return frozenset()


def _ids(files: Any, path: str) -> list[str]:
    content = io.BytesIO(files.filesystem.read_bytes(path))
    return [str(one) for one in pq.read_table(content, columns=["id"]).column("id").to_pylist()]
