"""Compare one agent's rows of one resource between the server and the warehouse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from letta_source.destinations.capabilities import within
from letta_source.operate import DIFFERENCES
from letta_source.operate.value_differences import Hiding, really_edited, unequal
from letta_source.schema.card import Resource
from letta_source.schema.columns import DELETED, EXTRA, GONE, LOAD_ID, SEQUENCE
from letta_source.schema.tables import Table

Key = tuple[Any, ...]
"""Values of a table's primary key."""

_EXAMPLES = 5
# These describe how a row was written, not the server's data.
_OF_THE_LOAD = frozenset((DELETED.name, LOAD_ID.name, SEQUENCE.name))


@dataclass
class Tally:
    """Row counts of one table.

    Attributes:
        rows: how many the warehouse holds.
        skip: how many leading key columns all rows of an agent have in common.
        counts: by kind: those of DIFFERENCES; "newer", changed since the last load; "unreadable", which the
            server cannot send; "not_comparable", partly hidden.
        examples: keys of the first rows, by kind.
        edited: columns that differ.
        hidden: columns that were not compared, at least in some rows.
    """

    rows: int = 0
    skip: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)

    def note(self, kind: str, key: Key) -> None:
        """Count a row."""
        self.counts[kind] += 1
        shown = self.examples.setdefault(kind, [])
        if kind != "not_comparable" and len(shown) < _EXAMPLES:
            shown.append(" ".join(map(str, key[self.skip :])))

    @property
    def differences(self) -> int:
        """The number of rows that differ."""
        return sum(self.counts[kind] for kind in DIFFERENCES)


class _Held:
    """Rows of one table in the warehouse."""

    def __init__(self, table: Table, rows: pa.Table) -> None:
        self.table = table
        self.rows = rows
        self.keys = keys_of(table, rows)
        self.at = {key: at for at, key in reversed(list(enumerate(self.keys)))}
        self.seen = bytearray(len(self.keys))
        self.load_ids = rows.column(LOAD_ID.name).to_pylist() if LOAD_ID.name in rows.column_names else []
        gone = rows.column(GONE.name) if GONE.name in rows.column_names else None
        self.marked = gone.is_valid().to_pylist() if gone is not None else [False] * len(self.keys)


