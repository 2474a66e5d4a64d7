"""Read the server for verify: with the walks and rows of a load, but without state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, is_gone
from letta_source.errors import ConfigError, Unreadable
from letta_source.extract.collect import extract
from letta_source.loading.preflight import check_reachable, in_own_thread
from letta_source.plan.lists import list_endpoint, listed
from letta_source.schema.card import Resource
from letta_source.schema.resources import RESOURCES
from letta_source.state.host import Host
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session

if TYPE_CHECKING:
    import pyarrow as pa

Answer = TypeVar("Answer")
# Requests queued at once.
_TOGETHER = 1000


class ServerReader:
    """A Letta server, read agent by agent.

    Args:
        session: has the settings, except which agents to read.
        adds_only: the destination is append-only: leave out items that a load would still hold back.
    """

    def __init__(self, session: Session, adds_only: bool) -> None:
        self._settings = session.settings
        self._session = session
        self._adds_only = adds_only
        session.enter("")

    def agents(self) -> tuple[list[str], str | None]:
        """Return the ids of all agents, and a reason if some may be missing."""
        found: list[str] = []

        async def ask(client: Client) -> str | None:
            endpoint = list_endpoint(RESOURCES["agents"], self._settings)
            try:
                async for agent, _ in listed(client, self._session.host, endpoint):
                    found.append(agent["id"])
            except Unreadable as error:
                return str(error)
            return None

        return found, self._run(ask)

    def choose(self, agent_id: str | None, batch_ids: Sequence[str] = ()) -> None:
        """Read this agent from now on, or all; keep facts about the host, forget its lists.

        Args:
            batch_ids: batches to request one by one, as the server lists no finished batch.
        """
        host = self._session.host
        agent_ids = (agent_id,) if agent_id else ()
        chosen = {"agent_ids": agent_ids, "batch_ids": tuple(batch_ids)}
        self._session.settings = self._settings.model_copy(update=chosen)
        self._session.host = Host(
            host.base_url, missing=host.missing, lists_steps=host.lists_steps, no_steps=host.no_steps
        )

    def assert_known(self, agent_id: str, is_gone: bool) -> None:
        """Check the chosen agent, which was asked for and of which neither side has rows.

        Raises:
            ConfigError: it is gone, or the server refuses the id, so that nothing was compared.
            Unreachable: the server cannot return it.
        """
        if is_gone:
            raise ConfigError(f"neither the server nor the warehouse knows agent {agent_id}")
        check_reachable(self._session.settings, self._session.server)

    def rows(self, card: Resource) -> Iterator[tuple[str, pa.Table]]:
        """Yield the tables that a load of the agent would write, and load_issues; see `lacks`."""
        state = ResourceState(self._session, {}, self._adds_only)
        counts = self._session.begin(card.name)
        loaded = (lambda parent_id: set[str]()) if self._adds_only else None
        for tables in extract(card, state, counts, tombstones=False, loaded=loaded):
            yield from tables

    def lacks(self, card: Resource) -> str | None:
        """Return why a resource was not read at all; None if it was read."""
        return self._session.counts[card.name].skipped

    def gone(self, paths: Sequence[str]) -> set[str]:
        """Return the paths for which Letta itself answers twice that they do not exist."""

        async def ask(client: Client) -> set[str]:
            left: Collection[str] = paths
            for _ in range(2):
                left = await _gone_now(client, list(left))
            return set(left)

        return self._run(ask) if paths else set()

    def _run(self, ask: Callable[[Client], Awaitable[Answer]]) -> Answer:
        async def asked() -> Answer:
            async with Client(self._settings, server=self._session.server) as client:
                return await ask(client)

        return in_own_thread(asked)


async def _gone_now(client: Client, paths: list[str]) -> list[str]:
    found: list[str] = []
    for begin in range(0, len(paths), _TOGETHER):
        part = paths[begin : begin + _TOGETHER]
        answers = await asyncio.gather(*(_is_gone(client, path) for path in part))
        found += [path for path, is_gone_ in zip(part, answers, strict=True) if is_gone_]
    return found


async def _is_gone(client: Client, path: str) -> bool:
    try:
        # An unreadable message returns 500: there is no need to retry it often.
        await client.get(path, page_retries=1, may_lack=True)
    except RequestFailed as error:
        return is_gone(error)
    return False
