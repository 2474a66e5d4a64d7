"""Run one load; everything is checked before any row moves."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from dlt.common.exceptions import DltException
from dlt.extract import DltSource

from letta_source.api.memory_budget import MemoryBudget
from letta_source.api.redact import keep_our_frames
from letta_source.api.server import Server
from letta_source.destinations.capabilities import limits_of
from letta_source.destinations.dataset_names import assert_pipeline_name
from letta_source.destinations.dlt_internals import sections_only
from letta_source.destinations.duckdb_files import in_use
from letta_source.destinations.existing_rows import row_counts
from letta_source.destinations.lease import Lease
from letta_source.errors import ConfigError, LettaError
from letta_source.loading.dlt_settings import dlt_settings
from letta_source.loading.earlier_masks import warn_of_kept_rows
from letta_source.loading.error_text import assert_known, one_line, root
from letta_source.loading.load_log import refusal_logged, run_logged
from letta_source.loading.lock import only_writer, pipeline_lock
from letta_source.loading.outcome import Loaded, LoadFailed, why_failed
from letta_source.loading.preflight import assert_same_server, check_reachable
from letta_source.loading.target import Target
from letta_source.loading.workspace import Workspace
from letta_source.plan.filters import assert_effective, assert_loadable
from letta_source.safe_text import cleaned
from letta_source.schema.resources import RESOURCES
from letta_source.settings import SETTINGS, Settings
from letta_source.settings.given import Given
from letta_source.settings.places import providers
from letta_source.source import letta
from letta_source.state.session import Session

logger = logging.getLogger(__name__)

Observer = Callable[[Session, str], AbstractContextManager[Any]]
"""Watches a load while the block runs; takes the session and the destination's name."""


