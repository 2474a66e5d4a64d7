"""The rows a destination must hold after each load, by its capabilities: merged in memory, without dlt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import pytest

from letta_source.demo import Server
from letta_source.schema.card import Resource
from letta_source.schema.columns import LOAD_ID
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES, Table
from letta_source.settings import make_settings
from tests.support.hours import Story
from tests.support.library_loads import TABLES, Merged, Row, columns_of, in_order
from tests.support.places import Place, plain

Rows = dict[str, list[Row]]
Keys = set[Row]

LOADED = [resource for resource in RESOURCES.values() if not resource.on_request]
AS_THEY_ARE_NOW = ("agents", "groups", "conversations")
# Messages of these parents are loaded when the parent is finished.
UNITS = {"step_messages": "steps", "batch_messages": "batches"}
ENDED = ("completed", "failed", "cancelled", "success")


class Expected:
    """Follows the loads into one place: call `check` after each, before anything else happens.

    Args:
        resources: the names of those that are loaded; all by default.
    """

    def __init__(self, place: Place, server: Server, story: Story, resources: Sequence[str] = ()) -> None:
        self._resources = resources
        self._place = place
        self._server = server
        self._story = story
        self._merged = Merged(upserts=place.kind == "upserts")
        self._settled = Settled(place, resources)

    def check(self, lag: str | None = None, after_kills: bool = False) -> None:
        """Compare every table, row for row.

        Args:
            lag: the overlap of this load, if not the default.
            after_kills: agents that a killed load read, and that changed since, may have come too.
        """
        found = self._place.everything()
        assert not found[LOAD_ISSUES.name]
        settings: dict[str, Any] = {} if lag is None else {"lag": lag}
        with self._story.at():
            if self._place.kind != "appends":
                self._merged.load(self._server, *self._resources, **settings)
                assert_same(found, normalized(self._merged.everything()))
                return
            fresh = Merged()
            # The server's list has only the batches that are running.
            fresh.load(self._server, batch_ids=self._story.letta.tables["batches"].ids())
        read = make_settings({"base_url": self._server.base_url, **settings}, {})
        settled_before = self._story.now - read.lag
        self._settled.check(found, normalized(fresh.everything()), settled_before, after_kills)

    def widen(self) -> None:
        """From now on there are more columns."""
        if self._place.kind == "appends":
            self._settled.widen()


class Settled:
    """Rows come once, when they are old enough; agents, groups and conversations whenever they changed."""

    def __init__(self, place: Place, resources: Sequence[str]) -> None:
        self._place = place
        self._loaded = [one for one in LOADED if not resources or one.name in resources]
        self._before: Rows = {name: [] for name in TABLES}

    def check(self, found: Rows, fresh: Rows, settled_before: datetime, after_kills: bool) -> None:
        """Check every table.

        Args:
            fresh: everything that the server has now.
            settled_before: rows created, and parents finished, before this time are due.
        """
        units = _units(fresh, settled_before)
        for resource in self._loaded:
            if resource.name in AS_THEY_ARE_NOW:
                self._check_changed(resource.root, found, fresh, after_kills)
            else:
                must, may = _messages(resource, fresh, units, settled_before)
                self._check_settled(resource, found, fresh, must, may)
        self._before = found

    def widen(self) -> None:
        self._before = self._place.everything()

    def _check_changed(self, table: Table, found: Rows, fresh: Rows, after_kills: bool) -> None:
        name = table.name
        newest = self._newest(name)
        assert {newest[row[0]] for row in fresh[name]} == set(fresh[name])
        known = {row[0]: row for row in self._before[name]}
        changed = [row for row in fresh[name] if row not in self._before[name]]
        came = [*self._before[name], *changed]
        if after_kills:
            between = [row for row in found[name] if row not in came]
            assert len({row[0] for row in between}) == len(between)
            came += between
        assert_same({name: found[name]}, {name: came})
        assert len(known.keys() | {row[0] for row in changed}) == len(newest)

    def _newest(self, name: str) -> dict[Any, Row]:
        """Return the row that was loaded last, by id."""
        rows = self._place.rows(name, LOAD_ID.name, *columns_of(name))
        return {row[1]: row[1:] for row in sorted(rows, key=lambda row: float(row[0]))}

    def _check_settled(self, resource: Resource, found: Rows, fresh: Rows, must: Keys, may: Keys) -> None:
        known = set(_keys(resource.root, self._before[resource.root.name], merged=True))
        for table in resource.tables:
            name = table.name
            keys = _keys(table, found[name])
            twice = [key for key, count in Counter(keys).items() if count > 1]
            assert not twice, name
            here, before = Counter(found[name]), Counter(self._before[name])
            assert not before - here, f"{name}: gone"
            new = here - before
            owners = dict(zip(fresh[name], _keys(table, fresh[name], merged=True), strict=True))
            early = [row for row in new if owners.get(row) not in may - known]
            if early:
                why = "not settled, not as it is on the server, or there before"
                pytest.fail(f"{name}: {len(early)} rows {why}:\n{early[0]}", pytrace=False)
            missing = [row for row, key in owners.items() if key in must - known and row not in new]
            if missing:
                pytest.fail(f"{name}: {len(missing)} rows missing:\n{missing[0]}", pytrace=False)


def _units(fresh: Rows, settled_before: datetime) -> dict[str, tuple[Keys, Keys]]:
    """Return the ids of runs, steps and batches that must and that may be there."""
    found = {}
    runs = {run["id"]: run for run in _dicts("runs", fresh)}
    for name in ("runs", "steps", "batches"):
        must, may = set(), set()
        for unit in _dicts(name, fresh):
            dated = runs[unit["run_id"]] if name == "steps" else unit
            times = [dated[time] for time in ("created_at", "completed_at", "updated_at") if dated.get(time)]
            if unit["status"] in ENDED and dated["created_at"] < settled_before:
                may.add((unit["id"],))
                if dated["status"] in ENDED and max(times) < settled_before:
                    must.add((unit["id"],))
        found[name] = must, may
    return found


def _messages(
    resource: Resource, fresh: Rows, units: dict[str, tuple[Keys, Keys]], settled_before: datetime
) -> tuple[Keys, Keys]:
    """Return the keys that must and that may be there: merge keys of messages, or ids of their parents."""
    if resource.name in units:
        return units[resource.name]
    rows, root = fresh[resource.root.name], resource.root
    place = columns_of(root.name).index("created_at")
    keys = _keys(root, rows, merged=True)
    settled = {key for key, row in zip(keys, rows, strict=True) if row[place] < settled_before}
    if resource.name not in UNITS:
        return settled, settled
    must, may = units[UNITS[resource.name]]
    return {key for key in settled if key[:1] in must}, {key for key in keys if key[:1] in may}


def _dicts(name: str, rows: Rows) -> list[dict[str, Any]]:
    return [dict(zip(columns_of(name), row, strict=True)) for row in rows[name]]


def _keys(table: Table, rows: Iterable[Row], merged: bool = False) -> list[Row]:
    """Return each row's primary key; if `merged`, the merge key, which rows of one message share."""
    names = (merged and table.merge_key) or table.primary_key
    places = [columns_of(table.name).index(name) for name in names]
    return [tuple(row[place] for place in places) for row in rows]


def normalized(rows: Rows) -> Rows:
    """Return the rows as places read them."""
    made = {}
    for name, held in rows.items():
        by_name = {column.name: column.type for column in TABLES[name].columns}
        types = [by_name[column] for column in columns_of(name)]
        made[name] = in_order(
            tuple(plain(type_, value) for type_, value in zip(types, row, strict=True)) for row in held
        )
    return made


def assert_same(found: Rows, expected: Rows) -> None:
    """Compare row for row; report what each table that differs lacks and has too many of."""
    said = []
    for name, rows in expected.items():
        missing = list((Counter(rows) - Counter(found[name])).elements())
        too_many = list((Counter(found[name]) - Counter(rows)).elements())
        if missing or too_many:
            said.append(f"{name}: {len(missing)} rows missing, {len(too_many)} too many")
        for lacks, has in zip(missing[:2], too_many[:2], strict=False):
            columns = zip(columns_of(name), lacks, has, strict=True)
            said += [
                f"  {column}: {was!r:.300}, not {has!r:.300}" for column, was, has in columns if was != has
            ]
    if said:
        pytest.fail("\n".join(said), pytrace=False)
