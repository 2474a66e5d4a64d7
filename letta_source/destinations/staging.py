"""The staging dataset: rows are loaded into it, then merged from there; each pipeline has its own.

dlt would name it `<dataset>_staging` for every pipeline, and truncate the tables in it: two pipelines would
merge each other's rows, and a dataset of that name would lose its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity

from letta_source.destinations.dataset_names import hash_of
from letta_source.destinations.dlt_storage import LOADS, STATES, VERSIONS, newest_loads, stored_columns
from letta_source.schema.resources import all_tables

# PostgreSQL's limit on identifiers, the lowest. ClickHouse puts the dataset into each table's name.
_LONGEST = 63


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
    if exact and len(plain) <= _LONGEST:
        return plain
    room = _LONGEST - len(f"__{hash_of()}_staging")
    kept = re.sub("[^a-z0-9_]+", "_", f"{dataset}__{pipeline}".lower())[:room].strip("_")
    return f"{kept}__{hash_of(dataset, pipeline)}_staging"


def what_is_in(client: Any, staging: bool) -> Holds:
    """Return the kind of content in the client's dataset, or in its staging dataset.

    dlt stores the schema in a staging dataset's `_dlt_version`, but neither loads nor states.
    """
    dlts = (VERSIONS, LOADS, STATES)
    there = {name for name, columns in stored_columns(client, (*dlts, *_names()), staging).items() if columns}
    if not there:
        return Holds.NOTHING
    if there.intersection(dlts) == {VERSIONS}:
        return Holds.STAGED
    return Holds.LOADED if there.issuperset(dlts) else Holds.OTHERS


def _names() -> Iterable[str]:
    return (table.name for table in all_tables())


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
