"""Settings of dlt that could make a load lose rows, double them or never end: overridden, or refused.

docs/configure.md lists them; `tests/loading/test_dlt_rules.py` enforces that.
"""

from __future__ import annotations

import logging
import multiprocessing
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dlt

from letta_source.destinations.dlt_specs import is_of_type, settings_of_steps, type_for_people
from letta_source.errors import ConfigError
from letta_source.loading.dlt_settings import environment

logger = logging.getLogger(__name__)

OURS: Mapping[str, tuple[bool, str]] = {
    "load.raise_on_failed_jobs": (True, "rows that the destination refused would be left out"),
    "load.auto_abort_on_terminal_error": (False, "cursors of packages that are thrown away would be kept"),
    "normalize.json_normalizer.add_dlt_id": (True, "dlt's own tables need it"),
    "normalize.json_normalizer.add_dlt_load_id": (True, "dlt's own tables need it"),
    "normalize.parquet_normalizer.add_dlt_id": (False, "rows have keys of their own"),
    "normalize.parquet_normalizer.add_dlt_load_id": (False, "rows already have it"),
}
"""Settings of dlt that a load overrides, and what would go wrong otherwise."""


@dataclass(frozen=True)
class Refused:
    """Values of a setting that a load refuses.

    Attributes:
        when: which values are refused, for people.
        is_unsafe: returns True for a refused value, given one of the setting's type.
    """

    when: str
    is_unsafe: Callable[[Any], bool]


_AT_LEAST_1 = Refused("less than 1", lambda value: int(value) < 1)
_IN_OWN_FOLDER = Refused(
    "set: what is loaded would lie outside the pipeline's own folder, or not be found",
    lambda value: True,
)


def _none_of(*known: str) -> Refused:
    return Refused(f"none of {', '.join(f'`{one}`' for one in known)}", lambda value: value not in known)


REFUSED: Mapping[str, Refused] = {
    "load.workers": _AT_LEAST_1,
    "load.raise_on_max_retries": _AT_LEAST_1,
    "load.load_volume_path": _IN_OWN_FOLDER,
    "normalize.workers": _AT_LEAST_1,
    "normalize.start_method": _none_of(*sorted(multiprocessing.get_all_start_methods())),
    "normalize.load_volume_path": _IN_OWN_FOLDER,
    "normalize.normalize_volume_path": _IN_OWN_FOLDER,
    "normalize.schema_volume_path": _IN_OWN_FOLDER,
    "extract.workers": _AT_LEAST_1,
    "extract.max_parallel_items": _AT_LEAST_1,
    "extract.next_item_mode": _none_of("fifo", "round_robin"),
    "data_writer.buffer_max_items": _AT_LEAST_1,
    "data_writer.file_max_items": _AT_LEAST_1,
    "data_writer.file_max_bytes": _AT_LEAST_1,
    "data_writer.coerce_timestamps": Refused(
        "other than `us`: times would lose their microseconds, or not be written",
        lambda value: value != "us",
    ),
    "data_writer.timestamp_timezone": Refused(
        "other than `UTC`: times would be moved", lambda value: value != "UTC"
    ),
    "data_writer.flavor": Refused("set: times would lose their zone", bool),
    "data_writer.version": _none_of("1.0", "2.4", "2.6"),
    "data_writer.row_group_size": _AT_LEAST_1,
}
"""Settings of dlt with values that a load refuses; a data writer's in each section of `_WRITERS`."""

REFUSED_OF_DESTINATION: Mapping[str, Refused] = {
    "bigquery.autodetect_schema": Refused("true: BigQuery would choose the types of columns", bool),
    "bigquery.ignore_unknown_values": Refused("true: values without a column would be left out", bool),
    "databricks.insert_api": Refused("`zerobus`: rows could not be merged", lambda value: value == "zerobus"),
    "redshift.additional_copy_options": Refused(
        "with `MAXERROR`, `TRUNCATECOLUMNS` or `NOLOAD`: rows or ends of texts would be left out",
        lambda value: bool(re.search("MAXERROR|TRUNCATECOLUMNS|NOLOAD", " ".join(value), re.IGNORECASE)),
    ),
    "sqlalchemy.create_primary_keys": Refused("true: MySQL makes no keys of long texts", bool),
}
"""Refused settings of single destinations, such as `DESTINATION__BIGQUERY__AUTODETECT_SCHEMA`."""

