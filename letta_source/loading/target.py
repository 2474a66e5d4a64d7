"""Where a load goes. It is found and opened once before a pipeline keeps any state of it."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination.exceptions import DestinationException, UnknownDestinationModule
from dlt.common.exceptions import DltException
from filelock import FileLock, Timeout
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from letta_source.destinations.dlt_contract import assert_contract
from letta_source.destinations.dlt_internals import (
    cause_of,
    database_file,
    local_value,
    pipelines_folder,
    place_of,
)
from letta_source.destinations.mysql import widen_texts
from letta_source.errors import ConfigError, LettaError, OutputFailed
from letta_source.loading.shard_state import pipeline_name_of
from letta_source.settings.places import providers
from letta_source.shards import WHOLE, Shard

_DESTINATIONS = (
    "duckdb", "postgres", "sqlalchemy", "filesystem", "bigquery", "snowflake", "redshift", "databricks",
    "clickhouse", "motherduck", "athena", "mssql", "synapse", "dremio", "ducklake", "lancedb",
)  # fmt: skip
_DUCKDB = "dlt.destinations.duckdb"
_PLACE = "letta_source_place"


@dataclass(frozen=True)
class Target:
    """A destination, a dataset in it, and the pipeline that fills it.

    Attributes:
        destination: its type, as dlt calls it.
        shard: which of several pipelines that load side by side; each has a staging dataset of its own.
        destination_name: what dlt's config and a DuckDB file are called, if not as the type and the pipeline.
    """

    pipeline_name: str
    destination: str
    dataset_name: str
    destination_name: str | None = None
    shard: Shard = WHOLE

    def resolved(self) -> Target:
        """The same; its DuckDB file is `NAME_db.duckdb` where pipeline and dataset are both called NAME.

        Raises:
            ConfigError: there is no such destination, or its settings are incomplete or cannot work.
        """
        assert_contract()
        with self._tried() as pipeline:
            file = _clashing_file(pipeline)
        if file is None:
            return self
        name = f"{self.pipeline_name}_db"
        with self._tried(duckdb_name=name) as pipeline:
            is_configured = _clashing_file(pipeline) == file
        if is_configured:
            raise ConfigError(f"DuckDB cannot tell the file {file} from the dataset {file.stem}: rename one")
        return replace(self, destination_name=name)

    def check(self, table_format: str | None = None) -> None:
        """Opens the destination.

        Raises:
            ConfigError: it cannot be opened, or has no such tables.
        """
        with self._tried() as pipeline, pipeline.destination_client() as client:
            client.is_storage_initialized()
            formats = client.capabilities.supported_table_formats or ()
            if table_format and table_format not in formats:
                raise ConfigError(f"{self.destination} has no {table_format} tables: leave out table_format")
            if "{load_id}" not in getattr(client.config, "layout", "{load_id}"):
                raise ConfigError(
                    "the layout of the files must hold {load_id}: to tell those of a load that never finished"
                )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else on this machine runs the pipeline meanwhile: each would mend what the other is doing.

        Raises:
            ConfigError: somebody does.
        """
        folder = Path(pipelines_folder())
        folder.mkdir(parents=True, exist_ok=True)
        name = pipeline_name_of(self.pipeline_name, self.shard)
        lock = FileLock(folder / f"{name}.lock", blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigError(
                f"the pipeline {name} is being run already: wait for it, or choose another --pipeline-name"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def pipeline(self) -> dlt.Pipeline:
        """The pipeline, with the state of what was loaded into this target."""
        with self._tried() as tried:
            place = place_of(tried)
        pipeline = self._pipeline()
        if local_value(pipeline, _PLACE) != place:
            # dlt keeps one state a name: with the cursors of another place, this one would miss rows.
            pipeline.drop()
            pipeline = self._pipeline()
            pipeline.set_local_state_val(_PLACE, place)
        return pipeline

    @contextmanager
    def reading(self) -> Iterator[dlt.Pipeline]:
        """A pipeline that knows nothing but the place, to read what is there; it leaves no trace.

        Raises:
            ConfigError: the destination cannot be opened, or its file is not there.
            OutputFailed: whoever reads met an error.
        """
        with self._tried() as tried:
            if (file := database_file(tried.destination_client())) and not file.exists():
                raise ConfigError(f"there is no {file} yet: `letta-source run` makes it")
        self.check()
        with tempfile.TemporaryDirectory() as folder:
            pipeline = self._pipeline(folder)
            try:
                yield pipeline
            except (LettaError, BrokenPipeError):
                raise
            except Exception as error:  # Drivers have exceptions of their own.
                raise OutputFailed(said(error)) from error
            finally:
                pipeline.deactivate()

    @contextmanager
    def _tried(self, duckdb_name: str | None = None) -> Iterator[dlt.Pipeline]:
        """A pipeline for a moment, so that a refused load leaves no trace; what goes wrong is a ConfigError.

        Args:
            duckdb_name: of its file, where none is configured.
        """
        providers()
        try:
            with tempfile.TemporaryDirectory() as folder:
                pipeline = self._pipeline(folder, duckdb_name)
                try:
                    yield pipeline
                finally:
                    pipeline.deactivate()
        except UnknownDestinationModule as error:
            assert_known("destination", [self.destination], _DESTINATIONS)
            raise ConfigError(f"unknown destination {self.destination!r}") from error
        except LettaError:
            raise
        except Exception as error:  # Drivers have exceptions of their own.
            hint = _hint(self.destination, error)
            raise ConfigError(f"{self.destination} cannot be opened: {said(error)}{hint}") from error

    def _pipeline(self, folder: str | None = None, duckdb_name: str | None = None) -> dlt.Pipeline:
        kind = dlt.destination(self.destination)
        settings: dict[str, Any] = {}
        if not self.destination_name and kind.destination_type == _DUCKDB:
            # Its file is called after it: one for all shards.
            settings["pipeline_name"] = duckdb_name or self.pipeline_name
        if kind.destination_type == "dlt.destinations.sqlalchemy":
            # SQLite is locked as soon as two tables are written at once.
            settings["loader_parallelism_strategy"] = "sequential"
            widen_texts()
        if not self.shard.is_whole and hasattr(kind.spec, "staging_dataset_name_layout"):
            # In one that they share, shards would merge each other's rows, without an error.
            settings["staging_dataset_name_layout"] = f"%s_staging_{self.shard.index}"
        if self.destination_name:
            settings["destination_type"] = self.destination
        destination = dlt.destination(self.destination_name or self.destination, **settings)
        return dlt.pipeline(
            pipeline_name_of(self.pipeline_name, self.shard),
            pipelines_dir=folder,  # type: ignore[arg-type]  # None is its default
            destination=destination,
            dataset_name=self.dataset_name,
        )


def make_tables(pipeline: dlt.Pipeline, shard: Shard) -> None:
    """Makes dataset and tables, or adds columns, before rows come.

    None of that is safe against another shard that does it at the same moment; who tries again finds it done.
    """
    tries = Retrying(
        retry=retry_if_exception_type(DestinationException),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_after_attempt(1) if shard.is_whole else stop_after_delay(60),
        reraise=True,
    )
    tries(pipeline.sync_schema)


def _clashing_file(pipeline: dlt.Pipeline) -> Path | None:
    """The DuckDB file, if it is called as the dataset: DuckDB cannot tell a schema from its database then."""
    client: Any = pipeline.destination_client()
    file = database_file(client) if client.config.destination_type == "duckdb" else None
    return file if file and file.stem.casefold() == client.sql_client.dataset_name.casefold() else None


def _hint(destination: str, error: Exception) -> str:
    if not isinstance(error, ConfigurationException):
        return ""
    setting = "BUCKET_URL" if "bucket_url" in getattr(error, "fields", ()) else "CREDENTIALS"
    return f"; set DESTINATION__{destination.rpartition('.')[2].upper()}__{setting}"


def assert_known(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Checks names that people type.

    Raises:
        ConfigError: one is unknown; names the one that was meant, if any is near.
    """
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"unknown {what} {name!r}: {hint}")


def root(error: BaseException) -> BaseException:
    """Return the cause that an error of dlt hides: the cause of its cause …, up to one of ours."""
    while not isinstance(error, LettaError):
        inner = cause_of(error)
        if inner is None:
            break
        error = inner
    return error


def said(error: BaseException) -> str:
    """Return an error's root cause in one line."""
    error = root(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Drivers show the whole address, with the password, when they cannot read it.
    text = re.sub(r"://\S*@", "://***@", lines[0]) if lines else ""
    return text if isinstance(error, (LettaError, DltException)) else f"{type(error).__name__}: {text}"
