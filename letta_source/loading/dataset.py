"""Open a loaded dataset with the settings it was loaded with."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import dlt

from letta_source.destinations.dlt_internals import database_file, sections_only
from letta_source.errors import ConfigError, LettaError, OutputFailed
from letta_source.loading.error_text import one_line
from letta_source.loading.target import Target


def open_dataset(
    database: str | os.PathLike[str] | None = None,
    *,
    destination: str = "duckdb",
    dataset_name: str = "letta",
    pipeline_name: str = "letta",
) -> dlt.Pipeline:
    """Open a loaded dataset, for `letta_source.export` or for dlt's `dataset()` and `sql_client()`.

    It finds what `letta-source run` and `letta_source.load` wrote from this folder with the same arguments
    and configuration. `dlt.attach` finds the last load under the pipeline's name, from any folder.

    Args:
        database: DuckDB's file; by default the configured one, else `letta_db.duckdb` in this folder, `letta`
            being the pipeline's name.

    Raises:
        ConfigError: the dataset does not exist or cannot be opened.
    """
    file = os.fspath(database) if isinstance(database, os.PathLike) else database
    target = Target(pipeline_name, destination, dataset_name, database=file).resolved()
    folder = tempfile.mkdtemp(prefix="letta-dataset-")
    try:
        to_be_read = _to_be_read(target)
        to_be_read.check()
        # By its path: in another folder, settings would lead to another file.
        found = replace(to_be_read, read_only=False)
        with sections_only():
            pipeline = found.dlt_pipeline(folder)
        pipeline.deactivate()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(pipeline, shutil.rmtree, folder, ignore_errors=True)
    return pipeline


@contextmanager
def reading(target: Target) -> Iterator[dlt.Pipeline]:
    """Yield a pipeline without state, to read the dataset; it leaves no files.

    Raises:
        ConfigError: the destination cannot be opened, or its file does not exist.
        OutputFailed: another error was raised while the block runs.
    """
    to_be_read = _to_be_read(target)
    to_be_read.check()
    with sections_only(), tempfile.TemporaryDirectory() as folder:
        pipeline = to_be_read.dlt_pipeline(folder)
        try:
            yield pipeline
        except LettaError:
            raise
        except Exception as error:  # Drivers have exceptions of their own.
            raise OutputFailed(one_line(error)) from error
        finally:
            pipeline.deactivate()


def _to_be_read(target: Target) -> Target:
    """Return the target with the path of its DuckDB file, which is opened read-only.

    Raises:
        ConfigError: its file does not exist.
    """
    client = target.destination_client()
    file = database_file(client)
    if file and not file.exists():
        raise ConfigError(f"{file} does not exist yet: `letta-source run` creates it")
    if client.config.destination_type != "duckdb":
        return target
    return replace(target, database=str(file), destination_name=None, read_only=True)
