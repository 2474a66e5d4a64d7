"""Compare the server with the warehouse, agent by agent."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from letta_source.destinations.capabilities import capabilities_of
from letta_source.destinations.existing_rows import erased_ids
from letta_source.errors import ConfigError, ParentGone
from letta_source.export.readers import open_reader
from letta_source.loading.dataset import reading
from letta_source.loading.preflight import check_reachable
from letta_source.loading.target import Target
from letta_source.operate import DIFFERENCES
from letta_source.operate.compare import Comparison, Key, Tally
from letta_source.operate.server import ServerReader
from letta_source.operate.value_differences import Hiding, shown_since_last
from letta_source.operate.warehouse import Warehouse
from letta_source.schema.card import Resource
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES
from letta_source.state.session import Session

GoneRows = dict[str, list[Key]]
"""Keys of rows that Letta says are gone, by root table."""


@dataclass
class Agent:
    """The comparison of one agent; without an id, of everything that belongs to no single agent.

    Attributes:
        tables: tallies by table, of compared tables only.
        is_gone: Letta says that there is no such agent.
        problems: why something of it could not be read.
    """

    agent_id: str
    tables: dict[str, Tally] = field(default_factory=dict)
    gone_rows: GoneRows = field(default_factory=dict)
    is_gone: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """True if server and warehouse differ."""
        return any(tally.differences for tally in self.tables.values())

    def resources(self, kinds: Iterable[str] = DIFFERENCES) -> set[str]:
        """Return the resources with rows of these kinds."""
        kinds = set(kinds)
        return {
            name.partition("__")[0]
            for name, tally in self.tables.items()
            if any(tally.counts[kind] for kind in kinds)
        }


@dataclass
class Totals:
    """The sums over all compared agents.

    Attributes:
        agents: how many.
        others: the comparison of what belongs to no single agent, if there was one.
        differ: the agents that differ; no others are kept.
        rows: how many the warehouse holds in root tables.
        gone: how many of these the server no longer has.
        counts: rows by kind, as in `Tally`.
        hidden: columns that were not compared, as `table.column`.
    """

    agents: int = 0
    others: Agent | None = None
    differ: list[Agent] = field(default_factory=list)
    rows: int = 0
    gone: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    hidden: set[str] = field(default_factory=set)

    def add(self, agent: Agent) -> None:
        """Add an agent."""
        if agent.agent_id:
            self.agents += 1
        else:
            self.others = agent
        if agent.differs:
            self.differ.append(agent)
        self.gone += sum(map(len, agent.gone_rows.values()))
        for name, tally in agent.tables.items():
            self.rows += tally.rows if name in RESOURCES else 0
            self.counts.update(tally.counts)
            self.hidden.update(f"{name}.{column}" for column in tally.hidden)


class Verification:
    """A context manager that opens the server and the warehouse to compare them.

    Args:
        session: has the settings of the source.
        resources: names; empty for all that were loaded and can be compared.

    Raises:
        ConfigError: nothing was loaded, or a resource cannot be verified.
        FatalError: the server cannot be read.
    """

    def __init__(self, target: Target, session: Session, resources: Sequence[str] = ()) -> None:
        self._target = target
        self._session = session
        self._names = resources
        self._settings = session.settings
        self._listed: frozenset[str] = frozenset()

    def __enter__(self) -> Verification:
        # Agents are requested one by one: a missing one is a result, not an error.
        everyone = self._settings.model_copy(update={"agent_ids": (), "batch_ids": ()})
        with ExitStack() as stack:
            pipeline = stack.enter_context(reading(self._target))
            capabilities = capabilities_of(pipeline, self._settings)
            self._session.before.erased = erased_ids(pipeline)
            reader = stack.enter_context(open_reader(pipeline, _folder(stack)))
            # Rows that can only be added cannot be repaired.
            self.can_repair = not reader.appends
            if capabilities.writes == "append" and self.can_repair:
                raise ConfigError("these tables are Delta or Iceberg: give --table-format, as to `run`")
            self._warehouse = Warehouse(reader)
            self._scope = self._warehouse.resources(self._names)
            self._longest, self._writes = capabilities.longest_text, capabilities.writes
            self._since = self._warehouse.last_loads()
            masks = self._warehouse.masks()
            self._hiding = {
                card.name: Hiding(card, self._settings, masks, self._longest)
                for card in (*self._scope.of_agents, *self._scope.others)
            }
            self.shown = shown_since_last(self._hiding.values(), masks)
            check_reachable(everyone, self._session.server)
            self._server = ServerReader(self._session, adds_only=self._writes == "append")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.settings = self._settings
        self._stack.__exit__(kind, error, trace)

    def moment(self, time: datetime) -> Any:
        """Return a time in the destination's form."""
        return self._warehouse.now(time)

    def agents(self, sample: int | None = None) -> tuple[list[str], str | None]:
        """Return the agents to compare, and a reason if some may be missing.

        They are those of the settings, else all that the server or the warehouse has.

        Args:
            sample: how many of them to choose at random.
        """
        why = None
        found = list(self._settings.agent_ids)
        if not self._scope.of_agents:
            return [], None
        if not found:
            listed, why = self._server.agents()
            self._listed = frozenset(listed)
            found = list(dict.fromkeys([*listed, *self._warehouse.agents(self._scope.of_agents)]))
            found = [one for one in found if self._settings.shard.owns(one)]
        found = [one for one in found if one not in self._session.before.erased]
        if sample is not None and sample < len(found):
            found = random.sample(found, sample)
        return found, why

    def compare(self, agent_ids: Iterable[str]) -> Iterator[Agent]:
        """Yield each agent once it is compared; only one is held in memory at a time.

        Raises:
            ConfigError: neither side knows an agent of the settings, or the server refuses its id.
        """
        for agent_id in agent_ids:
            agent = self._compared(agent_id)
            if agent_id in self._settings.agent_ids and not any(one.rows for one in agent.tables.values()):
                self._server.assert_known(agent_id, is_gone=agent.is_gone or not agent.tables)
            yield agent

    def not_compared(self, is_limited: bool) -> dict[str, str]:
        """Map the name of each resource that was loaded but is not compared to the reason.

        Args:
            is_limited: only some agents are compared.
        """
        found = dict(self._scope.not_compared)
        if is_limited:
            why = "it is of no single agent: leave out --agent-id and --sample"
            found |= dict.fromkeys((card.name for card in self._scope.others), why)
        return found

    def compare_others(self) -> Agent | None:
        """Compare what belongs to no single agent; return None if none of it was loaded, or for a shard."""
        if not (self._scope.others and self._settings.shard.is_whole):
            return None
        others = Agent("")
        self._server.choose(None, self.batch_ids())
        self._compare_each(others, self._scope.others)
        return others

    def batch_ids(self) -> list[str]:
        """Return the batches that the warehouse holds."""
        by_batch = (card for card in self._scope.others if card.is_of_batches)
        return list(dict.fromkeys(one for card in by_batch for one in self._warehouse.ids(card)))

    def _compared(self, agent_id: str) -> Agent:
        agent = Agent(agent_id)
        self._server.choose(agent_id)
        path = RESOURCES["agents"].path_of(agent_id)
        agent.is_gone = agent_id not in self._listed and bool(self._server.gone([path]))
        self._compare_each(agent, self._scope.of_agents)
        return agent

    def _compare_each(self, agent: Agent, cards: Iterable[Resource]) -> None:
        changed: dict[str, set[str]] = {}
        for card in cards:
            # Before the server: what arrives meanwhile is newer than the last load, not extra.
            held = self._warehouse.rows(card, agent.agent_id or None, self._settings)
            since = self._since.get(card.name)
            if since and self._writes == "append":
                # Loads hold younger items back.
                since -= self._settings.lag
            comparison = Comparison(
                card, held, self._hiding[card.name], since, changed, self._longest, self._writes != "replace"
            )
            agent.tables.update(comparison.tallies)
            self._compare(agent, card, comparison)

    def _compare(self, agent: Agent, card: Resource, comparison: Comparison) -> None:
        if agent.is_gone and (card is RESOURCES["agents"] or card.hangs_from_agents):
            # Requests for its messages would only answer that there is no such agent.
            gone = comparison.absent()
            incomplete = False
        else:
            incomplete = self._read(agent, card, comparison)
            if lacks := self._server.lacks(card):
                agent.problems.append(f"{card.name}: {lacks}")
                for table in card.tables:
                    del agent.tables[table.name]
                return
            absent = comparison.absent()
            # No list returns the remains of a deleted agent, such as steps without their run.
            is_left = agent.is_gone and not incomplete
            gone = absent if is_left else self._gone(card, absent, incomplete)
        comparison.end(set(gone), incomplete)
        if gone:
            agent.gone_rows[card.name] = gone

    def _read(self, agent: Agent, card: Resource, comparison: Comparison) -> bool:
        """Compare what the server sends; return True if it could not send everything."""
        incomplete = False
        for name, rows in self._server.rows(card):
            if name != LOAD_ISSUES.name:
                comparison.take(name, rows)
                continue
            for issue in rows.to_pylist():
                incomplete = True
                if not agent.agent_id and issue["kind"] == ParentGone.kind:
                    # Batches were requested by their ids; `_gone` checks them next.
                    continue
                between = (
                    f" between {issue['after_id']} and {issue['before_id']}" if issue["after_id"] else ""
                )
                agent.problems.append(f"{card.name}: {issue['kind']}{between}: {issue['detail'] or ''}")
        return incomplete

    def _gone(self, card: Resource, keys: list[Key], incomplete: bool) -> list[Key]:
        """Return those of the keys that Letta says are gone.

        Args:
            incomplete: not everything was read.
        """
        if card.tells_gone:
            return [] if incomplete else keys
        # A message is requested by its id, whatever list it is in.
        one = RESOURCES["messages"] if card.has_messages else card
        at = card.root.primary_key.index("id")
        paths: Mapping[str, str] = {key[at]: one.path_of(key[at]) for key in keys}
        gone = self._server.gone(list(paths.values()))
        return [key for key in keys if paths[key[at]] in gone]


def _folder(stack: ExitStack) -> Path:
    """Return a folder for what DuckDB cannot hold in memory; with it the file is opened read-only."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="letta-verify-")))
