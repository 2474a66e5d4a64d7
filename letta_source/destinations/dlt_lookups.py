"""Capabilities and schemas, found once: dlt would find them anew in every step of a load."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import dlt

from letta_source.destinations.dlt_internals import DltCapabilities, Schema, broken


def find_capabilities_once(destination: Any) -> None:
    """Have a destination compute its capabilities once for each naming convention.

    dlt asks for them some 30 times in a load, and each time resolves all of the destination's settings.
    """
    find, found = destination.capabilities, {}

    def capabilities(config: Any = None, naming: Any = None) -> DltCapabilities:
        if config is not None:
            return find(config, naming)  # type: ignore[no-any-return]
        name = naming and naming.name()
        if name not in found:
            found[name] = find(None, naming)
        # Callers may change them.
        return copy.deepcopy(found[name])  # type: ignore[no-any-return]

    destination.capabilities = capabilities


def read_schemas_once(pipeline: dlt.Pipeline) -> None:
    """Have a pipeline read a schema's file once, and again when the file was written.

    dlt reads it some 30 times in a load, a sixth of the processor time of one with few rows.
    """
    storage: Any = pipeline.schemas
    if not hasattr(storage, "live_schemas"):
        raise broken("live_schemas", "each step of a load would read the schema again")
    if storage.config.import_schema_path:  # There may be a newer file in that folder.
        return
    read, folder = storage.load_schema, Path(pipeline.working_dir, "schemas")
    known: dict[str, tuple[object, ...]] = {}

    def load_schema(name: str) -> Schema:
        live = storage.live_schemas.get(name)
        before = _version(folder / f"{name}.schema.json")
        if live is not None and known.get(name) == (*before, live.version_hash):
            return live  # type: ignore[no-any-return]
        schema: Schema = read(name)
        known[name] = (*before, schema.version_hash)
        return schema

    storage.load_schema = load_schema


def _version(file: Path) -> tuple[int, ...]:
    """Return what changes whenever dlt writes a file, which it replaces; nothing for a missing one."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
