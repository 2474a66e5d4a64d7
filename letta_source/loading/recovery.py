"""Repair dlt's files on disk after a kill or a power failure, and delete files that are no longer needed."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import dlt
import pyarrow as pa
import pyarrow.parquet as pq

from letta_source.destinations.dlt_internals import (
    LoadStorage,
    PackageStorage,
    half_written,
    keep_schema,
    table_of_job,
)
from letta_source.destinations.dlt_storage import extracted_packages, normalized_packages

logger = logging.getLogger(__name__)
# Fields that dlt writes into each state and schema.
_STATE, _SCHEMA = "_state_engine_version", "engine_version"


def forget_half_written(pipeline: dlt.Pipeline) -> bool:
    """Delete files that dlt was still writing, under random names.

    Returns:
        True if there were any: the pipeline must then be created again, as dlt takes such a file in its
        folder of schemas for a schema, and adds it to the pipeline's state.
    """
    files = half_written(Path(pipeline.working_dir))
    for file in files:
        file.unlink()
    return bool(files)


def mend_after_kill(pipeline: dlt.Pipeline) -> None:
    """Delete what dlt would fail on for ever, and rows that it would leave on disk.

    dlt hands a package to its next step in two moves, and cannot go on if it was killed between them.
    """
    extracted = extracted_packages(pipeline.working_dir)
    normalized = normalized_packages(pipeline.working_dir)
    for package in extracted.glob("*"):
        # It was normalized, but not all of its files were deleted.
        whole = (package / PackageStorage.SCHEMA_FILE_NAME).exists() and (
            package / PackageStorage.NEW_JOBS_FOLDER
        ).exists()
        if package.is_dir() and (not whole or (normalized / package.name).exists()):
            shutil.rmtree(package)
        elif package.is_dir():
            # If it was killed before its schema was saved, dlt would normalize it by an older one.
            keep_schema(pipeline, package / PackageStorage.SCHEMA_FILE_NAME)
    for mark in normalized.glob(f"*/{PackageStorage.PACKAGE_COMPLETED_FILE_NAME}"):
        # Loaded and marked, but not moved away: dlt refuses to mark it again.
        mark.unlink()
    for unfinished in extracted.parent.glob("*"):
        if unfinished.is_dir() and unfinished != extracted:
            shutil.rmtree(unfinished)


@dataclass(frozen=True)
class Pending:
    """A load package that the next run loads first.

    Attributes:
        stage: "extracted", or "normalized", which may be partly loaded.
        rows: counts by table, as far as its files tell.
    """

    pipeline: str
    load_id: str
    stage: str
    rows: Mapping[str, int]


def pending_packages(folder: Path) -> list[Pending]:
    """Return the load packages in a pipeline's working folder, without having dlt open it."""
    places = {
        "normalized": normalized_packages(folder),
        "extracted": extracted_packages(folder),
    }
    return [
        Pending(folder.name, package.name, stage, _rows(package))
        for stage, place in places.items()
        for package in sorted(place.glob("*"))
        if package.is_dir()
    ]


def _rows(package: Path) -> dict[str, int]:
    rows: dict[str, int] = {}
    for file in sorted(package.glob("*_jobs/*.parquet")):
        # A running load moves and writes files meanwhile.
        with suppress(OSError, pa.ArrowInvalid):
            if count := pq.read_metadata(file).num_rows:
                table = table_of_job(file)
                rows[table] = rows.get(table, 0) + count
    return rows


def drop_empty(pipeline: dlt.Pipeline) -> None:
    """Delete files without rows from packages to be loaded, for destinations that fail on them."""
    folder = normalized_packages(pipeline.working_dir)
    for file in folder.glob(f"*/{PackageStorage.NEW_JOBS_FOLDER}/*.parquet"):
        if not pq.read_metadata(file).num_rows:
            file.unlink()


def forget_loaded(pipeline: dlt.Pipeline) -> None:
    """Delete all loaded packages but the last: dlt keeps a folder with schema and state of each for ever."""
    for load_id in sorted(pipeline.list_completed_load_packages())[:-1]:
        shutil.rmtree(Path(pipeline.working_dir, "load", LoadStorage.LOADED_FOLDER, load_id))


def discard_if_damaged(folder: Path) -> None:
    """Delete a pipeline's working folder if one of its files is incomplete, and log which.

    dlt does not flush its files to disk: after a power failure the newest may be empty or cut, and dlt would
    fail on them in every run. A new folder continues from the state in the destination, as on a new machine.
    That state is not beyond the packages that were not loaded, so their rows are read again.
    """
    damaged = next((file for file in _files(folder) if not _is_whole(file)), None) or _missing(folder)
    if damaged:
        logger.warning(
            "%s is missing or incomplete, perhaps after a power failure or on a full disk: discarding the"
            " working folder and continuing from the state in the destination",
            damaged,
        )
        shutil.rmtree(folder)


def _missing(folder: Path) -> Path | None:
    """Return a missing file of a schema that the state names; the state itself is complete."""
    state = folder / "state.json"
    names = json.loads(state.read_bytes()).get("schema_names") if state.exists() else None
    files = [folder / "schemas" / f"{name}.schema.json" for name in names or ()]
    return next((file for file in files if not file.exists()), None)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files that dlt cannot do without."""
    yield from folder.glob("state.json")
    yield from folder.glob("schemas/*.json")
    for packages in (extracted_packages(folder), normalized_packages(folder)):
        # dlt's mark of a loaded package is empty.
        for name in (PackageStorage.SCHEMA_FILE_NAME, PackageStorage.LOAD_PACKAGE_STATE_FILE_NAME):
            yield from packages.glob(f"*/{name}")
        yield from packages.glob("*/*_jobs/*.parquet")


def _is_whole(file: Path) -> bool:
    """Return True if a JSON file holds what dlt needs, or a Parquet file has its end."""
    try:
        if file.suffix == ".parquet":
            pq.read_metadata(file)
            return True
        found = json.loads(file.read_bytes())
    except (ValueError, pa.ArrowException, IsADirectoryError):
        return False
    except OSError:
        # The disk fails, or the file is another user's: dlt says so.
        return True
    needed = _STATE if file.name == "state.json" else _SCHEMA if file.name.endswith("schema.json") else None
    return isinstance(found, dict) and (needed is None or needed in found)
