"""The rows that a warehouse may hold, given the Letta's content at each load.

Content is compared by table and merge key, so by message where one message is several rows. The model takes
it straight from the demo's stores, with none of the code that walks. It requires that

- after a completed load, everything it had to read is there exactly as the server has it, once;
- everything else (see `LettaMachine.reads`), and everything deleted on the server, is as it was at one of the
  loads since the last certain one: crashed loads may or may not have reached it;
- nothing else is there, and no root or child twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from letta_source.demo import Letta
from letta_source.demo.api import Dialect, answer
from letta_source.rows.flatten import Rows
from letta_source.schema.card import Resource
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import Table
from tests.support.library_loads import Row, columns_of

Item = dict[str, Any]
Held = frozenset[Row]
Key = tuple[str, Row]
NOTHING: Held = frozenset()


class Unit(NamedTuple):
    """The unit of a merge: an entity, or all items of a message."""

    resource: str
    parent_id: str
    id: str
    items: list[Item]
    rows: dict[str, Held]


def units_of(letta: Letta, dialect: Dialect, resource: str, apart: bool = False) -> Iterator[Unit]:
    """Yield all units on the server, unreadable or not, with their rows in the resource's tables.

    Args:
        apart: each message as rendered in a page of its own, where the rendering depends on that.
    """
    made = RESOURCES[resource]
    if made.parent is None:
        parents = {"": _entities(letta, dialect, resource)}
    else:
        parents = {
            parent_id: _messages(letta, dialect, resource, parent_id, apart)
            for parent_id in _parents(letta, dialect, resource)
        }
    rows = Rows(made, tombstones=False)
    for parent_id, items in parents.items():
        rows.add(items, parent_id)
    held = {name: grouped(name, _rows(name, table)) for name, table in rows.tables("")}
    for parent_id, items in parents.items():
        by_id: dict[str, list[Item]] = {}
        for item in items:
            by_id.setdefault(item["id"], []).append(item)
        for unit_id, own in by_id.items():
            key = merge_key(made, parent_id, unit_id)
            found = {table.name: held.get(table.name, {}).get(key, []) for table in made.tables}
            yield Unit(
                resource, parent_id, unit_id, own, {name: frozenset(rows) for name, rows in found.items()}
            )


def merge_key(resource: Resource, parent_id: str, unit_id: str) -> Row:
    return (parent_id, unit_id) if resource.parent else (unit_id,)


def _rows(name: str, table: Any) -> list[Row]:
    return list(zip(*(table.column(column).to_pylist() for column in columns_of(name)), strict=True))


def grouped(table: str, rows: Iterable[Row]) -> dict[Row, list[Row]]:
    """Group rows by merge key."""
    known: Table = _TABLES[table]
    places = [columns_of(table).index(name) for name in known.merge_key or known.primary_key]
    groups: dict[Row, list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[place] for place in places)].append(row)
    return groups


def _entities(letta: Letta, dialect: Dialect, resource: str) -> list[Item]:
    rows = list(letta.tables[resource].rows.values())  # type: ignore[index]
    if dialect == "cloud":
        return [] if resource in ("groups", "batches") else rows
    # Self-hosted, steps are reached through runs.
    return [row for row in rows if resource != "steps" or row["run_id"] in letta.tables["runs"].rows]


def _parents(letta: Letta, dialect: Dialect, resource: str) -> list[str]:
    kind = {
        "agent_messages": "agents",
        "group_messages": "groups",
        "step_messages": "steps",
        "batch_messages": "batches",
    }
    return [row["id"] for row in _entities(letta, dialect, kind[resource])]


def _messages(letta: Letta, dialect: Dialect, resource: str, parent_id: str, apart: bool) -> list[Item]:
    path = {
        "agent_messages": f"/v1/agents/{parent_id}/messages",
        "group_messages": f"/v1/groups/{parent_id}/messages",
        "step_messages": f"/v1/steps/{parent_id}/messages",
        "batch_messages": f"/v1/messages/batches/{parent_id}/messages",
    }[resource]

    def page(after: str | None) -> list[Item]:
        params = {"order": "asc", "limit": "1" if apart else "100000", "use_assistant_message": "false"}
        found = answer(letta, dialect, "GET", path, params | ({"after": after} if after else {}), {})
        assert found.status == 200, found.body
        items: list[Item] = found.body["messages"] if resource == "batch_messages" else found.body
        return items

    poisoned, letta.poisoned = letta.poisoned, {}
    try:
        if resource == "batch_messages":
            return page(None)
        if apart:
            ids = letta.list_of(resource.removesuffix("_messages"), parent_id).ids()
            return [item for after in (None, *ids) for item in page(after)]
        items = page(None)
        while more := page(items[-1]["id"]) if items else []:
            # The `send_message` parts that steps hide are returned alone where they come last.
            items += more
        return items
    finally:
        letta.poisoned = poisoned


_TABLES = {table.name: table for resource in RESOURCES.values() for table in resource.tables}


class Model:
    """The rows that each key may hold; a key without any allowed rows must be empty."""

    def __init__(self) -> None:
        self._allowed: dict[Key, set[Held]] = defaultdict(lambda: {NOTHING})
        self._now: list[Unit] = []

    def attempt(self, units: Iterable[Unit]) -> None:
        """Begin a load that may read any of these."""
        self._now = list(units)
        self.allow(self._now)

    def allow(self, units: Iterable[Unit]) -> None:
        """Allow the current load to read these too."""
        for key, held, _ in _by_key(units):
            self._allowed[key].add(held)

    def ended(self, reads: Callable[[Unit], bool]) -> None:
        """Complete the load, which certainly read some of its units."""
        for key, held, unit in _by_key(self._now):
            if reads(unit):
                self._allowed[key] = {held}

    def check(self, resources: Iterable[str], rows: Callable[[str], list[Row]]) -> None:
        """Check that only allowed rows are there; from now on only these are allowed."""
        for name in (table.name for resource in resources for table in RESOURCES[resource].tables):
            found = grouped(name, rows(name))
            known = {merged for table, merged in self._allowed if table == name}
            for merged in known | found.keys():
                there = found.get(merged, [])
                held = frozenset(there)
                assert len(there) == len(held), f"{name}: twice: {there}"
                allowed = self._allowed[name, merged]
                assert held in allowed, f"{name}: {merged} is {set(held)}, not one of {set(allowed)}"
                self._allowed[name, merged] = {held}

    def lacks(self, unit: Unit) -> bool:
        """Return True if nothing of it is there."""
        root = RESOURCES[unit.resource].root.name
        return self._allowed[root, merge_key(RESOURCES[unit.resource], unit.parent_id, unit.id)] == {NOTHING}


def _by_key(units: Iterable[Unit]) -> Iterator[tuple[Key, Held, Unit]]:
    for unit in units:
        merged = merge_key(RESOURCES[unit.resource], unit.parent_id, unit.id)
        for name, held in unit.rows.items():
            yield (name, merged), held, unit
