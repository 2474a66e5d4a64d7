"""The host's lists, as they are asked for, and whether it has a list of steps."""

from __future__ import annotations

from datetime import timedelta

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError
from letta_source.errors import Unreadable
from letta_source.paging.pages import Endpoint, is_gone
from letta_source.settings import Settings
from letta_source.state.host import Host
from letta_source.state.overlap import earlier

Params = dict[str, str | int]

# The smallest relation set, 4 kB an agent instead of 26 kB; hidden agents talk too.
AGENT_PARAMS: Params = {"include": "agent.managed_group", "show_hidden_agents": "true"}
_GROUP_PARAMS: Params = {"show_hidden_groups": "true"}
# With the default rendering, which items come back depends on where the pages fall.
LOSSLESS: Params = {"use_assistant_message": "false"}
# Steps, conversations and all messages have no `use_assistant_message`: a fixed page size makes it the same.
FIXED_PAGE = 1000
# Where `/v1/steps/` is missing; self-hosted it always answers 400.
_NO_STEP_LIST = {400, 404, 405}


def agents_endpoint(settings: Settings) -> Endpoint:
    return Endpoint("/v1/agents/", AGENT_PARAMS, settings.page_size, "agents")


def groups_endpoint(settings: Settings) -> Endpoint:
    return Endpoint("/v1/groups/", _GROUP_PARAMS, settings.page_size, "groups")


def conversations_endpoint(settings: Settings, key: str) -> Endpoint:
    return Endpoint("/v1/conversations/", _of_agent(key), settings.page_size, "conversations")


def batches_endpoint(settings: Settings) -> Endpoint:
    return Endpoint("/v1/messages/batches", {}, settings.page_size, "batches")


def runs_endpoint(settings: Settings, key: str) -> Endpoint:
    return Endpoint("/v1/runs/", _of_agent(key), settings.page_size, "runs")


def steps_endpoint(settings: Settings, key: str) -> Endpoint:
    """Steps have no date that a window could be held to: the server's own filter does it."""
    params = _of_agent(key)
    if settings.start_date:
        # The server leaves out what was created at the very start_date.
        params["start_date"] = earlier(settings.start_date, timedelta(microseconds=1)).isoformat()
    if settings.end_date:
        params["end_date"] = settings.end_date.isoformat()
    return Endpoint("/v1/steps/", params, settings.page_size, "steps", dated=False)


def _of_agent(key: str) -> Params:
    return {"agent_id": key} if key else {}


async def lists_steps(client: Client, host: Host) -> bool:
    """True if this host answers `/v1/steps/`; asked once a load.

    Raises:
        Unreadable: it answers with an error that says neither.
    """
    if host.lists_steps is None:
        try:
            await client.get("/v1/steps/", {"order": "asc", "limit": 1})
        except RequestFailed as error:
            if not isinstance(error, StatusError) or error.status not in _NO_STEP_LIST:
                raise Unreadable(f"/v1/steps/: {error}") from error
            host.miss_step_list(error if is_gone(error) else None)
        else:
            host.lists_steps = True
    return bool(host.lists_steps)
