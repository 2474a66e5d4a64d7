"""The destination and dataset of a load, checked before a pipeline keeps any state of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination.exceptions import UnknownDestinationModule

from letta_source.api.redact import keep_our_frames
from letta_source.destinations.capabilities import assert_no_iceberg_shard
from letta_source.destinations.dataset_names import (
    Holds,
    assert_not_called_otherwise,
    assert_not_reserved,
    dataset_called,
    is_legacy,
    legacy_name,
    staging_name,
    what_is_in,
)
from letta_source.destinations.dlt_contract import assert_contract
from letta_source.destinations.dlt_files import assert_writable
from letta_source.destinations.dlt_internals import (
    database_file,
    dataset_names,
    local_value,
    place_of,
    sections_only,
    sql_client_of,
)
from letta_source.destinations.dlt_lookups import find_capabilities_once, read_schemas_once
from letta_source.destinations.dlt_paths import assert_usable_path
from letta_source.destinations.duckdb import kept_open
from letta_source.destinations.duckdb_files import configured_file, in_use, not_a_database, waited_for
from letta_source.destinations.encoding import assert_texts_arrive
from letta_source.destinations.lease import Lease
from letta_source.errors import ConfigError, LettaError
from letta_source.loading.destination import DESTINATIONS, assert_names, destination_of, settings_of_duckdb
from letta_source.loading.dlt_rules import assert_dlt_settings
from letta_source.loading.error_text import assert_known, one_line, setting_hint
from letta_source.loading.own_folder import close_to_others
from letta_source.loading.shard_state import pipeline_name_of
from letta_source.settings.places import providers
from letta_source.shards import WHOLE, Shard

PLACE = "letta_source_place"
_STAGING = "letta_source_staging"


@dataclass(frozen=True)
class Target:
    """A destination, a dataset in it, and the pipeline that fills it.

    Attributes:
        destination: its type, as dlt names it.
        shard: which of several pipelines that load in parallel; each has a staging dataset of its own.
        destination_name: names dlt's config section and a DuckDB file, in place of type and pipeline name.
        database: DuckDB's file, if it does not follow from the settings and the pipeline's name.
        called: the dataset's name in the destination; `resolved` finds it.
        staging: the staging dataset's name there; None if there is none.
        own_staging: the staging dataset is not named by dlt's settings.
        lease: must be held for anything to be written; None if there is none.
        read_only: others may read its DuckDB file meanwhile, and it may be write-protected.
        wait: seconds to wait while another process uses it.
        given: settings found under another name of the destination.
    """

    pipeline_name: str
    destination: str
    dataset_name: str
    destination_name: str | None = None
    shard: Shard = WHOLE
    database: str | None = None
    called: str | None = None
    staging: str | None = None
    own_staging: bool = True
    lease: Lease | None = None
    read_only: bool = False
    wait: float = 0.0
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The pipeline's name for dlt: each shard has its own."""
        return pipeline_name_of(self.pipeline_name, self.shard)

    def resolved(self) -> Target:
        """Return the target with its DuckDB file: `PIPELINE_db.duckdb` here, if none is given or configured.

        Not `PIPELINE.duckdb`, as DuckDB cannot tell that from a dataset; an older version's is still used.

        Raises:
            ConfigError: there is no such destination, or its settings or the names cannot work.
        """
        assert_contract()
        assert_names(self)
        with self._tried() as pipeline:
            client = pipeline.destination_client()
            found, file = self._named(client), configured_file(client)
        if file and not (self.database or self.destination_name):
            name = f"{self.pipeline_name}_db"
            with self._tried(duckdb_name=name) as pipeline:
                own = configured_file(pipeline.destination_client())
            # A configured file is the same under either name.
            if own != file and (found._clashes_with(file) or not file.exists()):
                found = replace(found, destination_name=name, given=settings_of_duckdb(client.config))
                file = own
        if file and found._clashes_with(file):
            raise ConfigError(f"DuckDB cannot tell the file {file} from the dataset {file.stem}: rename one")
        return found

    def _named(self, client: Any) -> Target:
        """Return the target with the names of its datasets."""
        if not hasattr(client.config, "staging_dataset_name_layout"):
            return self
        called, staging, is_configured = dataset_names(client)
        if sql_client_of(client) is None:
            return replace(self, called=called)
        if not is_configured:
            return replace(self, called=called, staging=staging_name(called, self.name))
        if not self.shard.is_whole:
            # In a shared one, shards would merge each other's rows, without an error.
            staging = f"{staging}_{self.shard.index}"
        return replace(self, called=called, staging=staging, own_staging=False)

    def check(self, table_format: str | None = None) -> None:
        """Open the destination and check it.

        Raises:
            ConfigError: it cannot be opened, is not safe to load into, or lacks this table format.
        """
        waited_for(self.wait, lambda: self._check(table_format))

    def _check(self, table_format: str | None) -> None:
        client = self.destination_client()
        with self._errors_explained():
            # Before it is opened: a refused setting must not create a DuckDB file.
            assert_dlt_settings(self.name, client)
            assert_usable_path(client, table_format)
            assert_no_iceberg_shard(client, self.shard, table_format)
            assert_not_reserved(client, self.called or self.dataset_name)
            assert_not_called_otherwise(
                client, self.dataset_name, lambda name: replace(self, called=name).destination_client()
            )
        with self._errors_explained(), client:
            client.is_storage_initialized()
            if self.staging and what_is_in(client, staging=False) is Holds.STAGED:
                raise ConfigError(
                    f"{self.called} is the staging dataset of another load, which empties it: choose another"
                    " --dataset-name"
                )
            if sql_client := sql_client_of(client):
                assert_texts_arrive(sql_client, tuple(filter(None, (self.called, self.staging))))
            if table_format and table_format not in (client.capabilities.supported_table_formats or ()):
                raise ConfigError(f"{self.destination} has no {table_format} tables: leave out table_format")

    def check_untouched(self, table_format: str | None = None) -> None:
        """Check as `check` does, without creating a missing DuckDB or SQLite file.

        Raises:
            ConfigError: as `check`; or the file or folder cannot be written or created.
        """
        assert_writable(client := self.destination_client())
        if (file := database_file(client)) is None or file.exists():
            self.check(table_format)

    def destination_client(self) -> Any:
        """Return an unopened client of the dataset; raises ConfigError as `check` does."""
        return self._client

    @cached_property
    def _client(self) -> Any:
        with self._tried() as pipeline:
            return pipeline.destination_client()

    def where(self) -> str:
        """Return the location for people: destination, file or address without its password, dataset."""
        client = self.destination_client()
        address = database_file(client) or str(client.config) or "default settings"
        staging = f", staging dataset {self.staging}" if self.staging else ""
        return f"{self.destination} ({address}), dataset {self.called or self.dataset_name}{staging}"

    def place(self) -> str:
        """Return a location id: the same for targets that share their tables, and for no others."""
        # Under a lease, sessions have another name in each load.
        client = (replace(self, lease=None) if self.lease else self).destination_client()
        return place_of(client, dataset_called(self.dataset_name))

    def pipeline(self, file: ExitStack | None = None) -> dlt.Pipeline:
        """Return the pipeline with the state of earlier loads; a DuckDB file is open until `file` closes."""
        place = self.place()
        pipeline = self.dlt_pipeline()
        if local_value(pipeline, PLACE) != place:
            # dlt keeps one state per name: with another location's cursors, this one would miss rows.
            pipeline.drop()
            pipeline = self.dlt_pipeline()
            pipeline.set_local_state_val(PLACE, place)
        if self.staging:
            with ExitStack() as closed_here:
                (file or closed_here).enter_context(kept_open(pipeline))
                staging = self._staging_of(pipeline)
            if staging != self.staging:
                pipeline = replace(self, staging=staging).dlt_pipeline()
            pipeline.set_local_state_val(_STAGING, staging)
        # Dropping it made its folder as open as the umask allows.
        close_to_others(Path(pipeline.working_dir))
        return pipeline

    def _staging_of(self, pipeline: dlt.Pipeline) -> str:
        """Return the staging dataset to load through, checked to be ours.

        Raises:
            ConfigError: it holds tables that are not ours.
        """
        staging, legacy = self.staging or "", legacy_name(self.called or "", self.name)
        is_begun = pipeline.has_pending_data
        if is_begun:
            # A part of the pending load may be staged already.
            staging = local_value(pipeline, _STAGING) or (legacy if self.own_staging else staging)
        held = self._held_by(staging)
        if self.own_staging and not is_begun and held is not Holds.STAGED:
            with self._errors_explained(), replace(self, staging=legacy).destination_client() as client:
                if is_legacy(client, self.called or "", self.name):
                    return legacy
        if held not in (Holds.NOTHING, Holds.STAGED):
            raise ConfigError(
                f"{staging}, the staging dataset of the pipeline {self.name}, holds tables that are not"
                " its own and would be emptied: choose another --pipeline-name, or set dlt's"
                " staging_dataset_name_layout"
            )
        return staging

    def _held_by(self, staging: str) -> Holds:
        target = self if staging == self.staging else replace(self, staging=staging)
        with self._errors_explained(), target.destination_client() as client:
            return what_is_in(client, staging=True)

    def _clashes_with(self, file: Path) -> bool:
        """Return True if a file has a dataset's name: DuckDB cannot tell a schema from its database."""
        return file.stem.casefold() in {name.casefold() for name in (self.called, self.staging) if name}

    @contextmanager
    def _tried(self, duckdb_name: str | None = None) -> Iterator[dlt.Pipeline]:
        """Yield a temporary pipeline, so that a refused load leaves no trace; errors become ConfigErrors."""
        providers()
        with self._errors_explained(), sections_only(), tempfile.TemporaryDirectory() as folder:
            pipeline = self.dlt_pipeline(folder, duckdb_name)
            try:
                yield pipeline
            finally:
                pipeline.deactivate()

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        """Turn errors of dlt and drivers into ConfigErrors while the block runs."""
        try:
            yield
        except UnknownDestinationModule as error:
            assert_known("destination", [self.destination], DESTINATIONS)
            raise ConfigError(f"unknown destination {self.destination!r}") from error
        except LettaError:
            raise
        except Exception as error:  # Drivers have exceptions of their own.
            keep_our_frames(error)
            if why := in_use(one_line(error)) or not_a_database(one_line(error)):
                raise why from error
            hint = setting_hint(self.destination, error)
            raise ConfigError(f"{self.destination} cannot be opened: {one_line(error)}{hint}") from error

    def dlt_pipeline(self, folder: str | None = None, duckdb_name: str | None = None) -> dlt.Pipeline:
        """Return dlt's pipeline, with the state in its working folder.

        Args:
            folder: contains the working folder; by default dlt's own folder of pipelines.
            duckdb_name: name of its file, if none is configured.
        """
        destination = destination_of(self, duckdb_name)
        made = dlt.pipeline(
            self.name,
            pipelines_dir=folder,  # type: ignore[arg-type]  # None is its default
            destination=destination,
            dataset_name=self.called or dataset_called(self.dataset_name),
            # dev_mode would wipe the state, and load into another dataset each time.
            dev_mode=False,
        )
        find_capabilities_once(destination)
        read_schemas_once(made)
        if self.called:
            # dataset_name_layout is already applied to it.
            made.dataset_name = self.called
        # dlt's settings may set it: it would drop the tables with each package.
        made.refresh = None
        return made
