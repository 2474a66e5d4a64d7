"""Read the warehouse for verify: an agent's rows, and facts about past loads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from letta_source.destinations.dlt_internals import began
from letta_source.errors import ConfigError
from letta_source.export.query import LOADS, Queries, Reader
from letta_source.export.readers import has_table
from letta_source.export.selection import agent_of, date_of, select
from letta_source.export.stream import query
from letta_source.export.values import widened
from letta_source.schema.card import Resource
from letta_source.schema.columns import text, timestamp
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_LOG, Table
from letta_source.settings import Settings


@dataclass
class Scope:
    """The resources that were loaded.

    Attributes:
        of_agents: those compared agent by agent.
        others: those compared as a whole.
        not_compared: why the others cannot be compared, by name.
    """

    of_agents: list[Resource] = field(default_factory=list)
    others: list[Resource] = field(default_factory=list)
    not_compared: dict[str, str] = field(default_factory=dict)

    def only(self, names: Sequence[str]) -> Scope:
        """Return the scope limited to these resources."""
        of_agents, others = (
            [one for one in cards if one.name in names] for cards in (self.of_agents, self.others)
        )
        return Scope(of_agents, others)


class Warehouse:
    """A dataset opened by a reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._log = has_table(reader, LOAD_LOG.name)
        self.now = reader.moment

    def resources(self, names: Sequence[str]) -> Scope:
        """Return the loaded resources, by how they can be compared.

        Args:
            names: wanted resources; empty for all.

        Raises:
            ConfigError: one of the names was not loaded, or cannot be compared.
        """
        scope = Scope()
        for card in RESOURCES.values():
            if not has_table(self._reader, card.name):
                continue
            if why := self._why_not(card):
                scope.not_compared[card.name] = why
            elif _is_of_agents(card):
                scope.of_agents.append(card)
            else:
                scope.others.append(card)
        known = [card.name for card in (*scope.of_agents, *scope.others)]
        for name in names:
            if why := scope.not_compared.get(name):
                raise ConfigError(f"{name} cannot be compared: {why}")
            if name not in known:
                raise ConfigError(f"{name} cannot be verified here: there are {', '.join(known) or 'none'}")
        return scope.only(names) if names else scope

    def _why_not(self, card: Resource) -> str | None:
        if card.needs:
            return "it holds search results"
        if card.no_agents and not card.is_timeless:
            return f"it is one list of everything, and {card.no_agents}"
        place = agent_of(card.root)
        via = None if place is None or isinstance(place, str) else place[1]
        if via and _is_of_agents(card) and not has_table(self._reader, via):
            return f"its agents are found by {via}: load these too"
        return None

    def ids(self, card: Resource) -> list[str]:
        """Return the ids in the first key column of the root table: those of items or of their parents."""
        name = card.root.primary_key[0]
        id_ = self._reader.column(name)
        sql = f"SELECT DISTINCT {id_} FROM {self._reader.table(card.name)} ORDER BY {id_}"
        return [row[name] for row in query(self._reader, sql, [text(name, "")])]

    def agents(self, cards: Iterable[Resource]) -> list[str]:
        """Return the ids of the agents that rows belong to."""
        found: dict[str, None] = {}
        for card in cards:
            if isinstance(place := agent_of(card.root), str):
                column = self._reader.column(place)
                sql = (
                    f"SELECT DISTINCT {column} FROM {self._reader.table(card.name)}"
                    f" WHERE {column} IS NOT NULL ORDER BY {column}"
                )
                found.update(dict.fromkeys(row[place] for row in query(self._reader, sql, [text(place, "")])))
        return list(found)

    def rows(self, card: Resource, agent_id: str | None, settings: Settings) -> dict[str, pa.Table]:
        """Return the rows of finished loads by table, with the columns that exist.

        Args:
            agent_id: whose rows; None for all.
        """
        within = settings.window and date_of(card.root) and not card.is_timeless
        dates: dict[str, Any] = (
            {"start_date": settings.start_date, "end_date": settings.end_date} if within else {}
        )
        whose = [agent_id] if agent_id else None
        return {table.name: self._rows(table, whose, dates) for table in card.tables}

    def _rows(self, table: Table, agent_ids: list[str] | None, dates: dict[str, Any]) -> pa.Table:
        selection = select(table.name, agent_ids=agent_ids, **dates)
        if (found := Queries(selection, self._reader).rows()) is None:
            return selection.schema.empty_table()
        query, columns = found
        schema = pa.schema([selection.schema.field(column.name) for column in columns])
        return pa.Table.from_batches(
            [widened(one, schema) for one in self._reader.stream(query, columns)], schema
        )

    def last_loads(self) -> dict[str, datetime]:
        """Map each resource to the start of the last run that read everything new in it."""
        if self._log:
            resource, began_at, outcome, mode = map(
                self._reader.column, ("resource", "began_at", "outcome", "mode")
            )
            sql = (
                f"SELECT {resource}, max({began_at}) AS {began_at} FROM {self._reader.table(LOAD_LOG.name)}"
                f" WHERE {outcome} IN ('loaded', 'incomplete') AND {mode} <> 'window'"
                f" GROUP BY {resource} ORDER BY {resource}"
            )
            rows = query(self._reader, sql, [text("resource", ""), timestamp("began_at", "")])
            if rows:
                return {row["resource"]: row["began_at"] for row in rows}
        last = max(self._loads(), default=None)
        return dict.fromkeys(RESOURCES, began(last)) if last else {}

    def _loads(self) -> list[str]:
        load_id, status = self._reader.column("load_id"), self._reader.column("status")
        sql = f"SELECT {load_id} FROM {self._reader.table(LOADS)} WHERE {status} = 0 ORDER BY {load_id}"
        return [row["load_id"] for row in query(self._reader, sql, [text("load_id", "")])]

    def masks(self) -> dict[str, str]:
        """Map each load id to the masks of its run."""
        if not self._log:
            return {}
        load_ids, masks = self._reader.column("load_ids"), self._reader.column("masks")
        sql = (
            f"SELECT DISTINCT {load_ids}, {masks} FROM {self._reader.table(LOAD_LOG.name)}"
            f" WHERE {load_ids} IS NOT NULL ORDER BY {load_ids}"
        )
        rows = query(self._reader, sql, [text("load_ids", ""), text("masks", "")])
        return {one: row["masks"] or "none" for row in rows for one in row["load_ids"].split(",")}


def _is_of_agents(card: Resource) -> bool:
    """Return True if the server sends its rows agent by agent."""
    limited = RESOURCES[card.parents] if card.parents else card
    return limited.limited_by != "items" and agent_of(card.root) is not None