# dlt's default numbers of workers.
_WORKERS = {
    "load.workers": 20,
    "normalize.workers": 1,
    "extract.workers": 5,
    "extract.max_parallel_items": 20,
}
_WRITERS = ("normalize.data_writer", "extract.data_writer", "sources.letta.data_writer", "data_writer")


def assert_dlt_settings(pipeline_name: str, client: Any) -> None:
    """Refuse unsafe settings, and values that dlt would refuse only after everything is read.

    Raises:
        ConfigError: a setting is refused; names it, and what it would do.
    """
    for key, hint in settings_of_steps().items():
        section, _, name = key.partition(".")
        for place in _WRITERS if section == "data_writer" else (section,):
            _assert(f"{place}.{name}", _configured(pipeline_name, f"{place}.{name}"), hint, REFUSED.get(key))
    kind = client.config.destination_type
    for key, rule in REFUSED_OF_DESTINATION.items():
        of, _, name = key.partition(".")
        if of == kind:
            _assert(f"destination.{key}", getattr(client.config, name, None), Any, rule)
    _assert_layout(getattr(client.config, "layout", None))


def _assert(key: str, configured: Any, hint: Any, rule: Refused | None) -> None:
    if configured is None:
        return
    if not is_of_type(key, configured, hint):
        raise ConfigError(f"{key} = {configured!r}, a setting of dlt, must be {type_for_people(hint)}")
    if rule and rule.is_unsafe(configured):
        raise ConfigError(
            f"{key} = {configured!r}, a setting of dlt, is {rule.when.replace('`', '')}; leave it out"
        )


def _assert_layout(layout: str | None) -> None:
    """Check a layout of files: names must differ for each load, each table and each file of a table."""
    if layout is None:
        return
    for part, why in (
        ("{table_name}", "to tell the tables apart"),
        ("{load_id}", "to tell those of a load that never finished"),
        ("{file_id}", "as a load may write several of one table"),
    ):
        if part not in layout:
            raise ConfigError(f"the layout of the files must hold {part}: {why}")
    # dlt lists a table's files by their prefix: agent_messages would match agent_messages__content, too.
    if re.search(r"\{table_name\}($|[A-Za-z0-9_{])", layout):
        raise ConfigError(
            f"the layout {layout!r}: {{table_name}} must be followed by a separator such as / or a dot, or"
            " tables whose names begin alike are mixed up"
        )


def _configured(pipeline_name: str, key: str) -> Any:
    """Return a setting from its own section of dlt's configuration, for this pipeline or for all.

    dlt would take the name without its section, too, such as another program's WORKERS.
    """
    for name in (f"{pipeline_name}.{key}", key):
        configured: Any = dlt.config.get(name)
        if configured is not None:
            return configured
    return None


@contextmanager
def ours(pipeline_name: str, shards: int = 1) -> Iterator[None]:
    """Apply `OURS` while the block runs, as the environment variables that dlt reads before all others.

    Args:
        shards: how many load in parallel; their jobs share the number of connections that dlt gives to one.
    """
    forced = {}
    for key, (value, why) in OURS.items():
        configured = _configured(pipeline_name, key)
        if configured is not None and str(configured).lower() != str(value).lower():
            logger.warning("%s = %s, a setting of dlt, is ignored: %s", key, configured, why)
        forced[_variable(pipeline_name, key)] = str(value).lower()
    for key, default in _WORKERS.items():
        share = max(1, default // shards) if key == "load.workers" else default
        forced[_variable(pipeline_name, key)] = str(_configured(pipeline_name, key) or share)
    with environment(forced):
        yield


def _variable(pipeline_name: str, key: str) -> str:
    return "__".join((pipeline_name, *key.split("."))).upper()
