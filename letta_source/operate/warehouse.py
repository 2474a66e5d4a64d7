"""The warehouse, as verify reads it: an agent's rows, and what the loads into it were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from letta_source.destinations.dlt_internals import began
from letta_source.errors import ConfigError
from letta_source.export.query import LOADS, Queries, Reader
from letta_source.export.readers import is_there
from letta_source.export.selection import agent_of, date_of, select
from letta_source.export.values import widened
from letta_source.operate.queries import asked
from letta_source.schema.card import Resource
from letta_source.schema.columns import text, timestamp
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_LOG, Table
from letta_source.settings import Settings


class Warehouse:
    """A dataset, opened by a reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._log = is_there(reader, LOAD_LOG.name)
        self.now = reader.moment

    def resources(self, names: Sequence[str]) -> list[Resource]:
        """Return the resources that are read agent by agent and were loaded.

        Args:
            names: those that are wanted; empty for all.

        Raises:
            ConfigError: one of the names is not among them.
        """
        found = [card for card in RESOURCES.values() if self._can_verify(card)]
        known = [card.name for card in found]
        for name in names:
            if name not in known:
                raise ConfigError(f"{name} cannot be verified here: there are {', '.join(known) or 'none'}")
        return [card for card in found if not names or card.name in names]

    def _can_verify(self, card: Resource) -> bool:
        place = agent_of(card.root)
        limited = RESOURCES[card.parents] if card.parents else card
        if card.no_agents or card.needs or limited.limited_by == "items" or not place:
            return False
        others = [] if isinstance(place, str) else [place[1]]
        return all(is_there(self._reader, name) for name in (card.name, *others))

    def agents(self, cards: Iterable[Resource]) -> list[str]:
        """Return the ids of the agents that rows are of."""
        found: dict[str, None] = {}
        for card in cards:
            if isinstance(place := agent_of(card.root), str):
                column = self._reader.column(place)
                sql = (
                    f"SELECT DISTINCT {column} FROM {self._reader.table(card.name)}"
                    f" WHERE {column} IS NOT NULL ORDER BY {column}"
                )
                found.update(dict.fromkeys(row[place] for row in asked(self._reader, sql, [text(place, "")])))
        return list(found)

    def rows(self, card: Resource, agent_id: str, settings: Settings) -> dict[str, pa.Table]:
        """Return by table the agent's rows of finished loads, with the columns that are there."""
        within = settings.window and date_of(card.root) and not card.is_timeless
        dates: dict[str, Any] = (
            {"start_date": settings.start_date, "end_date": settings.end_date} if within else {}
        )
        return {table.name: self._rows(table, agent_id, dates if within else {}) for table in card.tables}

    def _rows(self, table: Table, agent_id: str, dates: dict[str, Any]) -> pa.Table:
        selection = select(table.name, agent_ids=[agent_id], **dates)
        if (found := Queries(selection, self._reader).rows()) is None:
            return selection.schema.empty_table()
        query, columns = found
        schema = pa.schema([selection.schema.field(column.name) for column in columns])
        return pa.Table.from_batches(
            [widened(one, schema) for one in self._reader.stream(query, columns)], schema
        )

    def last_loads(self) -> dict[str, datetime]:
        """Return by resource when the last run began that read all of it that is new."""
        if self._log:
            resource, began_at, outcome, mode = map(
                self._reader.column, ("resource", "began_at", "outcome", "mode")
            )
            sql = (
                f"SELECT {resource}, max({began_at}) AS {began_at} FROM {self._reader.table(LOAD_LOG.name)}"
                f" WHERE {outcome} IN ('loaded', 'incomplete') AND {mode} <> 'window'"
                f" GROUP BY {resource} ORDER BY {resource}"
            )
            rows = asked(self._reader, sql, [text("resource", ""), timestamp("began_at", "")])
            if rows:
                return {row["resource"]: row["began_at"] for row in rows}
        last = max(self._loads(), default=None)
        return dict.fromkeys(RESOURCES, began(last)) if last else {}

    def _loads(self) -> list[str]:
        load_id, status = self._reader.column("load_id"), self._reader.column("status")
        sql = f"SELECT {load_id} FROM {self._reader.table(LOADS)} WHERE {status} = 0 ORDER BY {load_id}"
        return [row["load_id"] for row in asked(self._reader, sql, [text("load_id", "")])]

    def masks(self) -> dict[str, str]:
        """Return by load id the masks that it ran under."""
        if not self._log:
            return {}
        load_ids, masks = self._reader.column("load_ids"), self._reader.column("masks")
        sql = (
            f"SELECT DISTINCT {load_ids}, {masks} FROM {self._reader.table(LOAD_LOG.name)}"
            f" WHERE {load_ids} IS NOT NULL ORDER BY {load_ids}"
        )
        rows = asked(self._reader, sql, [text("load_ids", ""), text("masks", "")])
        return {one: row["masks"] or "none" for row in rows for one in row["load_ids"].split(",")}
