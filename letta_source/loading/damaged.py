"""Find a working folder with files that a power failure or a full disk left incomplete."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from letta_source.destinations.dlt_internals import PackageStorage
from letta_source.destinations.dlt_storage import extracted_packages, normalized_packages

logger = logging.getLogger(__name__)

# Fields that dlt writes into each state and schema.
_STATE, _SCHEMA = "_state_engine_version", "engine_version"


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
    """Return a schema's file that the state, which is whole, names and that is not there."""
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