@dataclass(frozen=True)
class Load:
    """A load: resources and settings, destination and dataset.

    Attributes:
        settings: arguments of `letta_source.letta`; None means not given.
        resources: names, or a text with commas between them; empty for all that are loaded by default.
        destination_name: names dlt's config section and a DuckDB file, in place of type and pipeline name.
        database: DuckDB's file; by default the configured one, else `letta_db.duckdb` in this folder, `letta`
            being the pipeline's name.
        steal_lock: take the pipeline's lease in the destination even from a running load.
        wait: seconds to wait while another process uses the DuckDB file or runs the pipeline.

    Raises:
        ConfigError: an argument is of the wrong type, or a setting or a resource is unknown.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Iterable[str] | str = ()
    destination: str = "duckdb"
    dataset_name: str = "letta"
    pipeline_name: str = "letta"
    destination_name: str | None = None
    database: str | os.PathLike[str] | None = None
    steal_lock: bool = False
    wait: float = 0.0

    def __post_init__(self) -> None:
        given, names = self.settings, self.resources or ()
        if isinstance(names, str):
            names = [name.strip() for name in names.split(",")]
        if not (isinstance(given, Mapping) and isinstance(names, Iterable)):
            raise ConfigError('a Load takes settings and resources, as in Load({"lag": "1h"}, ["agents"])')
        if not (isinstance(self.wait, (int, float)) and self.wait >= 0):
            raise ConfigError(f"wait must be a number of seconds, 0 or more, not {self.wait!r}")
        if not isinstance(self.steal_lock, bool):
            raise ConfigError(f"steal_lock must be True or False, not {self.steal_lock!r}")
        names = tuple(names)
        assert_pipeline_name(self.pipeline_name)
        assert_known("setting", map(str, given), SETTINGS)
        assert_known("resource", map(str, names), list(RESOURCES))
        file = self.database
        plain = {
            # Its repr shows no secret.
            "settings": Given.of(given),
            "resources": names,
            "database": os.fspath(file) if isinstance(file, os.PathLike) else file,
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Parts:
    """The parts that a load is made of, so that tests can replace them."""

    source: Callable[..., DltSource] = letta
    target: Callable[..., Target] = Target
    check_server: Callable[[Settings, Server], None] = check_reachable
    pipeline_lock: Callable[[Target, bool], AbstractContextManager[Target]] = pipeline_lock
    workspace: Callable[[Target, Settings], Workspace] = Workspace
    run_logged: Callable[[Workspace, Session, Iterable[str]], AbstractContextManager[None]] = run_logged


PARTS = Parts()


def load(
    what: Load, observer: Observer | None = None, session: Session | None = None, parts: Parts | None = None
) -> Loaded:
    """Check everything, finish what an earlier load left behind, then load.

    Args:
        observer: watches the load, such as a progress bar; none by default.
        session: collects the counts; a new one by default.
        parts: for tests.

    Raises:
        ConfigError: or another LettaError, before anything is touched.
        LoadFailed: the load began and failed; the next one continues from the last package that was loaded.
    """
    if not isinstance(what, Load):
        raise ConfigError('load takes a Load, as in load(Load({"base_url": "http://localhost:8283"}))')
    parts = parts or PARTS
    session = session or Session()
    session.pipeline_name = what.pipeline_name
    # Before dlt reads its files: for a broken one it shows a traceback.
    providers()
    # The observer shows all that is logged, from the first setting to the last count.
    watching = observer(session, what.destination) if observer else nullcontext()
    with watching, dlt_settings(), sections_only():
        source = _source(what, session, parts)
        target = parts.target(
            what.pipeline_name,
            what.destination,
            what.dataset_name,
            what.destination_name,
            session.settings.shard,
            what.database,
        ).resolved()
        if what.wait:
            target = replace(target, wait=what.wait)
        cleaned_before = cleaned()
        with closing(session):
            settings = session.settings
            place = settings.place_of("base_url")
            masks, where = settings.masking, target.where()
            logger.info("reads %s (%s) into %s; masks: %s", settings.base_url, place, where, masks)
            selected = list(source.selected_resources)
            with refusal_logged(target, session, selected):
                parts.check_server(settings, session.server)
                target.check(session.settings.table_format)
            with (
                parts.pipeline_lock(target, what.steal_lock) as leased,
                only_writer(target, session.settings.table_format),
                _drivers_errors(leased.lease),
                closing(parts.workspace(leased, session.settings)) as workspace,
                parts.run_logged(workspace, session, selected),
            ):
                loaded = _loaded(what, workspace, source, session)
        if replaced := cleaned() - cleaned_before:
            logger.warning(
                "%s texts contained invalid characters (NUL or lone surrogates), which were replaced by"
                " U+FFFD", f"{replaced:,}",
            )  # fmt: skip
    if why := why_failed(session):
        raise LoadFailed(why, loaded)
    return loaded


def _source(what: Load, session: Session, parts: Parts) -> DltSource:
    """Return the source with the requested resources.

    Raises:
        ConfigError: a setting is wrong, or does not fit the resources.
    """
    try:
        source = parts.source(**what.settings, session=session)
    except DltException as error:  # Such as an unknown SCHEMA__NAMING.
        raise ConfigError(one_line(error)) from error
    if what.resources:
        source = source.with_resources(*what.resources)
    for name in source.selected_resources:
        assert_loadable(RESOURCES[name], session.settings)
    assert_effective(set(source.selected_resources), session.settings)
    return source


@contextmanager
def _drivers_errors(lease: Lease | None) -> Iterator[None]:
    """Turn the exceptions of drivers, which have types of their own, into LoadFailed."""
    try:
        yield
    except Exception as error:
        keep_our_frames(error)
        # A process that took over the lease ended our sessions; the database's error says only that.
        if lease and (lost := lease.loss()):
            raise LoadFailed(str(lost)) from error
        if isinstance(error, LettaError):
            raise
        if isinstance(root(error), KeyboardInterrupt):
            # dlt reports it as a failed step.
            raise KeyboardInterrupt from error
        # Between two packages of a load, another process may open its DuckDB file.
        raise LoadFailed(str(in_use(one_line(error)) or one_line(error))) from error


def _loaded(what: Load, workspace: Workspace, source: DltSource, session: Session) -> Loaded:
    if limits := limits_of(workspace.capabilities, session.settings):
        logger.info("%s %s", what.destination, limits)
    assert_same_server(workspace.pipeline, session.settings)
    workspace.look_at_tables(list(source.selected_resources))
    workspace.finish_pending()
    workspace.take_over()
    # Each of several shards would count the rows of all.
    counted = list(source.selected_resources) if session.settings.shard.is_whole else []
    before = row_counts(workspace.pipeline, counted)
    load_packages(workspace, source, session)
    workspace.drop_old_states()
    after = row_counts(workspace.pipeline, before, all_of_them=True) if workspace.load_ids else before
    new = {table: rows - before[table] for table, rows in after.items()}
    return Loaded(workspace.pipeline, session, new)


def load_packages(workspace: Workspace, source: DltSource, session: Session) -> None:
    """Extract and load package after package; `checkpoint_rows` and the memory limit the rows of each."""
    session.packages.max_rows = session.settings.checkpoint_rows
    session.packages.max_bytes = MemoryBudget(session.settings.memory_limit).enough_for_package
    to_take_over = workspace.to_take_over()
    session.before.empty = workspace.appendable(source.selected_resources)
    session.before.from_elsewhere = not set(source.selected_resources).isdisjoint(to_take_over)
    session.before.erased = workspace.erased()
    workspace.keep_masking()
    _load_each(workspace, source, session)
    if not session.packages.fatal:
        rest = [name for name in to_take_over if name not in source.selected_resources]
        if rest != to_take_over:
            workspace.set_to_take_over(rest)
        warn_of_kept_rows(workspace.pipeline, session.settings, workspace.load_ids)
    workspace.rewrite_file()


def _load_each(workspace: Workspace, source: DltSource, session: Session) -> None:
    while True:
        workspace.assert_leased()
        with workspace.file_closed():
            workspace.pipeline.extract(source)
        session.written.is_writing = True
        packages = session.packages
        workspace.load_package(bool(session.before.empty), packages.rows, packages.bytes > 0)
        session.written.is_writing = False
        session.written.items = sum(counts.items for counts in session.counts.values())
        if not session.packages.has_more:
            break
        logger.info("checkpoint: %s items and their cursors are loaded", f"{session.written.items:,}")
