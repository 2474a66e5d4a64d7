"""The files of a dataset, by dlt's client of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from letta_source.destinations.dlt_internals import FilesystemClient, database_file
from letta_source.destinations.dlt_paths import take_paths_literally
from letta_source.destinations.dlt_storage import stored_schema
from letta_source.errors import ConfigError


def local_place(client: Any) -> Path | None:
    """Return the dataset's file or folder on this machine, which may not be there yet; None elsewhere."""
    if isinstance(client, FilesystemClient):
        return Path(client.bucket_path, client.dataset_name) if client.is_local_filesystem else None
    return database_file(client)


def assert_writable(client: Any) -> None:
    """Check that the dataset's file or folder on this machine can be written, or be made.

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
    # Folders of files are made with those above them; that of a database is not.
    while database_file(client) is None and not os.path.exists(there):
        there = there.parent
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ConfigError(f"{cannot}: {there} is no folder to write in")


class Files:
    """The files of a dataset in a folder or a bucket."""

    def __init__(self, client: FilesystemClient) -> None:
        self._client = client
        self.filesystem = client.fs_client
        self.protocol = client.config.protocol

    @classmethod
    @contextmanager
    def opened(cls, pipeline: dlt.Pipeline) -> Iterator[Files | None]:
        """Yield the pipeline's files; None if its destination is not files."""
        take_paths_literally()
        client = pipeline.destination_client()
        if not isinstance(client, FilesystemClient):
            yield None
            return
        with client:
            yield cls(client)

    def of_table(self, table: str) -> list[str]:
        """Return the paths of a table's files; none if it has no folder."""
        with suppress(DestinationUndefinedEntity):
            return self._client.list_table_files(table)
        return []

    def below(self, table: str) -> list[str]:
        """Return the paths of all files below a table's folder, those of its format too."""
        folder = self._client.get_table_dir(table)
        return list(self.filesystem.find(folder)) if self.filesystem.exists(folder) else []

    def add_file(self, table: str, name: str, content: bytes) -> None:
        """Add a file to a table, whole or not at all; of its name only the ending counts."""
        path = f"{self._client.get_table_prefix(table)}{name}"
        self.filesystem.makedirs(self._client.get_table_dir(table), exist_ok=True)
        with self.filesystem.transaction, self.filesystem.open(path, "wb") as file:
            file.write(content)

    def finished_loads(self) -> list[str]:
        """Return the ids of the loads that `_dlt_loads` has a file of: it is written when a load is done."""
        # As `letta__1732230000.1.jsonl`.
        files = self.of_table(self._client.schema.loads_table_name)
        return [Path(path).stem.rpartition("__")[2] for path in files]

    def stored_tables(self, schema: str) -> dict[str, Any] | None:
        """Return the tables of the newest schema stored there, by name, and go on by it; None without one.

        Which format a table has does not depend on who asks.
        """
        stored = stored_schema(self._client, schema)
        if stored is None:
            return None
        self._client.schema = stored
        return dict(stored.tables)

    def loaded_tables(self, schema: str) -> dict[str, Any]:
        """Return the tables of the schema that the newest finished load had, by name; none without one.

        dlt stores a schema before the rows: those of a load that was killed are not there.
        """
        loads = {
            load_id: path
            for path in self.of_table(self._client.schema.loads_table_name)
            for name, _, load_id in [Path(path).stem.rpartition("__")]
            if name == schema
        }
        if not loads:
            return {}
        row = json.loads(self.filesystem.read_text(loads[max(loads, key=float)], encoding="utf-8"))
        info = self._client.get_stored_schema_by_hash(row["schema_version_hash"])
        return dict(json.loads(info.schema)["tables"]) if info else {}

    def has_schema(self, version_hash: str) -> bool:
        """Return whether this version of the schema was stored there."""
        with suppress(DestinationUndefinedEntity):
            return self._client.get_stored_schema_by_hash(version_hash) is not None
        return False

    def open_table(self, table_format: Any, table: str, schema: Any = None) -> Any:
        """Return a table as deltalake or pyiceberg has it; None if it is not there, or in another format.

        Args:
            schema: of pyarrow; adds the columns that the table lacks.
        """
        with suppress(DestinationUndefinedEntity):
            if self._client.is_open_table(table_format, table):
                more = {} if schema is None else {"schema": schema}
                return self._client.load_open_table(table_format, table, **more)
        return None
