"""One load from the command line: everything is checked before any row moves."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable
from dlt.extract import DltSource

from letta_source.cli.progress import Progress
from letta_source.destinations.capabilities import Traits, limits_of, traits_of_pipeline
from letta_source.destinations.duckdb import appendable, sparing, take_back
from letta_source.destinations.filesystem import drop_unfinished
from letta_source.destinations.iceberg import add_columns
from letta_source.errors import ConfigError, LettaError
from letta_source.loading.preflight import check_reachable
from letta_source.loading.recovery import drop_empty, forget_half_written, forget_loaded, mend_after_kill
from letta_source.loading.shard_state import adopt, is_superseded, stored_states
from letta_source.loading.target import Target, assert_known, make_tables, root, said
from letta_source.safe_text import cleaned
from letta_source.schema.tables import RESOURCES, all_tables
from letta_source.shards import Shard
from letta_source.source import letta
from letta_source.state.session import Session

logger = logging.getLogger("letta_source")

# Resources that another working folder loaded: until each was read to its end, a load that was killed there
# may have left some tables merged, and others not.
_TO_TAKE_OVER = "letta_source_to_take_over"
# At once, in dlt.
_MOST_JOBS = 20


@dataclass(frozen=True)
class Load:
    """What to load, and where to.

    Attributes:
        settings: arguments of `letta_source.letta`; None is not given.
        resources: names; empty for all that are not on request only.
        destination_name: what dlt's config and a DuckDB file are called, if not as the type and the pipeline.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Sequence[str] = ()
    destination: str = "duckdb"
    dataset_name: str = "letta"
    pipeline_name: str = "letta"
    destination_name: str | None = None


@dataclass(frozen=True)
class Loaded:
    """What came of it; `new` is rows added by table, where the destination can count them."""

    pipeline: dlt.Pipeline
    session: Session
    new: Mapping[str, int]


def load(what: Load, session: Session | None = None) -> Loaded:
    """Checks everything, finishes what an earlier load left behind, then loads.

    A long load is cut into load packages of some `checkpoint_rows` rows: each is loaded, and with it the
    cursors, before the next is read.

    Args:
        session: shows the counts meanwhile; for those who watch.

    Raises:
        ConfigError: and other LettaErrors, before anything was touched.
        LoadFailed: the load began and failed; the next one goes on from the last package that was loaded.
    """
    session = session or Session()
    # dlt takes None for a value, and its config would not be asked.
    given = {name: value for name, value in what.settings.items() if value is not None}
    source = letta(**given, session=session)
    if what.resources:
        assert_known("resource", what.resources, list(RESOURCES))
        source = source.with_resources(*what.resources)
    selected = list(source.selected_resources)
    _check_selection(selected, session)
    shard = session.settings.shard
    target = Target(
        what.pipeline_name, what.destination, what.dataset_name, what.destination_name, shard
    ).resolved()
    cleaned_before = cleaned()
    with Progress(session, what.destination), closing(session):
        check_reachable(session.settings)
        target.check(session.settings.table_format)
        try:
            with target.held():
                pipeline, before, after = _loaded(what, target, source, session)
        except LettaError:
            raise
        except Exception as error:  # Drivers have exceptions of their own.
            if isinstance(root(error), KeyboardInterrupt):
                # dlt says it as a failed step.
                raise KeyboardInterrupt from error
            raise LoadFailed(said(error)) from error
    if replaced := cleaned() - cleaned_before:
        logger.warning("%s texts held NUL or half a character: there is U+FFFD in its place", f"{replaced:,}")
    new = {table: rows - before.get(table, 0) for table, rows in after.items()}
    loaded = Loaded(pipeline, session, new)
    if why := _why_failed(session):
        raise LoadFailed(why, loaded)
    return loaded


class LoadFailed(LettaError):
    """The load began and failed.

    Attributes:
        loaded: what came of it nevertheless, if all that was read was loaded.
    """

    def __init__(self, why: str, loaded: Loaded | None = None) -> None:
        super().__init__(why)
        self.loaded = loaded


def _loaded(
    what: Load, target: Target, source: DltSource, session: Session
) -> tuple[dlt.Pipeline, dict[str, int], dict[str, int]]:
    """The pipeline, and the rows by table before and after."""
    pipeline = target.pipeline()
    if forget_half_written(pipeline):
        pipeline = target.pipeline()
    traits = traits_of_pipeline(pipeline, session.settings)
    if limits := limits_of(traits, session.settings):
        logger.info("%s %s", what.destination, limits)
    mend_after_kill(pipeline)
    take_back(pipeline)
    shard = session.settings.shard
    others, seen = stored_states(pipeline, what.pipeline_name, shard)
    if pipeline.has_pending_data and is_superseded(pipeline, shard, others):
        logger.info("an earlier load was left unfinished, and others have gone on since: dropping it")
        # With its state: what no other has taken over is read again.
        pipeline.drop()
        pipeline = target.pipeline()
        others, seen = stored_states(pipeline, what.pipeline_name, shard)
    if pipeline.has_pending_data:
        logger.info("an earlier load was left unfinished: finishing it first")
        # Not by `run`, which drops what is left of a first load: its dataset is not there yet.
        pipeline.normalize()
        _prepare(pipeline, session, traits)
        pipeline.load(workers=_workers(shard))
    if pipeline.config.restore_from_destination:
        pipeline.sync_destination()
    adopt(pipeline, shard, others, seen)
    # Of several shards each would count the rows of all.
    counted = source.selected_resources if shard.is_whole else ()
    before = _row_counts(pipeline, counted)
    _load_packages(pipeline, source, session, traits)
    return pipeline, before, _row_counts(pipeline, counted)


