"""dlt's settings under which a load would lose rows, double them or never end: set by us, or refused.

docs/configure.md lists them; `tests/loading/test_dlt_rules.py` holds that it does.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dlt

from letta_source.errors import ConfigError

logger = logging.getLogger(__name__)

OURS: Mapping[str, tuple[bool, str]] = {
    "load.raise_on_failed_jobs": (True, "rows that the destination refused would be left out"),
    "load.auto_abort_on_terminal_error": (False, "cursors of packages that are thrown away would be kept"),
    "normalize.json_normalizer.add_dlt_id": (True, "dlt's own tables need it"),
    "normalize.json_normalizer.add_dlt_load_id": (True, "dlt's own tables need it"),
    "normalize.parquet_normalizer.add_dlt_id": (False, "rows have keys of their own"),
    "normalize.parquet_normalizer.add_dlt_load_id": (False, "rows have it already"),
}
"""Settings of dlt that a load sets, whatever is configured, and what would go wrong otherwise."""

# Numbers of 1 or more, and dlt's defaults.
_WORKERS = {
    "load.workers": 20,
    "normalize.workers": 1,
    "extract.workers": 5,
    "extract.max_parallel_items": 20,
}
_RETRIES = ("load.raise_on_max_retries",)
_SWITCHES = (
    "load.delete_completed_jobs",
    "load.truncate_staging_dataset",
    "load.start_new_jobs_on_signal",
)
# As dlt reads them.
_TRUE_OR_FALSE = ("yes", "true", "t", "y", "1", "no", "false", "f", "n", "0")
_STRATEGIES = ("parallel", "table-sequential", "sequential")
_NUMBERS_OF_WRITERS = ("buffer_max_items", "file_max_items", "file_max_bytes")
_WRITERS = ("normalize.data_writer", "extract.data_writer", "sources.letta.data_writer", "data_writer")
_Rules = Mapping[str, tuple[Callable[[Any], bool], str]]
_UNSAFE_WRITING: _Rules = {
    "coerce_timestamps": (lambda said: said not in ("us", "ns"), "times would lose their microseconds"),
    "timestamp_timezone": (lambda said: said != "UTC", "times would be moved"),
}
_UNSAFE_DESTINATION: _Rules = {
    "autodetect_schema": (lambda said: bool(said), "the tables would have types of BigQuery's making"),
    "insert_api": (lambda said: said == "zerobus", "rows could not be merged"),
}


def assert_dlt_settings(pipeline_name: str, client: Any) -> None:
    """Refuse settings that cannot be overridden.

    Raises:
        ConfigError: names the setting, and what it would do.
    """
    for key in (*_WORKERS, *_RETRIES):
        _number(pipeline_name, key)
    for key in _SWITCHES:
        _assert_switch(pipeline_name, key)
    strategy = _configured(pipeline_name, "load.parallelism_strategy")
    if strategy is not None and strategy not in _STRATEGIES:
        known = ", ".join(_STRATEGIES)
        raise ConfigError(f"load.parallelism_strategy = {strategy!r}, a setting of dlt, is none of {known}")
    for section in _WRITERS:
        for name in _NUMBERS_OF_WRITERS:
            _number(pipeline_name, f"{section}.{name}")
        _assert_switch(pipeline_name, f"{section}.disable_compression")
        for name, (is_unsafe, why) in _UNSAFE_WRITING.items():
            said = _configured(pipeline_name, f"{section}.{name}")
            if said is not None and is_unsafe(said):
                raise ConfigError(f"{section}.{name} = {said!r}, a setting of dlt: {why}; leave it out")
    for name, (is_unsafe, why) in _UNSAFE_DESTINATION.items():
        said = getattr(client.config, name, None)
        if said is not None and is_unsafe(said):
            raise ConfigError(f"{name} = {said!r}, a setting of the destination: {why}; leave it out")
    _assert_layout(getattr(client.config, "layout", None))


def _assert_layout(layout: str | None) -> None:
    """Check a layout of files: of each load, table and file of a table the name must be another."""
    if layout is None:
        return
    for part, why in (
        ("{table_name}", "to tell the tables apart"),
        ("{load_id}", "to tell those of a load that never finished"),
        ("{file_id}", "as a load may write several of one table"),
    ):
        if part not in layout:
            raise ConfigError(f"the layout of the files must hold {part}: {why}")
    # Of one table dlt lists what begins as its files do: agent_messages would be agent_messages__content too.
    if re.search(r"\{table_name\}($|[A-Za-z0-9_{])", layout):
        raise ConfigError(
            f"the layout {layout!r}: {{table_name}} must be followed by a separator such as / or a dot, or"
            " tables whose names begin alike are mixed up"
        )


def _number(pipeline_name: str, key: str) -> int | None:
    said = _configured(pipeline_name, key)
    if said is None:
        return None
    try:
        number = int(said)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise ConfigError(f"{key} = {said!r}, a setting of dlt, must be a number of 1 or more")
    return number


def _assert_switch(pipeline_name: str, key: str) -> None:
    said = _configured(pipeline_name, key)
    if said is not None and str(said).lower() not in _TRUE_OR_FALSE:
        raise ConfigError(f"{key} = {said!r}, a setting of dlt, must be true or false")


def _configured(pipeline_name: str, key: str) -> Any:
    """Return what dlt's configuration says in the setting's own section, for this pipeline or for all.

    dlt would take the name without its section, too: WORKERS of another program.
    """
    for name in (f"{pipeline_name}.{key}", key):
        said: Any = dlt.config.get(name)
        if said is not None:
            return said
    return None


@contextmanager
def ours(pipeline_name: str, shards: int = 1) -> Iterator[None]:
    """Apply `OURS` while the block runs: as the environment variables that dlt looks at before all others.

    Args:
        shards: that load side by side; each job has a connection, of all together as many as dlt has of one.
    """
    forced = {}
    for key, (value, why) in OURS.items():
        said = _configured(pipeline_name, key)
        if said is not None and str(said).lower() != str(value).lower():
            logger.warning("%s = %s, a setting of dlt, is not taken: %s", key, said, why)
        forced[_variable(pipeline_name, key)] = str(value).lower()
    for key, default in _WORKERS.items():
        share = max(1, default // shards) if key == "load.workers" else default
        forced[_variable(pipeline_name, key)] = str(_number(pipeline_name, key) or share)
    before = {name: os.environ[name] for name in forced if name in os.environ}
    os.environ.update(forced)
    try:
        yield
    finally:
        for name in forced:
            del os.environ[name]
        os.environ.update(before)


def _variable(pipeline_name: str, key: str) -> str:
    return "__".join((pipeline_name, *key.split("."))).upper()
