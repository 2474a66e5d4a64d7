"""dlt's resources, one for each of `letta_source.schema.tables.RESOURCES`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dlt
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.common.storages.load_package import load_package_state
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineNotActive

from letta_source.destinations.capabilities import Traits, assert_own_staging, fitted, traits_of_pipeline
from letta_source.destinations.existing_rows import loaded_ids
from letta_source.errors import FatalError
from letta_source.extract.collect import Extraction, extract
from letta_source.rows.arrow import empty
from letta_source.schema.tables import LOAD_ISSUES, Resource, Table
from letta_source.state.resource_state import Reading
from letta_source.state.session import Session


def make_resource(resource: Resource, session: Session) -> DltResource:
    """The dlt resource that loads `resource`, its children and its issues."""

    def read() -> Iterator[Any]:
        with session.turn(resource.name) as has_come:
            while not has_come():
                yield None
            session.enter(_load_id())
            if session.fatal or resource.name in session.done:
                return
            if not session.settings.shard.is_whole:
                assert_own_staging()
            if not resource.divided and session.settings.shard.index:
                return
            if session.is_full:
                session.has_more = True
                return
            yield from _read(resource, session)

    made: DltResource = dlt.resource(read, name=resource.name, selected=not resource.on_request)
    for table in (*resource.tables, LOAD_ISSUES):
        made.apply_hints(**_hints(table, Traits()), create_table_variant=True)
    return made


def _hints(table: Table, traits: Traits) -> dict[str, Any]:
    replaces = traits.writes == "replace"
    write_disposition: Any = "append" if traits.writes == "append" else "merge"
    if traits.writes == "upsert":
        write_disposition = {"disposition": "merge", "strategy": "upsert"}
    return {
        "table_name": table.name,
        "columns": table.dlt_columns(traits.json_is_text, hard_delete=replaces),
        # Variants inherit the root's keys: each gets its own.
        "primary_key": table.primary_key,
        "merge_key": table.merge_key if replaces else (),
        "write_disposition": write_disposition,
        **traits.hints,
    }


class _Hinting:
    """Says, with the first rows of each table, what the destination has to know of it."""

    def __init__(self, traits: Traits) -> None:
        self._traits = traits
        self._said: set[str] = set()

    def __call__(self, rows: Any, table: Table) -> Any:
        if table.name in self._said:
            return dlt.mark.with_table_name(rows, table.name)
        self._said.add(table.name)
        hints = dlt.mark.make_hints(**_hints(table, self._traits))
        return dlt.mark.with_hints(rows, hints, create_table_variant=True)


def _read(resource: Resource, session: Session) -> Iterator[Any]:
    logging.getLogger("dlt").addFilter(_no_json_hint_warnings)
    traits = _traits(session)
    state = dlt.current.resource_state()
    extraction, reading = session.paused.pop(resource.name, None) or _begun(resource, session, state, traits)
    reading.bind(state)
    merging, appending = _Hinting(traits), _Hinting(replace(traits, writes="append"))
    by_name = {table.name: table for table in (*resource.tables, LOAD_ISSUES)}
    appends = resource.name in session.appends

    def handed(rows: Any, table: Table) -> Any:
        return (appending if appends and table is not LOAD_ISSUES else merging)(rows, table)

    try:
        for tables in extraction:
            if appends and resource.name not in session.appends:
                # What was handed over is to be merged, too.
                appends = False
                for table in resource.tables:
                    yield handed(empty(table), table)
            for name, rows in tables:
                table = by_name[name]
                yield handed(fitted(rows, table, traits), table)
                session.rows += rows.num_rows
            reading.commit()
            if session.is_full:
                session.paused[resource.name] = extraction, reading
                session.has_more = True
                return
    except FatalError as error:
        if session.checkpoint_rows is None:
            raise
        session.fatal = str(error)
        return
    finally:
        if resource.name not in session.paused:
            extraction.close()
    session.done.add(resource.name)
    if session.counts[resource.name].skipped:
        return
    known = dlt.current.source_schema().tables
    # Where that fails, whoever sets `checkpoint_rows` makes the tables.
    if traits.takes_empty or session.checkpoint_rows is not None:
        for table in by_name.values():
            held = known.get(table.name, {}).get("columns", {})
            if any(column.name not in held for column in table.columns):
                yield handed(empty(table), table)


def _traits(session: Session) -> Traits:
    try:
        return traits_of_pipeline(dlt.current.pipeline(), session.settings)
    except PipelineNotActive:
        # Iterated without one: all there is, and no tombstones.
        return Traits("upsert")


def _begun(
    resource: Resource, session: Session, state: dict[str, Any], traits: Traits
) -> tuple[Extraction, Reading]:
    reading = Reading(session, state)
    counts = session.begin(resource.name)
    loaded = loaded_ids(resource, reading) if traits.writes == "append" else None
    # Without delete-insert a tombstone would be loaded as a row.
    return extract(resource, reading, counts, traits.writes == "replace", loaded), reading


def _load_id() -> str:
    """Of the load package that is being extracted; empty where a resource is iterated without a pipeline."""
    try:
        return load_package_state()["load_id"]
    except CurrentLoadPackageStateNotAvailable:
        return ""


def _no_json_hint_warnings(record: logging.LogRecord) -> bool:
    """Drops dlt's warning, on every yield, that a json column comes as Arrow text, as Arrow has no json."""
    return "when merging arrow schema with dlt schema" not in record.getMessage()
