"""A simulation of dlt's load packages in memory: a run of the command line in milliseconds.

A package is extracted with the current state, normalized, and loaded table by table; the state is stored
with the last. A failure before the package is complete leaves no trace; a later one leaves the package in
the working folder, where the next run finishes it first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import dlt
import orjson
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs import ConfigSectionContext
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.exceptions import SqlClientNotAvailable
from dlt.common.pipeline import StateInjectableContext
from dlt.common.schema import Schema
from dlt.common.storages.load_package import LoadPackageStateInjectableContext
from dlt.extract import DltResource
from dlt.extract.items import TableNameMeta
from dlt.extract.pipe_iterator import PipeIterator
from dlt.extract.source import SourceSchemaInjectableContext

from letta_source.destinations.capabilities import Capabilities
from letta_source.extract.resources import make_resource
from letta_source.loading import run
from letta_source.loading.workspace import Workspace
from letta_source.schema.resources import RESOURCES
from letta_source.settings import make_settings
from letta_source.state.session import Session
from tests.support.library_loads import Row, columns_of, in_order

State = dict[str, Any]


class Crash(BaseException):
    """The process dies: no exception handler sees it."""


@dataclass
class DltFaults:
    """Crashes a phase (walk, extract, normalize, load) at one of its steps."""

    phase: str = ""
    steps: int = 0

    def step(self, phase: str) -> None:
        """Count a step; call this before each step of a phase."""
        if phase == self.phase:
            self.steps -= 1
            if self.steps < 0:
                self.phase = ""
                raise Crash(phase)


class _Hints(NamedTuple):
    """dlt's hints for a table."""

    merges: bool
    primary_key: tuple[str, ...]
    merge_key: tuple[str, ...]
    hard_delete: tuple[str, ...]


_KNOWN_HINTS: dict[str, _Hints] = {}


def _hints(made: DltResource, table: str) -> _Hints:
    """Return a table's hints; they never change, so they are cached: dlt takes milliseconds."""
    if table not in _KNOWN_HINTS:
        schema = made.compute_table_schema(None, TableNameMeta(table))
        told = [
            tuple(name for name, column in schema["columns"].items() if column.get(hint))
            for hint in ("primary_key", "merge_key", "hard_delete")
        ]
        _KNOWN_HINTS[table] = _Hints(schema["write_disposition"] == "merge", *told)
    return _KNOWN_HINTS[table]


class _Table:
    """Rows by merge key, or by primary key where there is no merge key."""

    def __init__(self) -> None:
        self._held: dict[Row, list[dict[str, Any]]] = {}

    def rows(self, columns: Sequence[str]) -> list[Row]:
        return [tuple(row[name] for name in columns) for rows in self._held.values() for row in rows]

    def take(self, hints: _Hints, rows: Sequence[dict[str, Any]]) -> None:
        """Delete rows with the key of any staged row, then insert each staged row once: one transaction."""
        by = hints.merge_key or hints.primary_key
        keys = [tuple(row[name] for name in by) for row in rows]
        if hints.merges:
            for key in keys:
                self._held.pop(key, None)
        inserted = set()
        for key, row in zip(keys, rows, strict=True):
            whole = tuple(row[name] for name in hints.primary_key)
            if hints.merges and (whole in inserted or any(row[name] for name in hints.hard_delete)):
                continue
            inserted.add(whole)
            self._held.setdefault(key, []).append(row)

    @property
    def is_empty(self) -> bool:
        return not any(self._held.values())

    def forget(self, load_id: str) -> None:
        """Delete the rows of a load package."""
        for key, rows in self._held.items():
            self._held[key] = [row for row in rows if row["_dlt_load_id"] != load_id]


@dataclass
class _Package:
    load_id: str
    state: State
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    hints: dict[str, _Hints] = field(default_factory=dict)


@dataclass
class _Source:
    """The part of dlt's source that is needed; made without a look at dlt's configuration."""

    session: Session
    selected_resources: tuple[str, ...]

    def with_resources(self, *names: str) -> _Source:
        return _Source(self.session, names)

    def made(self) -> list[DltResource]:
        return [
            make_resource(RESOURCES[name], self.session, lambda settings: Capabilities())
            for name in self.selected_resources
        ]


class _Storage:
    """The storage of load packages, which have no state of their own here."""

    def get_load_package_state(self, load_id: str) -> State:
        return {}