def _prepare(pipeline: dlt.Pipeline, session: Session, traits: Traits) -> None:
    """What dlt itself would stumble over before it loads."""
    if not traits.takes_empty:
        drop_empty(pipeline)
    if traits.hints.get("table_format") == "iceberg":
        add_columns(pipeline)
    if not (traits.takes_empty and session.settings.shard.is_whole):
        make_tables(pipeline, session.settings.shard)


def _workers(shard: Shard) -> int:
    """Jobs at once, each with a connection: of all shards together as many as dlt has of one."""
    return dlt.config.get("load.workers", int) or max(1, _MOST_JOBS // shard.count)


def _load_packages(pipeline: dlt.Pipeline, source: DltSource, session: Session, traits: Traits) -> None:
    session.packages.max_rows = session.settings.checkpoint_rows
    local: Mapping[str, Any] = pipeline.state["_local"]
    to_take_over = local.get(_TO_TAKE_OVER)
    if to_take_over is None:
        if traits.writes == "append" and session.settings.shard.is_whole:
            drop_unfinished(pipeline)
        to_take_over = list(RESOURCES) if _was_loaded_into(pipeline) else []
        pipeline.set_local_state_val(_TO_TAKE_OVER, to_take_over)
    session.before.empty = appendable(pipeline, source.selected_resources)
    session.before.from_elsewhere = not set(source.selected_resources).isdisjoint(to_take_over)
    while True:
        pipeline.extract(source)
        session.written.is_writing = True
        pipeline.normalize()
        # What reading took goes back before the destination takes its own.
        pa.default_memory_pool().release_unused()
        _prepare(pipeline, session, traits)
        try:
            with sparing(pipeline) if session.before.empty else nullcontext():
                pipeline.load(workers=_workers(session.settings.shard))
        except Exception:
            if not (session.before.empty and pipeline.has_pending_data):
                raise
            # Messages of many MB need more memory than that.
            take_back(pipeline)
            pipeline.load(workers=_workers(session.settings.shard))
        session.written.is_writing = False
        session.written.items = sum(counts.items for counts in session.counts.values())
        forget_loaded(pipeline)
        if not session.packages.has_more:
            break
        logger.info("%s items are loaded, and where to go on from here is kept", f"{session.written.items:,}")
    if not session.packages.fatal:
        rest = [name for name in to_take_over if name not in source.selected_resources]
        if rest != to_take_over:
            pipeline.set_local_state_val(_TO_TAKE_OVER, rest)


def _was_loaded_into(pipeline: dlt.Pipeline) -> bool:
    """Whether state came back from the destination, or rows without one are there."""
    tables = [table.name for table in all_tables()]
    return bool(pipeline.state.get("sources")) or any(_row_counts(pipeline, tables).values())


def _why_failed(session: Session) -> str | None:
    if session.packages.fatal:
        return session.packages.fatal
    for name, counts in session.counts.items():
        if counts.failed * 2 > counts.parents:
            return f"{name}: {counts.failed:,} of {counts.parents:,} could not be read: see load_issues"
    return None


def _check_selection(selected: Iterable[str], session: Session) -> None:
    if "message_search" in selected and not session.settings.search_query:
        raise ConfigError("message_search needs a query: --search-query TEXT")
    if "messages" in selected and session.settings.agent_ids:
        raise ConfigError(
            "messages cannot be limited to agents, the API does not say whose they are: use agent_messages"
        )


def _row_counts(pipeline: dlt.Pipeline, tables: Iterable[str]) -> dict[str, int]:
    """Rows by table; empty where the destination speaks no SQL, or would have to read all its files."""
    counts: dict[str, int] = {}
    assert pipeline.destination is not None
    if pipeline.destination.destination_type == "dlt.destinations.filesystem":
        return counts
    try:
        with pipeline.sql_client() as client:
            for table in tables:
                with suppress(DestinationUndefinedEntity):
                    name = client.make_qualified_table_name(table)
                    rows = client.execute_sql(f"SELECT count(*) FROM {name}")
                    counts[table] = int(rows[0][0]) if rows else 0
    except SqlClientNotAvailable:
        return {}
    return counts
