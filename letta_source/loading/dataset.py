"""Open what was loaded, by the rules by which it was loaded."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref

import dlt

from letta_source.loading.target import Target


def open_dataset(
    database: str | os.PathLike[str] | None = None,
    *,
    destination: str = "duckdb",
    dataset_name: str = "letta",
    pipeline_name: str = "letta",
) -> dlt.Pipeline:
    """Open a loaded dataset: for `letta_source.export`, or by dlt's own `dataset()` and `sql_client()`.

    It finds what `letta-source run` and `letta_source.load` wrote from this folder with the same arguments
    and configuration. `dlt.attach` finds what was loaded last under the pipeline's name, from any folder.

    Args:
        database: DuckDB's file; by default the configured one, else `letta_db.duckdb` in this folder, `letta`
            being the pipeline's name.

    Raises:
        ConfigError: it is not there, or cannot be opened.
    """
    file = None if database is None else os.fspath(database)
    target = Target(pipeline_name, destination, dataset_name, database=file).resolved()
    folder = tempfile.mkdtemp(prefix="letta-dataset-")
    try:
        pipeline = target.opened(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(pipeline, shutil.rmtree, folder, ignore_errors=True)
    return pipeline
