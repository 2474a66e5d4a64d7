"""Find all rows of given agents, conversations and identities in a dataset, by SQL conditions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from letta_source.export.query import Reader
from letta_source.export.readers import has_table
from letta_source.export.selection import agent_of
from letta_source.export.stream import query
from letta_source.rows.mask import actions_of
from letta_source.schema.card import Resource
from letta_source.schema.columns import Column, bigint, text
from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.schema.tables import LOAD_ISSUES, Table
from letta_source.settings.masking import logged_masking

Condition = tuple[str, list[str]]
"""SQL, and the values of its `%s`."""

_COLUMNS = [column for table in all_tables() for column in table.columns]
_REFERENCED = {column.name: column.references for column in _COLUMNS if column.references}
# The resources that columns with these names refer to.
_CONVERSATIONS, _RUNS = (_REFERENCED[name].partition(".")[0] for name in ("conversation_id", "run_id"))


@dataclass(frozen=True)
class Whom:
    """Ids whose rows are looked for.

    Attributes:
        agents: all of their rows.
        conversations: their messages and runs.
        identities: their agents, what they sent to other agents, and the runs that answer it.
    """

    agents: tuple[str, ...] = ()
    conversations: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()


@dataclass(frozen=True)
class MatchingRows:
    """Rows of one table that match.

    Attributes:
        key: columns that identify a row, or all rows of a message.
        rank: parts of a lower rank are found through parts of a higher rank.
    """

    table: Table
    condition: str
    values: list[str]
    key: tuple[str, ...]
    rank: int


class RowSearch:
    """Finds rows in an opened dataset."""

    def __init__(self, reader: Reader, whom: Whom) -> None:
        self._reader = reader
        self._cards = [card for card in RESOURCES.values() if has_table(reader, card.name)]
        agents = dict.fromkeys((*whom.agents, *self._agents_of(whom.identities)))
        self.whom = replace(whom, agents=tuple(agents))

    def _agents_of(self, identities: Sequence[str]) -> Iterator[str]:
        """Yield agents that belong to one of these identities."""
        root = RESOURCES["agents"].root
        there = self._columns_of(root)
        columns = [one for one in root.columns if one.name in ("identity_ids", "identities")]
        columns = [one for one in columns if one.name in there]
        if not (identities and columns):
            return
        found = ", ".join(
            f"{self._reader.selected(self._reader.column(one.name), one)} AS {one.name}" for one in columns
        )
        id_ = self._reader.column("id")
        sql = f"SELECT {id_}, {found} FROM {self._reader.table(root.name)} ORDER BY {id_}"
        for row in query(self._reader, sql, [text("id", ""), *columns]):
            if not _ids_in(row.get("identity_ids"), row.get("identities")).isdisjoint(identities):
                yield row["id"]

    @cached_property
    def runs(self) -> list[str]:
        """Runs of the conversations, whose messages may not name these, and runs that answer an identity."""
        found: dict[str, None] = {}
        for card in self._cards:
            is_run = card.name == _RUNS
            column, by = ("id", "conversation_id") if is_run else ("run_id", "sender_id")
            ids = self.whom.conversations if is_run else self.whom.identities
            if ids and {column, by} <= self._columns_of(card.root):
                found |= dict.fromkeys(self._ids(card.root, column, *self._in(card.root, by, ids)))
        return list(found)

    @cached_property
    def messages(self) -> list[str]:
        """Messages of the conversations, even if shared with a fork: other tables may hold them, too."""
        found: dict[str, None] = {}
        for card in self._cards:
            if card.parents == _CONVERSATIONS and card.parent and self.whom.conversations:
                within = self._in(card.root, card.parent.name, self.whom.conversations)
                found |= dict.fromkeys(self._ids(card.root, "id", *within))
        return list(found)

    def parts(self) -> list[MatchingRows]:
        """Return the matching rows of each table that may have some, in the order to delete them in."""
        found = []
        for card in self._cards:
            if conditions := [*self._direct(card), *self._through_others(card)]:
                root = card.root
                condition, values = _either(conditions)
                rank = 1 if self._names_nobody(card) else 2 if "SELECT" in condition else 3
                found.append(MatchingRows(root, condition, values, root.merge_key or root.primary_key, rank))
                for child in (card.children or {}).values():
                    if self._reader.columns_of(child.name):
                        hanging = self._hanging(child, root, condition)
                        found.append(MatchingRows(child, hanging, values, child.merge_key, 0))
        if has_table(self._reader, LOAD_ISSUES.name):
            found.append(self._issues())
        return sorted(found, key=lambda part: part.rank)

    def _direct(self, card: Resource) -> Iterator[Condition]:
        """Yield conditions on the table's own columns."""
        whom, root = self.whom, card.root
        is_conversation, is_run = card.name == _CONVERSATIONS, card.name == _RUNS
        by_column: list[tuple[str, Sequence[str]]] = [
            (card.agent_column, whom.agents),
            ("id" if is_conversation else "conversation_id", whom.conversations),
            ("id" if is_run else "run_id", self.runs),
            ("sender_id", whom.identities),
            ("id", self.messages if card.has_messages else ()),
        ]
        for column, ids in by_column:
            if ids and column in self._columns_of(root):
                yield self._in(root, column, ids)

    def _through_others(self, card: Resource) -> Iterator[Condition]:
        """Yield conditions on rows whose owner only another table names."""
        if self._names_nobody(card):
            for other in self._cards:
                if other.has_messages and not self._names_nobody(other):
                    yield from self._through(card, "id", other)
        if owners := self._owners(card):
            yield self._of_no_other(card, owners)
        parents = RESOURCES.get(card.parents or "")
        if card.parent and parents in self._cards and parents and not card.hangs_from_agents:
            yield from self._through(card, card.parent.name, parents)

    def _through(self, card: Resource, column: str, other: Resource) -> Iterator[Condition]:
        if conditions := list(self._direct(other)):
            condition, values = _either(conditions)
            ids = f"SELECT {self._column(other.root, 'id')} FROM {self._reader.table(other.name)}"
            yield f"{self._column(card.root, column)} IN ({ids} WHERE {condition})", values

    def _owners(self, card: Resource) -> Table | None:
        """Return the table that names the items' agents, if there is one and agents are looked for."""
        owners = RESOURCES.get(card.agents_in or "")
        return owners.root if owners in self._cards and owners and self.whom.agents else None

    def _of_no_other(self, card: Resource, owners: Table) -> Condition:
        """Return the condition for items that belong to the agents, and to no other agent."""
        within, values = self._in(owners, "agent_id", self.whom.agents)
        item, ids = self._column(card.root, "id"), f"SELECT {self._column(owners, 'id')}"
        of = f"{ids} FROM {self._reader.table(owners.name)} WHERE"
        return f"({item} IN ({of} {within}) AND {item} NOT IN ({of} NOT {within}))", [*values, *values]

    def _names_nobody(self, card: Resource) -> bool:
        return card.has_messages and agent_of(card.root) is None

    def _issues(self) -> MatchingRows:
        whom = self.whom
        ids = [*whom.agents, *whom.conversations, *whom.identities, *self.runs]
        conditions = [self._in(LOAD_ISSUES, "parent_id", ids)]
        parents = {card.parents for card in self._cards if not card.hangs_from_agents}
        for card in self._cards:
            if card.name in parents:
                for condition, values in self._direct(card):
                    of_them = f"SELECT {self._column(card.root, 'id')} FROM {self._reader.table(card.name)}"
                    column = self._column(LOAD_ISSUES, "parent_id")
                    conditions.append((f"{column} IN ({of_them} WHERE {condition})", values))
        condition, values = _either(conditions)
        return MatchingRows(LOAD_ISSUES, condition, values, ("parent_id",), 0)

    def unknown(self) -> list[str]:
        """Return the tables that may hold more, as their rows do not say whose they are."""
        return [card.name for card in self._cards if self._may_hold_more(card)]

    def _may_hold_more(self, card: Resource) -> bool:
        if self._owners(card):
            return False
        if agent_of(card.root) is None and (card.has_messages or self.whom.agents):
            return True
        return card.has_messages and not any(self._direct(card))

    def masked(self, masks: Iterable[str]) -> list[str]:
        """Return the columns, as `table.column`, that would tell whose rows are, but were masked by a load.

        Args:
            masks: the masks of the loads, as in load_log.
        """
        whom = self.whom
        telling = {"conversation_id", "run_id"} if whom.conversations else set()
        if whom.identities:
            telling |= {"sender_id", "run_id", "identity_ids", "identities"}
        found = {
            f"{card.name}.{column}"
            for masking in map(logged_masking, dict.fromkeys(masks))
            for card in self._cards
            for column, how in actions_of(masking, card.name, card.root).items()
            if how != "keep" and (column in telling or (whom.agents and column == card.agent_column))
        }
        return sorted(found)

    def kept_ids(self, parts: Iterable[MatchingRows]) -> dict[str, list[str]]:
        """Return the ids by which later loads leave out these rows, by kind."""
        whom = self.whom
        messages = dict.fromkeys(self.messages)
        for part in parts:
            # Nothing else tells a load whose the messages in such a table are.
            if part.rank == 1:
                messages |= dict.fromkeys(self._ids(part.table, "id", part.condition, part.values))
        items = [
            one
            for part in parts
            if part.table.name in RESOURCES and self._owners(RESOURCES[part.table.name])
            for one in self._ids(part.table, "id", part.condition, part.values)
        ]
        return {
            "agent": [*whom.agents],
            "conversation": [*whom.conversations],
            "identity": [*whom.identities],
            "run": self.runs,
            "message": list(messages),
            "item": items,
        }

    def count(self, part: MatchingRows) -> int:
        """Return the number of rows."""
        table = self._reader.table(part.table.name)
        sql = f"SELECT count(*) AS found FROM {table} WHERE {part.condition} ORDER BY 1"
        return int(query(self._reader, sql, [bigint("found", "")], part.values)[0]["found"])

    def keys(self, part: MatchingRows) -> list[dict[str, Any]]:
        """Return the distinct keys of the rows."""
        columns: list[Column] = [text(name, "", nullable=False) for name in part.key]
        names = ", ".join(self._column(part.table, name) for name in part.key)
        sql = (
            f"SELECT DISTINCT {names} FROM {self._reader.table(part.table.name)} WHERE {part.condition}"
            f" ORDER BY {names}"
        )
        return query(self._reader, sql, columns, part.values)

    def _ids(self, table: Table, column: str, condition: str, values: Sequence[str]) -> list[str]:
        name = self._column(table, column)
        sql = (
            f"SELECT DISTINCT {name} FROM {self._reader.table(table.name)}"
            f" WHERE ({condition}) AND {name} IS NOT NULL ORDER BY {name}"
        )
        return [row[column] for row in query(self._reader, sql, [text(column, "")], values)]

    def _hanging(self, child: Table, root: Table, condition: str) -> str:
        pairs = zip(child.merge_key, root.merge_key, strict=True)
        on = " AND ".join(f"{self._column(root, its)} = {self._column(child, mine)}" for mine, its in pairs)
        return f"EXISTS (SELECT 1 FROM {self._reader.table(root.name)} WHERE {on} AND ({condition}))"

    def _in(self, table: Table, column: str, ids: Sequence[str]) -> Condition:
        return f"{self._column(table, column)} IN ({', '.join(['%s'] * len(ids))})", [*ids]

    def _column(self, table: Table, name: str) -> str:
        return f"{self._reader.table(table.name)}.{self._reader.column(name)}"

    def _columns_of(self, table: Table) -> frozenset[str]:
        return self._reader.columns_of(table.name) if has_table(self._reader, table.name) else frozenset()


def _either(conditions: Sequence[Condition]) -> Condition:
    return " OR ".join(sql for sql, _ in conditions), [one for _, values in conditions for one in values]


def _ids_in(ids: Any, objects: Any) -> set[str]:
    """Return the ids in two json columns: a list of ids, and a list of objects with an id each."""
    found: set[str] = set()
    for value in (ids, objects):
        parsed = json.loads(value) if isinstance(value, str) else value
        for one in parsed if isinstance(parsed, list) else ():
            id_ = one.get("id") if isinstance(one, dict) else one
            found |= {id_} if isinstance(id_, str) else set()
    return found
