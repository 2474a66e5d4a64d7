"""The dlt resources, one for each of `letta_source.schema.resources.RESOURCES`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import dlt
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineNotActive

from letta_source.destinations.capabilities import (
    Capabilities,
    assert_safe_for_shards,
    capabilities_of,
    fitted,
)
from letta_source.destinations.dlt_internals import is_column_hint_warning
from letta_source.destinations.existing_rows import loaded_ids
from letta_source.errors import FatalError
from letta_source.extract.collect import Extraction, extract
from letta_source.rows.arrow import empty
from letta_source.schema.card import Resource
from letta_source.schema.tables import LOAD_ISSUES, Table
from letta_source.settings import Settings
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session


def current_capabilities(settings: Settings) -> Capabilities:
    """Return the capabilities of the active pipeline's destination; without one, all but tombstones."""
    try:
        return capabilities_of(dlt.current.pipeline(), settings)
    except PipelineNotActive:
        return Capabilities("upsert")


def make_resource(
    resource: Resource, session: Session, find: Callable[[Settings], Capabilities] = current_capabilities
) -> DltResource:
    """Return the dlt resource that loads `resource`, its children and its issues.

    Args:
        find: takes the settings, returns the destination's capabilities; called when reading begins.
    """

    def read() -> Iterator[Any]:
        with session.queued(resource.name) as is_first:
            while not is_first():
                yield None
            session.enter(_load_id())
            if not _is_due(resource, session):
                return
            if session.packages.is_full:
                session.packages.has_more = True
                return
            yield from _Read(resource, session, find(session.settings)).tables()

    made: DltResource = dlt.resource(read, name=resource.name, selected=not resource.on_request)
    for table in (*resource.tables, LOAD_ISSUES):
        made.apply_hints(**_hints(table, Capabilities()), create_table_variant=True)
    return made


def _is_due(resource: Resource, session: Session) -> bool:
    """Return True if this shard reads the resource, and has not done so yet."""
    if session.packages.fatal or resource.name in session.packages.read:
        return False
    shard = session.settings.shard
    if not shard.is_whole:
        assert_safe_for_shards(session.settings)
    return resource.divided or not shard.index


def _hints(table: Table, capabilities: Capabilities) -> dict[str, Any]:
    replaces = capabilities.writes == "replace"
    write_disposition: Any = "append" if capabilities.writes == "append" else "merge"
    if capabilities.writes == "upsert":
        write_disposition = {"disposition": "merge", "strategy": "upsert"}
    return {
        "table_name": table.name,
        "columns": table.dlt_columns(capabilities.json_is_text, hard_delete=replaces),
        # Variants inherit the root table's keys, so each needs its own.
        "primary_key": table.primary_key,
        "merge_key": table.merge_key if replaces else (),
        "write_disposition": write_disposition,
        **capabilities.hints,
    }


class _Hinting:
    """Callable that passes the destination's hints to dlt with the first rows of each table."""

    def __init__(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        self._hinted: set[str] = set()

    def __call__(self, rows: Any, table: Table) -> Any:
        if table.name in self._hinted:
            return dlt.mark.with_table_name(rows, table.name)
        self._hinted.add(table.name)
        hints = dlt.mark.make_hints(**_hints(table, self._capabilities))
        return dlt.mark.with_hints(rows, hints, create_table_variant=True)


class _Handover:
    """Marker of rows for dlt: appended while the tables are empty and no row repeats, else merged."""

    def __init__(self, resource: Resource, session: Session, capabilities: Capabilities) -> None:
        self._resource = resource
        self._session = session
        self._capabilities = capabilities
        self._merging = _Hinting(capabilities)
        self._appending = _Hinting(replace(capabilities, writes="append"))
        self._appends = resource.name in session.before.empty

    def rows(self, rows: Any, table: Table) -> Any:
        hinting = self._appending if self._appends and table is not LOAD_ISSUES else self._merging
        if longest := self._capabilities.longest_text:
            rows = fitted(rows, table, longest)
        return hinting(rows, table)

    def switch(self) -> Iterator[Any]:
        """Have dlt also merge the rows handed over before, once a row has come again."""
        if self._appends and self._resource.name not in self._session.before.empty:
            self._appends = False
            for table in self._resource.tables:
                yield self.rows(empty(table), table)


class _Read:
    """The reading of one resource within one load package, begun or resumed."""

    def __init__(self, resource: Resource, session: Session, capabilities: Capabilities) -> None:
        logging.getLogger("dlt").addFilter(_no_json_hint_warnings)
        self._resource = resource
        self._session = session
        self._capabilities = capabilities
        self._tables = {table.name: table for table in (*resource.tables, LOAD_ISSUES)}
        self._handover = _Handover(resource, session, capabilities)
        self._extraction, self._state = self._resumed_or_begun()

    def tables(self) -> Iterator[Any]:
        """Yield marked rows until the resource is read or the load package is full."""
        packages, name = self._session.packages, self._resource.name
        try:
            yield from self._extracted()
        except FatalError as error:
            if packages.max_rows is None:
                raise
            # A caller that sets `max_rows` loads what was read, then checks `fatal`.
            packages.fatal = str(error)
            return
        finally:
            if name not in packages.paused:
                self._extraction.close()
        if name in packages.paused:
            return
        packages.read.add(name)
        if not self._session.counts[name].skipped:
            yield from self._incomplete_tables()

    def _resumed_or_begun(self) -> tuple[Extraction, ResourceState]:
        stored = dlt.current.resource_state()
        if paused := self._session.packages.paused.pop(self._resource.name, None):
            paused[1].bind(stored)
            return paused
        state = ResourceState(self._session, stored, adds_only=self._capabilities.writes == "append")
        counts = self._session.begin(self._resource.name)
        loaded = loaded_ids(self._resource, state) if self._capabilities.writes == "append" else None
        # Without delete-insert a tombstone would be loaded as a row.
        tombstones = self._capabilities.writes == "replace"
        return extract(self._resource, state, counts, tombstones, loaded), state

    def _extracted(self) -> Iterator[Any]:
        packages = self._session.packages
        for tables in self._extraction:
            yield from self._handover.switch()
            for name, rows in tables:
                yield self._handover.rows(rows, self._tables[name])
                packages.count(rows.num_rows, rows.nbytes)
                self._session.counts[self._resource.name].rows += rows.num_rows
            self._state.commit()
            if packages.is_full:
                packages.paused[self._resource.name] = self._extraction, self._state
                packages.has_more = True
                return

    def _incomplete_tables(self) -> Iterator[Any]:
        """Yield empty tables for those with columns unknown to dlt."""
        # If empty tables fail, a caller that sets `max_rows` creates the tables.
        if not self._capabilities.takes_empty and self._session.packages.max_rows is None:
            return
        known = dlt.current.source_schema().tables
        for table in self._tables.values():
            held = known.get(table.name, {}).get("columns", {})
            if any(column.name not in held for column in table.columns):
                yield self._handover.rows(empty(table), table)


def _load_id() -> str:
    """Return the id of the load package being extracted; empty without a pipeline."""
    try:
        return dlt.current.load_package_state()["load_id"]
    except CurrentLoadPackageStateNotAvailable:
        return ""


def _no_json_hint_warnings(record: logging.LogRecord) -> bool:
    """Drop dlt's warning, on every yield, that json columns come as text: Arrow has no json type."""
    return not is_column_hint_warning(record)
