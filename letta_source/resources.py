"""dlt's resources, one for each of `letta_source.tables.RESOURCES`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Literal

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
from letta_source.tables import LOAD_ISSUES, Resource, Table


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
        made.apply_hints(**_hints(table, "merge"), create_table_variant=True)
    return made


def _hints(table: Table, write_disposition: Literal["append", "merge"]) -> dict[str, Any]:
    return {
        "table_name": table.name,
        "columns": table.dlt_columns,
        # Variants inherit the root's keys: each gets its own.
        "primary_key": table.primary_key,
        "merge_key": table.merge_key,
        "write_disposition": write_disposition,
    }


def _hinted(rows: Any, table: Table, write_disposition: Literal["append", "merge"]) -> Any:
    hints = dlt.mark.make_hints(**_hints(table, write_disposition))
    return dlt.mark.with_hints(rows, hints, create_table_variant=True)


def _read(resource: Resource, session: Session) -> Iterator[Any]:
    logging.getLogger("dlt").addFilter(_no_json_hint_warnings)
    state = dlt.current.resource_state()
    extraction, reading = session.paused.pop(resource.name, None) or _begun(resource, session, state)
    reading.bind(state)
    appends = resource.name in session.appends
    by_name = {table.name: table for table in resource.tables}
    try:
        for tables in extraction:
            if appends and resource.name not in session.appends:
                # What was handed over is to be merged, too.
                appends = False
                for table in resource.tables:
                    yield _hinted(empty(table), table, "merge")
            for name, rows in tables:
                if appends and name in by_name:
                    yield _hinted(rows, by_name[name], "append")
                else:
                    yield dlt.mark.with_table_name(rows, name)
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
    for table in (*resource.tables, LOAD_ISSUES):
        if table.name not in known:
            yield _hinted(empty(table), table, "append" if appends else "merge")


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
