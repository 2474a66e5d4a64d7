"""Erase agents, conversations or identities from a dataset, and keep them from coming back."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_storage import add_table, damage_explained, empty_staging, staged_tables
from letta_source.destinations.file_rewrite import rewrite_file
from letta_source.destinations.old_states import drop_old_states
from letta_source.destinations.open_tables import delete_rows
from letta_source.destinations.tables import make_tables
from letta_source.errors import ConfigError
from letta_source.export.readers import open_reader
from letta_source.loading.dataset import reading
from letta_source.loading.error_text import in_one_line
from letta_source.loading.lock import pipeline_lock
from letta_source.loading.target import Target
from letta_source.operate.row_search import MatchingRows, RowSearch, Whom
from letta_source.operate.warehouse import Warehouse
from letta_source.schema.resources import all_tables
from letta_source.schema.tables import ERASED
from letta_source.times import written

FILES = (
    "rows of plain files cannot be erased: delete them with a tool of your own, or delete the dataset's"
    " folder, and take the agent out by agent_ids before you load again"
)


@dataclass(frozen=True)
class Erasure:
    """The rows that were erased, or would be.

    Attributes:
        rows: counts by table.
        unknown: tables that do not say whose their rows are.
        agents: the erased agents, including those of identities.
        masked: columns that would tell whose rows are, but were masked by a load, as `table.column`.
        refused: why nothing can be erased here, or None.
    """

    rows: Mapping[str, int]
    unknown: Sequence[str]
    agents: Sequence[str] = ()
    masked: Sequence[str] = ()
    refused: str | None = None


@dataclass(frozen=True)
class _Found:
    parts: list[MatchingRows]
    keys: dict[str, list[dict[str, Any]]]
    kept_ids: Mapping[str, Sequence[str]]
    erasure: Erasure


def planned(target: Target, whom: Whom) -> Erasure:
    """Count the rows that `erase` would remove; only reads, also while a load is running.

    Raises:
        ConfigError: the destination cannot be read.
        LettaError: the destination failed.
    """
    with reading(target) as pipeline:
        return _found(pipeline, whom, with_keys=False).erasure


def erase(target: Target, whom: Whom) -> Erasure:
    """Erase all rows of `whom` from every existing table; later loads leave them out.

    A database does it in one transaction. Delta and Iceberg tables change one after the other: if that fails,
    run it again.

    Raises:
        ConfigError: the destination cannot be read, a load is running, or its package is not loaded yet.
        LettaError: the destination or the disk failed; rows may be left.
    """
    with in_one_line("erase again, to be sure that nothing is left"), pipeline_lock(target) as leased:
        pipeline = leased.pipeline()
        if pipeline.has_pending_data:
            raise ConfigError("a load was left unfinished: `letta-source run` first, then erase")
        with damage_explained(pipeline):
            pipeline.sync_destination()
        found = _found(pipeline, whom, with_keys=True)
        if found.erasure.refused:
            return found.erasure
        with Files.opened(pipeline) as files:
            if files:
                _erase_from_files(files, found)
            else:
                _erase_by_sql(pipeline, leased, found)
        # Each state names the agents of its time, and how far they were read.
        drop_old_states(pipeline, 1)
        rewrite_file(pipeline)
    return found.erasure


def _found(pipeline: dlt.Pipeline, whom: Whom, with_keys: bool) -> _Found:
    with open_reader(pipeline) as reader:
        search = RowSearch(reader, whom)
        parts = search.parts()
        with Files.opened(pipeline) as files:
            is_files = files is not None
        refused = FILES if is_files and reader.appends else None
        with_keys = with_keys and is_files and not refused
        return _Found(
            parts,
            {part.table.name: search.keys(part) for part in parts} if with_keys else {},
            search.kept_ids(parts),
            Erasure(
                {part.table.name: search.count(part) for part in parts},
                search.unknown(),
                search.whom.agents,
                search.masked(Warehouse(reader).masks().values()),
                refused,
            ),
        )


def _erase_from_files(files: Files, found: _Found) -> None:
    # First, so that nothing comes back if the rest fails.
    now = datetime.now(timezone.utc)
    rows = [
        {"kind": kind, "id": one, "erased_at": written(now)}
        for kind, ids in found.kept_ids.items()
        for one in ids
    ]
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=ERASED.arrow_schema), content)
    files.add_file(ERASED.name, f"{now:%Y%m%dT%H%M%S.%f}.parquet", content.getvalue())
    if files.stored_tables():
        for part in found.parts:
            delete_rows(files, part.table.name, found.keys[part.table.name])


def _erase_by_sql(pipeline: dlt.Pipeline, target: Target, found: _Found) -> None:
    if add_table(pipeline, ERASED):
        make_tables(pipeline, target.shard)
    client: Any = pipeline.destination_client()
    with client:
        staged = staged_tables(client, [table.name for table in all_tables()])
        sql_client = client.sql_client
        with sql_client.begin_transaction():
            if target.lease:
                target.lease.hold(sql_client)
            _forbid(sql_client, found.kept_ids)
            for part in found.parts:
                table = sql_client.make_qualified_table_name(part.table.name)
                sql_client.execute_sql(f"DELETE FROM {table} WHERE {part.condition}", *part.values)
            empty_staging(sql_client, staged)


def _forbid(sql_client: Any, kept_ids: Mapping[str, Sequence[str]]) -> None:
    table = sql_client.make_qualified_table_name(ERASED.name)
    id_, kind, at = map(sql_client.escape_column_name, ("id", "kind", "erased_at"))
    now = written(datetime.now(timezone.utc))
    for of_kind, wanted in kept_ids.items():
        for one in wanted:
            sql_client.execute_sql(f"DELETE FROM {table} WHERE {id_} = %s", one)
            sql_client.execute_sql(
                f"INSERT INTO {table} ({kind}, {id_}, {at}) VALUES (%s, %s, %s)", of_kind, one, now
            )
