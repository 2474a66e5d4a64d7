"""Names of datasets: what they become in a destination, and which are taken there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from letta_source.destinations.dlt_internals import dialect_of, sql_client_of
from letta_source.errors import ConfigError

_HASH = 8

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
"""Datasets that databases have for themselves, by dialect; found only when the first rows come."""


def dataset_called(name: str) -> str:
    """Return how a dataset is called for dlt: with a hash, if it would leave letters out.

    Of letters that are not ASCII dlt makes `_`, so `müller` and `möller` would be one dataset, and of a name
    without any other it makes `x`.
    """
    kept = re.sub("[^A-Za-z0-9]+", "_", name).strip("_")
    if kept and name.isascii():
        return name
    return f"{kept or 'x'}_{hash_of(name)}"


def assert_not_called_otherwise(client: Any, name: str, client_of: Callable[[str], Any]) -> None:
    """Refuse a dataset that versions without that hash have loaded, or another that they called the same.

    Args:
        client_of: makes a client of the dataset that is called so.

    Raises:
        ConfigError: says how to go on with it.
    """
    if name.isascii() or not re.search("[A-Za-z0-9]", name):
        return
    before = str(client.schema.naming.normalize_table_identifier(name))
    with client_of(before) as other:
        if other.is_storage_initialized():
            raise ConfigError(
                f"{before} is there, as earlier versions called {name} and every name that is written alike:"
                f" --dataset-name {before} goes on with it; else choose another name"
            )


def hash_of(*names: str) -> str:
    """Return some letters and digits that are others for other names."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:_HASH]


def assert_not_reserved(client: Any, dataset: str) -> None:
    """Refuse a dataset that the database has for itself.

    Raises:
        ConfigError: names it.
    """
    sql_client = sql_client_of(client)
    reserved = _RESERVED.get(dialect_of(sql_client), "") if sql_client else ""
    if reserved and re.fullmatch(reserved, dataset, re.IGNORECASE):
        raise ConfigError(
            f"{dataset} is a schema of the database's own, which nothing can be loaded into: choose another"
            " --dataset-name"
        )
