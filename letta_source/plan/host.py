"""The endpoints of the host's lists, and a check for a list of steps."""

from __future__ import annotations

from datetime import timedelta

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError, Verdict, is_missing
from letta_source.errors import Unreadable
from letta_source.paging.pages import Endpoint
from letta_source.schema.card import Params, Resource
from letta_source.schema.resources import RESOURCES
from letta_source.settings import Settings
from letta_source.state.resource_state import ResourceState
from letta_source.times import earlier


def list_endpoint(card: Resource, settings: Settings, key: str = "", part: Params | None = None) -> Endpoint:
    """Return the endpoint of a resource's list.

    Args:
        key: The agent that the list is limited to, if it can be.
        part: One of the card's `parts`.
    """
    params = {**card.params, **(part or {}), **({"agent_id": key} if key else {})}
    if not card.dated:
        # Items have no date to compare with the window, so the server's own filter applies it.
        if settings.start_date:
            # The server excludes items created exactly at start_date.
            params["start_date"] = earlier(settings.start_date, timedelta(microseconds=1)).isoformat()
        if settings.end_date:
            params["end_date"] = settings.end_date.isoformat()
    return Endpoint(
        card.path,
        params,
        card.page_size or settings.page_size,
        card.family,
        card.dated,
        card.fragile_include,
        card.nil_cursor,
    )


def runs_endpoint(settings: Settings, key: str) -> Endpoint:
    """Return the endpoint of the list of runs, through which other items are found."""
    return list_endpoint(RESOURCES["runs"], settings, key)


async def lists_steps(client: Client, state: ResourceState) -> bool:
    """Return True if this host answers `/v1/steps/`; asked once per load.

    Raises:
        Unreadable: its error does not tell.
    """
    host, path = state.session.host, RESOURCES["steps"].path
    if host.lists_steps is None and state.asks_for_changes and state.changes.lacks_step_list:
        # The next sweep asks again.
        host.miss_step_list(None)
    if host.lists_steps is None:
        try:
            await client.get(path, {"order": "asc", "limit": 1}, shape="list", may_lack=True)
        except RequestFailed as error:
            # A self-hosted server always answers 400.
            if not (is_missing(error) or (isinstance(error, StatusError) and error.verdict is Verdict.ERROR)):
                raise Unreadable(f"{path}: {error}") from error
            host.miss_step_list(error if is_missing(error) else None)
        else:
            host.lists_steps = True
    state.changes.note(lacks_step_list=not host.lists_steps and not host.no_steps)
    return bool(host.lists_steps)
