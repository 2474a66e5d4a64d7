"""dlt's resources, one for each of `letta_source.tables.RESOURCES`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.common.storages.load_package import load_package_state
from dlt.extract import DltResource

from letta_source.arrow import empty
from letta_source.errors import FatalError
from letta_source.extract import Extraction, extract
from letta_source.reading import Reading
from letta_source.session import Session
from letta_source.tables import LOAD_ISSUES, Resource


def make_resource(resource: Resource, session: Session) -> DltResource:
    """The dlt resource that loads `resource`, its children and its issues."""

    def read() -> Iterator[Any]:
        with session.turn(resource.name) as has_come:
            while not has_come():
                yield None
            session.enter(_load_id())
            if session.fatal or resource.name in session.done:
                return
            if session.is_full:
                session.has_more = True
                return
            yield from _read(resource, session)

    made: DltResource = dlt.resource(read, name=resource.name, selected=not resource.on_request)
    for table in (*resource.tables, LOAD_ISSUES):
        # Variants inherit the root's keys: each gets its own.
        made.apply_hints(
            table_name=table.name,
            columns=table.dlt_columns,
            primary_key=table.primary_key,
            merge_key=table.merge_key,
            write_disposition="merge",
            create_table_variant=True,
        )
    return made


def _read(resource: Resource, session: Session) -> Iterator[Any]:
    logging.getLogger("dlt").addFilter(_no_json_hint_warnings)
    state = dlt.current.resource_state()
    extraction, reading = session.paused.pop(resource.name, None) or _begun(resource, session, state)
    reading.bind(state)
    try:
        for tables in extraction:
            for name, table in tables:
                yield dlt.mark.with_table_name(table, name)
                session.rows += table.num_rows
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
    for table in (*resource.tables, LOAD_ISSUES):
        if table.name not in known:
            yield dlt.mark.with_table_name(empty(table), table.name)


def _begun(resource: Resource, session: Session, state: dict[str, Any]) -> tuple[Extraction, Reading]:
    # Without delete-insert a tombstone would be loaded as a row.
    strategies = Container()[DestinationCapabilitiesContext].supported_merge_strategies or ()
    reading = Reading(session, state)
    counts = session.begin(resource.name)
    return extract(resource, reading, counts, tombstones="delete-insert" in strategies), reading


def _load_id() -> str:
    """Of the load package that is being extracted; empty where a resource is iterated without a pipeline."""
    try:
        return load_package_state()["load_id"]
    except CurrentLoadPackageStateNotAvailable:
        return ""


def _no_json_hint_warnings(record: logging.LogRecord) -> bool:
    """Drops dlt's warning, on every yield, that a json column comes as Arrow text, as Arrow has no json."""
    return "when merging arrow schema with dlt schema" not in record.getMessage()
