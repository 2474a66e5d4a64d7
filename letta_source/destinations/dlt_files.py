"""The files of a dataset, by way of dlt's filesystem client."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from letta_source.destinations.dlt_internals import FilesystemClient, database_file, is_kind
from letta_source.destinations.dlt_paths import take_paths_literally
from letta_source.destinations.dlt_storage import SCHEMA, stored_schema
from letta_source.errors import ConfigError
from letta_source.schema.resources import all_tables

logger = logging.getLogger(__name__)


def local_place(client: Any) -> Path | None:
    """Return the dataset's local file or folder, which may not exist yet; None if it is not local."""
    if isinstance(client, FilesystemClient):
        return Path(client.bucket_path, client.dataset_name) if client.is_local_filesystem else None
    return database_file(client)


def assert_writable(client: Any) -> None:
    """Check that the dataset's local file or folder can be written or created.

    Raises:
        ConfigError: it cannot.
    """
    place = local_place(client)
    if place is None:
        return
    cannot = f"{client.config.destination_type} cannot be opened"
    there = place.absolute()
    if os.path.exists(there):
        if not os.access(there, os.W_OK):
            raise ConfigError(f"{cannot}: {place} is write-protected")
        return
    there = there.parent
    # Missing parent folders are created for files, but not for a database.
    while database_file(client) is None and not os.path.exists(there):
        there = there.parent
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ConfigError(f"{cannot}: {there} is not a writable folder")


class Files:
    """The files of a dataset in a folder or a bucket."""

    def __init__(self, client: FilesystemClient) -> None:
        self._client = client
        self.filesystem = client.fs_client
        self.protocol = client.config.protocol

    @classmethod
    @contextmanager
    def opened(cls, pipeline: dlt.Pipeline) -> Iterator[Files | None]:
        """Yield the pipeline's files; None if its destination is not a filesystem."""
        if not is_kind("filesystem", pipeline):
            yield None
            return
        take_paths_literally()
        client: Any = pipeline.destination_client()
        with client:
            yield cls(client)

    def of_table(self, table: str) -> list[str]:
        """Return the paths of a table's files; none if it has no folder."""
        with suppress(DestinationUndefinedEntity):
            return self._client.list_table_files(table)
        return []

    def below(self, table: str) -> list[str]:
        """Return the paths of all files below a table's folder, including those of its table format."""
        folder = self._client.get_table_dir(table)
        return list(self.filesystem.find(folder)) if self.filesystem.exists(folder) else []

    def add_file(self, table: str, name: str, content: bytes) -> None:
        """Add a file to a table, whole or not at all; its path is the table's prefix and `name`."""
        path = f"{self._client.get_table_prefix(table)}{name}"
        self.filesystem.makedirs(self._client.get_table_dir(table), exist_ok=True)
        with self.filesystem.transaction, self.filesystem.open(path, "wb") as file:
            file.write(content)

    def finished_loads(self) -> list[str]:
        """Return the ids of loads that have a file in `_dlt_loads`, which dlt writes when a load is done."""
        # Such as `letta__1732230000.1.jsonl`.
        files = self.of_table(self._client.schema.loads_table_name)
        return [Path(path).stem.rpartition("__")[2] for path in files]

    def stored_tables(self) -> dict[str, Any] | None:
        """Return the tables of the newest stored schema, by name; None if there is none.

        The client uses that schema from then on: a table's format is the stored one, whoever asks.
        """
        stored = stored_schema(self._client)
        if stored is None:
            return None
        self._client.schema = stored
        return dict(stored.tables)

    def loaded_tables(self) -> dict[str, Any]:
        """Return the tables in the schema of the newest finished load, by name; empty if there is none.

        dlt stores a schema before the rows: tables that only a killed load has are left out.
        """
        loads = {
            load_id: path
            for path in self.of_table(self._client.schema.loads_table_name)
            for name, _, load_id in [Path(path).stem.rpartition("__")]
            if name == SCHEMA
        }
        if not loads:
            return {}
        row = json.loads(self.filesystem.read_text(loads[max(loads, key=float)], encoding="utf-8"))
        info = self._client.get_stored_schema_by_hash(row["schema_version_hash"])
        return dict(json.loads(info.schema)["tables"]) if info else {}

    def has_schema(self, version_hash: str) -> bool:
        """Return True if this version of the schema is stored there."""
        with suppress(DestinationUndefinedEntity):
            return self._client.get_stored_schema_by_hash(version_hash) is not None
        return False

    def open_table(self, table_format: Any, table: str, schema: Any = None) -> Any:
        """Return deltalake's or pyiceberg's table; None if there is none, or it has another format.

        Args:
            schema: of pyarrow; columns that the table lacks are added.
        """
        with suppress(DestinationUndefinedEntity):
            if self._client.is_open_table(table_format, table):
                more = {} if schema is None else {"schema": schema}
                return self._client.load_open_table(table_format, table, **more)
        return None


def drop_unfinished(pipeline: dlt.Pipeline) -> None:
    """Delete the files of loads that are not in `_dlt_loads`; for a new working folder.

    Their rows are read again, as their cursors were not stored. Each file's name contains its load's id:
    `letta_source.loading.dlt_rules` refuses other layouts.
    """
    with Files.opened(pipeline) as files:
        if not files:
            return
        finished = files.finished_loads()
        for table in all_tables():
            unfinished = [
                path
                for path in files.of_table(table.name)
                if not any(load_id in path for load_id in finished)
            ]
            for path in unfinished:
                files.filesystem.rm_file(path)
            if unfinished:
                count = len(unfinished)
                logger.info("%s: %d files of a load that never finished are deleted", table.name, count)
