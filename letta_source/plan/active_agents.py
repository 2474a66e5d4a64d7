"""Agents with news, by four signals of the server, and the proof that none was missed.

No single signal names all of them: a turn moves an agent's `updated_at`, except in a conversation that is not
streamed; compacting a conversation moves nothing. So each new message in the list of all messages must have
been loaded in the end; otherwise all agents are asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, is_gone
from letta_source.items import ids_of
from letta_source.paging.walk import Page
from letta_source.plan.job import Events, Job
from letta_source.plan.newest import changed_since
from letta_source.plan.news import News, mark_newest, news_since
from letta_source.schema.resources import RESOURCES
from letta_source.state.resource_state import ResourceState

logger = logging.getLogger(__name__)

# The most runs or messages to look up one by one; beyond that, all agents are asked instead.
_MOST_LOOKED_UP = 100

MakeJob = Callable[[str], Job]
"""Takes an agent's id, returns the job that reads its messages."""


@dataclass
class _Found:
    """Agents with news.

    Attributes:
        agents: their ids, of all shards.
        messages: ids of new messages.
        unclaimed: ids of those that name no run: their agent is known only once they are loaded.
    """

    agents: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    unclaimed: set[str] = field(default_factory=set)


async def jobs_of_active(
    client: Client, state: ResourceState, make: MakeJob, all_agents: Callable[[], AsyncIterator[str]]
) -> AsyncIterator[Job]:
    """Yield a job for each agent of this shard that may have news; for every agent if that cannot be told.

    Args:
        all_agents: lists all agents of this shard.
    """
    if not state.tracks_changes:
        async for agent_id in all_agents():
            yield make(agent_id)
        return
    found = await _find(client, state)
    if found is None or not state.asks_for_changes:
        async for job in _all(client, state, make, all_agents, found):
            yield job
        return
    changes, watch = state.changes, _Watch(found.unclaimed)
    own = set(filter(state.settings.shard.owns, found.agents | set(changes.open)))
    for agent_id in sorted(own):
        yield watch.watched(make(agent_id))
    await watch.all_done()
    left = watch.left - set(changes.proven)
    if left and not await _explained(client, state, left, found.agents - own):
        logger.info(
            "agent_messages: %s new messages could not be assigned to an agent: reading all agents",
            f"{len(left):,}",
        )
        async for agent_id in all_agents():
            if agent_id not in own:
                yield watch.watched(make(agent_id))
        await watch.all_done()
    elif changes.since:
        state.session.host.active_agents = changes.since, found.agents | set(changes.open)
    changes.note(proven=sorted(found.unclaimed - (watch.left - set(changes.proven))))


async def _all(
    client: Client,
    state: ResourceState,
    make: MakeJob,
    all_agents: Callable[[], AsyncIterator[str]],
    found: _Found | None,
) -> AsyncIterator[Job]:
    """Yield a job for each agent, and count what the signals would have missed."""
    # Before any agent is read, so that the next load lists whatever comes later.
    await mark_newest(client, state)
    beyond = found.unclaimed if found else state.changes.tail
    watch, missed = _Watch(beyond), _Watch(found.messages if found else set())
    signalled = found.agents | set(state.changes.open) if found else set()
    async for agent_id in all_agents():
        job = watch.watched(make(agent_id))
        yield job if agent_id in signalled else missed.watched(job)
    await watch.all_done()
    state.changes.note(proven=sorted(beyond - watch.left))
    if found:
        state.missed = len(found.messages - missed.left)
    if state.missed:
        logger.info(
            "agent_messages: the sweep found %s messages that no change signal reported", f"{state.missed:,}"
        )


async def _find(client: Client, state: ResourceState) -> _Found | None:
    """Return the agents that the signals name; None if they cannot tell."""
    since = state.changes.since
    news = await news_since(client, state) if since else None
    if news is None or since is None:
        return None
    found = _Found(messages=set(news.run_of))
    if not news.run_of:
        return found
    for card in RESOURCES.values():
        for by in card.changed_by:
            changed = await changed_since(client, state.session.host, card, by, since)
            if changed is None:
                return None
            named = (item.get(card.agent_column) for item in changed)
            found.agents |= {agent_id for agent_id in named if isinstance(agent_id, str)}
    agent_of = await _agents_of_runs(client, state, news)
    if agent_of is None:
        return None
    found.agents |= {agent for agent in agent_of.values() if agent}
    by_agent = state.session.host.named
    for message_id, run_id in news.run_of.items():
        if agent_id := agent_of.get(run_id or ""):
            by_agent.setdefault(agent_id, set()).add(message_id)
    found.unclaimed = {one for one, run in news.run_of.items() if run is None}
    return found


async def _agents_of_runs(client: Client, state: ResourceState, news: News) -> dict[str, str | None] | None:
    """Map each run to its agent, or to None if the run is gone or another organization's."""
    host, since = state.session.host, state.changes.since
    wanted = {run for run in news.run_of.values() if run}
    agent_of: dict[str, str | None] = {}

    def note(runs: Iterable[dict[str, object]]) -> None:
        for run in runs:
            run_id, agent_id = str(run.get("id")), run.get("agent_id")
            if run_id in wanted and isinstance(agent_id, str):
                agent_of[run_id] = agent_id

    card = RESOURCES["runs"]
    for (path, _, _), runs in list(host.lists.items()):
        if path == card.path:
            note(runs)
    if len(wanted - agent_of.keys()) > 1 and since:
        note(await changed_since(client, host, card, "created_at", since) or ())
    left = wanted - agent_of.keys()
    if len(left) > _MOST_LOOKED_UP:
        return None
    for run_id in left:
        try:
            note([await client.get(card.path_of(run_id), shape="object")])
        except RequestFailed as error:
            if not is_gone(error):
                return None
            agent_of[run_id] = None
    return agent_of if wanted <= agent_of.keys() else None


async def _explained(client: Client, state: ResourceState, left: set[str], elsewhere: Iterable[str]) -> bool:
    """Return True if the messages that were not loaded are gone, or belong to agents of other shards.

    Args:
        elsewhere: agents with news that other shards read.
    """
    cursor = state.changes.cursor
    for agent_id in sorted(elsewhere):
        if left and cursor and cursor[1]:
            path = RESOURCES["agent_messages"].path_of(agent_id)
            # Any message's id is a cursor in any agent's list.
            try:
                page = await client.get(
                    path, {"order": "asc", "limit": 1000, "after": cursor[1]}, shape="list"
                )
            except RequestFailed:
                continue
            left -= set(ids_of(page))
    if len(left) > _MOST_LOOKED_UP:
        return False
    for message_id in sorted(left):
        try:
            await client.get(f"{RESOURCES['messages'].path}{message_id}")
        except RequestFailed as error:
            if not is_gone(error):
                return False
        else:
            return False
    return True


class _Watch:
    """Record of the messages that the jobs have yet to yield, and of when all jobs are done."""

    def __init__(self, messages: set[str]) -> None:
        self.left = set(messages)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def watched(self, job: Job) -> Job:
        self._running += 1
        self._idle.clear()

        async def events(client: Client) -> Events:
            try:
                async for parent_id, event in job.events(client):
                    if isinstance(event, Page):
                        self.left.difference_update(ids_of(event.items))
                    yield parent_id, event
            finally:
                self._running -= 1
                if not self._running:
                    self._idle.set()

        return replace(job, events=events)

    async def all_done(self) -> None:
        await self._idle.wait()
