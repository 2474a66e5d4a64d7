"""Names of datasets and pipelines: what dlt makes of them, which are reserved, and those of staging datasets.

Rows are loaded into the staging dataset, then merged from there; each pipeline has its own. dlt would name it
`<dataset>_staging` for every pipeline, and truncate the tables in it: two pipelines would merge each other's
rows, and a dataset of that name would lose its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from letta_source.destinations.dlt_internals import dialect_of, sql_client_of
from letta_source.destinations.dlt_storage import LOADS, STATES, VERSIONS, newest_loads, stored_columns
from letta_source.errors import ConfigError
from letta_source.schema.resources import all_tables

_HASH = 8
# Characters of a pipeline's name, including the suffix of a shard.
_LONGEST = 64
# Windows allows no folder of such a name.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}

_RESERVED = {
    "duckdb": "temp|system|information_schema|pg_catalog",
    "postgres": "pg_.*|information_schema",
    "redshift": "pg_.*|information_schema",
    "mysql": "mysql|sys|information_schema|performance_schema",
    "mariadb": "mysql|sys|information_schema|performance_schema",
    "sqlite": "temp",
    "snowflake": "information_schema",
    "bigquery": "information_schema",
    "databricks": "information_schema",
}
"""Patterns of reserved dataset names, by dialect; a load would only fail at its first rows."""
# PostgreSQL's limit on identifiers, the lowest. ClickHouse puts the dataset into each table's name.
_LONGEST_STAGING = 63


def dataset_called(name: str) -> str:
    """Return the name of a dataset for dlt, with a hash if dlt would drop letters of it.

    dlt replaces letters that are not ASCII with `_`: `müller` and `möller` would share a dataset, and a name
    with no other letters would become `x`.
    """
    kept = re.sub("[^A-Za-z0-9]+", "_", name).strip("_")
    if kept and name.isascii():
        return name
    return f"{kept or 'x'}_{hash_of(name)}"


def assert_pipeline_name(name: str) -> None:
    """Refuse a pipeline name that dlt would refuse: it names a folder, a schema and a config section.

    Raises:
        ConfigError: dlt could not use it.
    """
    is_text = isinstance(name, str)
    if not (is_text and name.isidentifier() and len(name) <= _LONGEST and name.casefold() not in _DEVICES):
        shown = f"{name[:_LONGEST]}…" if is_text and len(name) > _LONGEST else name
        raise ConfigError(
            f"the pipeline name {shown!r} cannot be used: it may have letters, digits and underscores, starts"
            f" with a letter, has at most {_LONGEST} characters, and is not the name of a device such as con"
        )


def assert_not_called_otherwise(client: Any, name: str, client_of: Callable[[str], Any]) -> None:
    """Refuse a name with a hash if earlier versions, which added none, loaded a dataset under the bare name.

    Args:
        client_of: makes a client of the dataset with a given name.

    Raises:
        ConfigError: there is such a dataset; says how to continue with it.
    """
    if name.isascii() or not re.search("[A-Za-z0-9]", name):
        return
    before = str(client.schema.naming.normalize_table_identifier(name))
    with client_of(before) as other:
        if other.is_storage_initialized():
            raise ConfigError(
                f"a dataset {before} exists, which earlier versions used for {name} and similar names:"
                f" continue with it by --dataset-name {before}, or choose another name"
            )


def hash_of(*names: str) -> str:
    """Return a short hash of the names, in hexadecimal digits."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:_HASH]


def assert_not_reserved(client: Any, dataset: str) -> None:
    """Refuse a dataset name that the database reserves.

    Raises:
        ConfigError: the name is reserved.
    """
    sql_client = sql_client_of(client)
    reserved = _RESERVED.get(dialect_of(sql_client), "") if sql_client else ""
    if reserved and re.fullmatch(reserved, dataset, re.IGNORECASE):
        raise ConfigError(
            f"{dataset} is a schema of the database's own, which nothing can be loaded into: choose another"
            " --dataset-name"
        )


class Holds(Enum):
    """Kinds of content that a dataset may have."""

    NOTHING = "no tables of ours or dlt's"
    STAGED = "a staging dataset of ours"
    LOADED = "a dataset that was loaded"
    OTHERS = "tables that are not ours"


def staging_name(dataset: str, pipeline: str) -> str:
    """Return `<dataset>__<pipeline>_staging`, made of `a-z0-9_`, 63 characters at most.

    Different pairs have different names: if characters are replaced or cut, a hash of both is added.
    """
    plain = f"{dataset}__{pipeline}_staging"
    exact = all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", one) for one in (dataset, pipeline))
    if exact and len(plain) <= _LONGEST_STAGING:
        return plain
    room = _LONGEST_STAGING - len(f"__{hash_of()}_staging")
    kept = re.sub("[^a-z0-9_]+", "_", f"{dataset}__{pipeline}".lower())[:room].strip("_")
    return f"{kept}__{hash_of(dataset, pipeline)}_staging"


def what_is_in(client: Any, staging: bool) -> Holds:
    """Return the kind of content in the client's dataset, or in its staging dataset.

    dlt stores the schema in a staging dataset's `_dlt_version`, but neither loads nor states.
    """
    dlts = (VERSIONS, LOADS, STATES)
    names = (*dlts, *(table.name for table in all_tables()))
    there = {name for name, columns in stored_columns(client, names, staging).items() if columns}
    if not there:
        return Holds.NOTHING
    if there.intersection(dlts) == {VERSIONS}:
        return Holds.STAGED
    return Holds.LOADED if there.issuperset(dlts) else Holds.OTHERS


def legacy_name(dataset: str, pipeline: str) -> str:
    """Return the name that the staging dataset had before each pipeline had its own."""
    shard = re.search(r"_shard_(\d+)_of_\d+$", pipeline)
    return f"{dataset}_staging_{shard[1]}" if shard else f"{dataset}_staging"


def is_legacy(client: Any, dataset: str, pipeline: str) -> bool:
    """Return True if this pipeline, and no other, loads through the client's legacy staging dataset."""
    try:
        pipelines = newest_loads(client)
    except DestinationUndefinedEntity:
        return False
    name = legacy_name(dataset, pipeline)
    of_that_name = [one for one in pipelines if legacy_name(dataset, one) == name]
    return of_that_name == [pipeline] and what_is_in(client, staging=True) is Holds.STAGED