class Comparison:
    """Compares rows from the server with those of one agent in the warehouse, page by page.

    Args:
        held: the agent's rows, by table.
        since: when the last load began; later changes count as "newer".
        changed: ids of rows that changed since then, by table; those of this resource are added.
        keeps_old: the destination cannot delete rows that a message no longer has.
    """

    def __init__(
        self,
        card: Resource,
        held: Mapping[str, pa.Table],
        hiding: Hiding,
        since: datetime | None,
        changed: dict[str, set[str]],
        longest: int | None = None,
        keeps_old: bool = False,
    ) -> None:
        self._card = card
        self._held = {table.name: _Held(table, held[table.name]) for table in card.tables}
        self._hiding = hiding
        self._since = since
        self._changed = changed
        self._longest = longest
        self._keeps_old = keeps_old
        self._both: set[Key] = set()
        self._newer: set[Key] = set()
        skip = int(card.hangs_from_agents)
        self.tallies = {name: Tally(one.rows.num_rows, skip) for name, one in self._held.items()}

    def take(self, name: str, rows: pa.Table) -> None:
        """Compare rows that the server sent; root rows come before their children."""
        held, tally = self._held[name], self.tallies[name]
        rows, cut = self._fitted(held.table, rows)
        is_root = held.table is self._card.root
        newer = self._newer_rows(rows) if is_root else [False] * rows.num_rows
        pairs: list[tuple[int, int]] = []
        for at, (key, is_newer) in enumerate(zip(keys_of(held.table, rows), newer, strict=True)):
            place = held.at.get(key)
            owner = _owner(held.table, key)
            if is_root:
                if is_newer:
                    self._newer.add(owner)
                    self._changed.setdefault(name, set()).add(owner[-1])
                if place is not None:
                    self._both.add(owner)
            elif owner not in self._both:
                # It is missing together with its message.
                continue
            if place is None:
                tally.note("newer" if owner in self._newer else "missing", key)
            else:
                held.seen[place] = 1
                pairs.append((at, place))
        tally.hidden.update(*cut.values())
        self._compare(held, tally, rows, pairs, cut)

    def _fitted(self, table: Table, rows: pa.Table) -> tuple[pa.Table, dict[int, set[str]]]:
        """Return the rows with texts cut as for the destination, and the cut columns by row."""
        cut: dict[int, set[str]] = {}
        if self._longest is None:
            return rows, cut
        json = {column.name for column in table.columns if column.type == "json"}
        fitted, count = within(rows, self._longest, json)
        for name in rows.column_names if count else ():
            if pa.types.is_string(rows.schema.field(name).type):
                differ = pc.fill_null(pc.not_equal(rows.column(name), fitted.column(name)), False)
                for at in pc.indices_nonzero(differ).to_pylist():
                    cut.setdefault(at, set()).add(name)
        return fitted, cut

    def _compare(
        self,
        held: _Held,
        tally: Tally,
        rows: pa.Table,
        pairs: Sequence[tuple[int, int]],
        cut: Collection[int],
    ) -> None:
        if not pairs:
            return
        masked = self._hiding.columns(held.table.name) & set(held.rows.column_names)
        columns = [
            column
            for column in held.table.columns
            if column.name in held.rows.column_names and column.name not in masked | _OF_THE_LOAD
        ]
        sent = rows.take([at for at, _ in pairs])
        there = held.rows.take([place for _, place in pairs])
        edited: dict[int, list[str]] = {}
        hidden = {at for at, (row, _) in enumerate(pairs) if masked or row in cut}
        tally.hidden |= masked
        for column in columns:
            for at, new, old in unequal(column, sent.column(column.name), there.column(column.name)):
                load_id = held.load_ids[pairs[at][1]] if held.load_ids else ""
                if self._hiding.hides(held.table.name, column, load_id, new, old):
                    hidden.add(at)
                    tally.hidden.add(column.name)
                else:
                    edited.setdefault(at, []).append(column.name)
        for at in [at for at, names in edited.items() if EXTRA.name in names]:
            names = really_edited(edited[at], sent.slice(at, 1), there.slice(at, 1))
            edited[at] = names
            if not names:
                del edited[at]
        for at in sorted(hidden):
            tally.note("not_comparable", held.keys[pairs[at][1]])
        for at, names in sorted(edited.items()):
            key = held.keys[pairs[at][1]]
            if _owner(held.table, key) in self._newer:
                tally.note("newer", key)
            else:
                tally.note("edited", key)
                tally.edited.update(names)

    def _newer_rows(self, rows: pa.Table) -> list[bool]:
        """Return for each row True if it may have changed since the last load."""
        if self._since is None:
            return [False] * rows.num_rows
        newer = pa.chunked_array([pa.repeat(False, rows.num_rows)])
        for column in self._card.root.columns:
            if column.type == "timestamp" and column != GONE:
                later = _is_since(rows.column(column.name), self._since)
                newer = pc.or_(newer, pc.fill_null(later, False))
        found: list[bool] = newer.to_pylist()
        if via := self._card.date_via:
            # Steps have no date of their own.
            referred = next(one.references or "" for one in self._card.root.columns if one.name == via)
            changed = self._changed.get(referred.partition(".")[0], set())
            found = [
                one or id_ in changed for one, id_ in zip(found, rows.column(via).to_pylist(), strict=True)
            ]
        return found

    def absent(self) -> list[Key]:
        """Return the keys of root rows that the server did not send, except those marked as gone."""
        held = self._held[self._card.root.name]
        return [
            key
            for at, key in enumerate(held.keys)
            if not held.seen[at] and held.at[key] == at and not held.marked[at]
        ]

    def end(self, gone: Collection[Key], incomplete: bool) -> None:
        """Count the rows that the server did not send, by kind.

        Args:
            gone: keys of root rows that Letta says are gone.
            incomplete: the server could not send all rows.
        """
        root = self._card.root.name
        tally = self.tallies[root]
        for key in self.absent():
            tally.note("gone" if key in gone else "unreadable" if incomplete else "extra", key)
        for name, held in self._held.items():
            for at, key in enumerate(held.keys):
                if held.at[key] != at:
                    self.tallies[name].note("extra", key)
                elif name != root and not held.seen[at] and (owner := _owner(held.table, key)) in self._both:
                    kind = "not_comparable" if self._keeps_old else "extra"
                    self.tallies[name].note("newer" if owner in self._newer else kind, key)


def _is_since(dates: pa.ChunkedArray, since: datetime) -> pa.ChunkedArray:
    """Return for each date True if it may be `since` or later; null for no date."""
    # The server truncates message dates to seconds: a message just after `since` seems to be before it.
    is_cut = pc.equal(pc.floor_temporal(dates, unit="second"), dates)
    is_of_that_second = pc.greater_equal(dates, pa.scalar(since.replace(microsecond=0), dates.type))
    later = pc.greater_equal(dates, pa.scalar(since, dates.type))
    return pc.or_(later, pc.and_(is_cut, is_of_that_second))


def keys_of(table: Table, rows: pa.Table) -> list[Key]:
    """Return the primary key of each row."""
    return list(zip(*(rows.column(name).to_pylist() for name in table.primary_key), strict=True))


def _owner(table: Table, key: Key) -> Key:
    """Return the part of a key that identifies the message; all of it if the table has none."""
    return key[: len(table.merge_key)] if table.merge_key else key