class PlayedPipeline:
    """The parts of dlt's pipeline and destination, and of our target, that `loading.run` uses."""

    config = SimpleNamespace(restore_from_destination=True)

    def __init__(self, faults: DltFaults) -> None:
        self._tables: dict[str, _Table] = defaultdict(_Table)
        self._faults = faults
        self._capabilities = dlt.destinations.duckdb().capabilities()
        self._schema = Schema("letta")
        self._remote: State = {}
        self._packages = 0
        self.lose_folder()

    def lose_folder(self) -> None:
        """Delete the working folder: pending packages, and the state of the last extraction."""
        self._pending: list[_Package] = []
        self._local: State | None = None
        self._here: State = {}

    def rows(self, table: str) -> list[Row]:
        """Return the sorted rows; all columns but the load's id."""
        return in_order(self._tables[table].rows(columns_of(table)))

    def run(self, what: run.Load, session: Session) -> None:
        """Load as the command line does, into this pipeline instead of dlt's."""
        pipeline = self

        class Played(Workspace):
            capabilities = Capabilities()

            def open(self) -> None:
                self.pipeline = pipeline  # type: ignore[assignment]
                pipeline.take_back()

            def look_at_tables(self, resources: Iterable[str]) -> None:
                """Check nothing: only we change the tables."""

            def take_over(self) -> None:
                pipeline.sync_destination()

            def appendable(self, names: Iterable[str]) -> set[str]:
                return pipeline.appendable(names)

            @contextmanager
            def file_closed(self) -> Iterator[None]:
                yield

            def rewrite_file(self) -> None:
                """Rewrite nothing: there is no file."""

            def _prepare(self) -> None:
                """Prepare nothing: no dlt is involved."""

            def load_package(self, appends: bool, rows: int, has_large_rows: bool = False) -> None:
                pipeline.normalize()
                pipeline.load(workers=1)

        def unrecorded(*of_run: Any) -> AbstractContextManager[None]:
            return nullcontext()

        as_target: Any = self
        source: Any = _made_source
        parts = run.Parts(
            source,
            lambda *names: as_target,
            lambda settings, server: None,
            lambda target, steal: nullcontext(target),
            Played,
            unrecorded,
        )
        run.load(what, session=session, parts=parts)

    def resolved(self) -> PlayedPipeline:
        return self

    def where(self) -> str:
        return "memory"

    def check(self, table_format: None) -> None:
        """Check nothing: memory is always reachable."""

    def pipeline(self, file: object) -> PlayedPipeline:
        return self

    @property
    def destination(self) -> PlayedPipeline:
        return self

    destination_type = "dlt.destinations.duckdb"
    lease = None

    def capabilities(self) -> DestinationCapabilitiesContext:
        return self._capabilities

    def sql_client(self) -> Any:
        raise SqlClientNotAvailable("pipeline", "letta", "memory")

    @property
    def has_pending_data(self) -> bool:
        return bool(self._pending)

    @property
    def state(self) -> State:
        return {**(self._local or {}), "_local": self._here}

    def get_local_state_val(self, name: str) -> Any:
        return self._here[name]

    def set_local_state_val(self, name: str, value: Any) -> None:
        self._here[name] = value

    def sync_destination(self) -> None:
        if self._local is None:
            self._local = _copy(self._remote)

    def extract(self, source: _Source) -> None:
        self._packages += 1
        package = _Package(str(self._packages), _copy(self._local or {}))
        made = {each.name: each for each in source.made()}
        pipes = [each._pipe for each in made.values()]
        with self._contexts(package), PipeIterator.from_pipes(pipes, futures_poll_interval=0) as items:
            for item in items:
                self._faults.step("extract")
                rows: Any = item.item
                name, disposition = _told(item.meta)
                self._schema.tables.setdefault(name, {"name": name, "columns": {}})
                package.rows.setdefault(name, []).extend(rows.to_pylist())
                hints = _hints(made[item.pipe.name], name)
                if disposition:
                    hints = hints._replace(merges=disposition == "merge")
                elif name in package.hints:
                    hints = package.hints[name]
                package.hints[name] = hints
        package.state = self._local = _copy(package.state)
        self._pending.append(package)

    def normalize(self) -> None:
        for _ in self._pending:
            self._faults.step("normalize")

    def load(self, workers: int = 20) -> Any:
        loaded = [package.load_id for package in self._pending]
        while self._pending:
            package = self._pending[0]
            for table, rows in package.rows.items():
                self._faults.step("load")
                self._tables[table].take(package.hints[table], rows)
            self._faults.step("load")
            self._remote = package.state
            del self._pending[0]
        return SimpleNamespace(loads_ids=loaded)

    def appendable(self, names: Iterable[str]) -> set[str]:
        return {
            name
            for name in names
            if RESOURCES[name].is_walked
            and all(self._tables[table.name].is_empty for table in RESOURCES[name].tables)
        }

    def take_back(self) -> None:
        for package in self._pending:
            for table, hints in package.hints.items():
                if not hints.merges:
                    self._tables[table].forget(package.load_id)

    @contextmanager
    def _contexts(self, package: _Package) -> Iterator[None]:
        storage: Any = _Storage()
        state: Any = package.state
        with ExitStack() as stack:
            for context in (
                ConfigSectionContext(source_state_key="letta"),
                StateInjectableContext(state=state),
                SourceSchemaInjectableContext(self._schema),
                self._capabilities,
                LoadPackageStateInjectableContext(load_id=package.load_id, storage=storage),
            ):
                stack.enter_context(Container().injectable_context(context))
            yield


def _told(meta: Any) -> tuple[str, str | None]:
    """Return the table of the rows, and their write disposition where the item sets it."""
    if isinstance(meta, TableNameMeta):
        return meta.table_name, None
    return meta.hints["table_name"], meta.hints["write_disposition"]


def _made_source(session: Session, **given: Any) -> _Source:
    session.settings = make_settings(given, {})
    return _Source(session, tuple(name for name, each in RESOURCES.items() if not each.on_request))


def _copy(state: State) -> State:
    copied: State = orjson.loads(orjson.dumps(state))
    return copied
