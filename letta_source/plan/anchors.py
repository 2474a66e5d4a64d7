"""Anchors: ids of messages from which those beyond an unreadable one can be reached.

The runs and steps of an agent list their own messages, and any message's id is a cursor in any agent's list
(self-hosted; elsewhere it is refused, and costs some requests).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from letta_source.api.client import Client
from letta_source.errors import FamilyMissing, ParentError
from letta_source.items import ids_of
from letta_source.paging.pages import Endpoint, Pages
from letta_source.paging.unreadable import AnchorIds
from letta_source.paging.walk import Page, walk_pages
from letta_source.plan.lists import has_id, runs_endpoint
from letta_source.schema.resources import RESOURCES
from letta_source.settings import Settings
from letta_source.times import created_at

# The most runs of other agents to look at for each unreadable message.
_MOST_OTHERS = 8


@dataclass(frozen=True)
class AgentAnchors:
    """Anchors in the list of an agent's messages; see `letta_source.paging.unreadable.Anchors`.

    Args:
        since: when the item under the cursor was created, if the walk has not met it.
    """

    client: Client
    settings: Settings
    agent_id: str
    since: datetime | None

    async def own(self, reached: Mapping[str, Any] | None) -> AnchorIds:
        """Yield ids of messages, from the cursor's run onward, roughly in the list's order."""
        since = self._since(reached)
        seen: set[str] = set()
        lies_in = reached.get("run_id") if reached else None
        begun: Mapping[str, Any] | None = {"id": lies_in} if isinstance(lies_in, str) else None
        async for run in self._runs(self.agent_id):
            time = created_at(run)
            if time is None:
                continue
            if since and time < since:
                # The cursor may lie in the last run that had begun by then.
                begun = run if not isinstance(lies_in, str) else begun
                continue
            for one in (begun, run):
                if one and one["id"] not in seen:
                    seen.add(one["id"])
                    async for message_id in self._of_run(one["id"]):
                        yield message_id
        if begun and begun["id"] not in seen:
            async for message_id in self._of_run(begun["id"]):
                yield message_id

    async def others(self, reached: Mapping[str, Any] | None, until: datetime | None) -> AnchorIds:
        """Yield ids of other agents' messages, from runs that began between the cursor and `until`."""
        since, left = self._since(reached), _MOST_OTHERS
        async for run in self._runs(""):
            time = created_at(run)
            if time is None or run.get("agent_id") == self.agent_id or (since and time < since):
                continue
            if not left or (until and time > until):
                return
            left -= 1
            path = RESOURCES["runs"].path_of(run["id"])
            for order in ("asc", "desc"):
                async for message_id in self._end_of(f"{path}/messages", order):
                    yield message_id

    def _since(self, reached: Mapping[str, Any] | None) -> datetime | None:
        return (created_at(reached) if reached else None) or self.since

    async def _runs(self, key: str) -> AsyncIterator[Mapping[str, Any]]:
        # Without runs, there is still the way back from the newest message.
        with suppress(FamilyMissing, ParentError):
            async for event in walk_pages(self.client, runs_endpoint(self.settings, key)):
                for run in event.items if isinstance(event, Page) else ():
                    if has_id(run):
                        yield run

    async def _of_run(self, run_id: str) -> AnchorIds:
        """Yield the first message of a run, the first of each of its steps, and the last."""
        path = RESOURCES["runs"].path_of(run_id)
        async for message_id in self._end_of(f"{path}/messages", "asc"):
            yield message_id
        for step in await Pages(self.client, Endpoint(f"{path}/steps")).tried({}) or ():
            if has_id(step):
                async for message_id in self._end_of(RESOURCES["step_messages"].path_of(step["id"]), "asc"):
                    yield message_id
        async for message_id in self._end_of(f"{path}/messages", "desc"):
            yield message_id

    async def _end_of(self, path: str, order: str) -> AnchorIds:
        with suppress(ParentError):
            found = await Pages(self.client, Endpoint(path, page_size=1)).tried({}, order)
            for message_id in ids_of(found or ())[:1]:
                yield message_id
