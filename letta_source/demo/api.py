"""Letta's REST API over a Letta in memory: requests in, answers out, no sockets."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlencode

from . import lists, message_lists
from .calls import Call, row_of
from .filters import conversations, not_ended, not_hidden, runs, steps
from .letta import Letta
from .lists import getter, lister, rank_in
from .pages import Listing, Problem, read_page
from .renderings import UnreadableMessageError
from .search import search
from .shapes import Json, recorded

Dialect = Literal["self-hosted", "cloud"]
Family = Literal[
    "health",
    "agents",
    "groups",
    "runs",
    "steps",
    "conversations",
    "batches",
    "messages",
    "blocks",
    "agent_blocks",
    "step_metrics",
    "tools",
    "identities",
    "archives",
    "passages",
]

_NOT_ON_CLOUD: frozenset[Family] = frozenset({"groups", "batches"})
_UNKNOWN_STEP = (404, "No Step found with id {}")


@dataclass(frozen=True)
class Answer:
    """An answer; `body` is JSON data, or None for an empty body."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """A path, the family it belongs to, and the handler that answers."""

    family: Family
    path: str
    handler: Callable[[Call], Any]
    method: str = "GET"

    def match(self, path: str) -> re.Match[str] | None:
        """Return the path's match, whatever the method."""
        return re.fullmatch(self.path.replace("{id}", "(?P<id>[^/]+)"), path)


def joined_params(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a query's parameters by name; the values of a repeated one are joined by commas."""
    params: dict[str, str] = {}
    for name, value in pairs:
        params[name] = f"{params[name]},{value}" if name in params else value
    return params


def answer(
    letta: Letta,
    dialect: Dialect,
    method: str,
    path: str,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    body: Any = None,
    *,
    api_key: str | None = None,
    missing: Collection[str] = (),
) -> Answer:
    """Answer one request.

    Args:
        letta: The Letta that answers.
        dialect: The dialect whose quirks to show.
        method: GET or POST.
        path: The path, decoded.
        params: The query's parameters.
        headers: The headers, with names in lower case.
        body: The decoded JSON of a POST.
        api_key: The key to require. Only the health check answers without it.
        missing: Families whose paths all answer 404.
    """
    routes = list(_routes_of(path))
    is_open = not api_key or any(route.family == "health" for route in routes)
    if not is_open and headers.get("authorization") != f"Bearer {api_key}":
        return Answer(401, {"detail": "Unauthorized"})
    cloud = dialect == "cloud"
    absent = {*missing, *(_NOT_ON_CLOUD if cloud else ())}
    routes = [route for route in routes if route.family not in absent]
    if not routes:
        return _redirect(path, params, headers, absent) or Answer(404, {"detail": "Not Found"})
    route = next((route for route in routes if route.method == method), None)
    if route is None:
        return Answer(405, {"detail": "Method Not Allowed"})
    match = route.match(path)
    parent_id = match.groupdict().get("id", "") if match else ""
    try:
        with letta.lock:
            return Answer(200, route.handler(Call(letta, cloud, params, body, parent_id)))
    except Problem as problem:
        return Answer(problem.status, problem.body)
    except UnreadableMessageError as error:
        detail = "An unknown error occurred" if error.status == 500 else str(error)
        return Answer(error.status, {"detail": detail})


@lru_cache(1024)
def _routes_of(path: str) -> tuple[Route, ...]:
    return tuple(route for route in ROUTES if route.match(path))


def _redirect(
    path: str, params: Mapping[str, str], headers: Mapping[str, str], absent: Collection[str]
) -> Answer | None:
    """Return the redirect to the full correct URL if a path has a slash too many or too few, else None."""
    other = path[:-1] if path.endswith("/") else f"{path}/"
    if all(route.family in absent for route in _routes_of(other)):
        return None
    query = f"?{urlencode(params)}" if params else ""
    return Answer(307, None, {"Location": f"http://{headers.get('host', '')}{other}{query}"})


def _health(call: Call) -> Json:
    health: Json = recorded("agents")[0]["body"]
    return health


_list_agents = lister("agents", Listing(50, "desc", "relative"), not_hidden("show_hidden_agents"))
_list_groups = lister("groups", Listing(50, "asc", "relative"), not_hidden("show_hidden_groups"))
# The cursors of the runs are swapped.
_list_runs = lister("runs", Listing(100, "desc", "swapped", max_limit=1000), runs)
_list_steps = lister("steps", Listing(50, "desc", "relative"), steps, _UNKNOWN_STEP)
_list_conversations = {
    cloud: lister(
        "conversations",
        Listing(50, "desc", "relative"),
        conversations(cloud),
        (404, "Conversation with id {} not found"),
    )
    for cloud in (True, False)
}
_list_batches = lister(
    "batches", Listing(100, "desc", "absolute"), not_ended, (400, "Job with id {} not found")
)


# Fields that an agent has only if the query asks for them.
_RELATIONS: Mapping[str, Mapping[str, Any]] = {
    "agent.managed_group": {"managed_group": None, "multi_agent_group": None},
    "agent.tags": {"tags": []},
    "agent.identities": {"identities": [], "identity_ids": []},
    "agent.pending_approval": {"pending_approval": None},
}


def _related(call: Call, row: Json) -> Json:
    asked = call.params.get("include")
    if asked is None:
        return row
    if "agent.pending_approval" in asked.split(","):
        # The server looks for it in the newest message.
        message_lists.readable(call, call.letta.list_of("agent", row["id"]).ids()[-1:])
    absent = {name: blank for name, blank in _RELATIONS.items() if name not in asked.split(",")}
    return {**row, **{field: value for blank in absent.values() for field, value in blank.items()}}


def _agents(call: Call) -> list[Json]:
    return [_related(call, row) for row in _list_agents(call)]


def _agent(call: Call) -> Json:
    return _related(call, row_of(call, "agents", "Agent"))


def _conversations(call: Call) -> list[Json]:
    return _list_conversations[call.cloud](call)


def _steps(call: Call) -> list[Json]:
    if call.cloud:
        return _list_steps(call)
    # Self-hosted, the list of steps has never worked: it passes a bool to a function that takes a string.
    ascending = call.params.get("order") == "asc"
    expected = "Argument order does not match type typing.Optional[str]"
    raise Problem(400, f"{expected}; is {ascending} of type <class 'bool'>")


def _run_steps(call: Call) -> list[Json]:
    run = row_of(call, "runs", "Run")
    table = call.letta.tables["steps"]
    steps = call.letta.list_of("run steps", run["id"])
    listing = Listing(100, "desc", "relative")
    page = read_page(steps, listing, call.params, call.cloud, rank_in(table, _UNKNOWN_STEP))
    return [table.rows[row_id] for row_id in page.ids]


def _search(call: Call) -> list[Json]:
    if not call.cloud:
        needed = "message embedding, OpenAI, and Turbopuffer"
        raise Problem(400, f"Message search requires {needed} to be enabled.")
    return search(call.letta, call.body)


ROUTES = (
    Route("health", "/v1/health/", _health),
    Route("agents", "/v1/agents/", _agents),
    Route("agents", "/v1/agents/{id}", _agent),
    Route("agents", "/v1/agents/{id}/messages", message_lists.agent_messages),
    Route("groups", "/v1/groups/", _list_groups),
    Route("groups", "/v1/groups/{id}", getter("groups", "Group")),
    Route("groups", "/v1/groups/{id}/messages", message_lists.group_messages),
    Route("runs", "/v1/runs/", _list_runs),
    Route("runs", "/v1/runs/{id}", getter("runs", "Run")),
    Route("runs", "/v1/runs/{id}/steps", _run_steps),
    Route("runs", "/v1/runs/{id}/messages", message_lists.run_messages),
    Route("steps", "/v1/steps/", _steps),
    Route("steps", "/v1/steps/{id}", getter("steps", "Step")),
    Route("steps", "/v1/steps/{id}/messages", message_lists.step_messages),
    Route("conversations", "/v1/conversations/", _conversations),
    Route("conversations", "/v1/conversations/{id}", getter("conversations", "Conversation")),
    Route("conversations", "/v1/conversations/{id}/messages", message_lists.conversation_messages),
    Route("batches", "/v1/messages/batches", _list_batches),
    Route("batches", "/v1/messages/batches/{id}", getter("batches", "Job")),
    Route("batches", "/v1/messages/batches/{id}/messages", message_lists.batch_messages),
    Route("messages", "/v1/messages/", message_lists.all_messages),
    Route("messages", "/v1/messages/search", _search, "POST"),
    Route("messages", "/v1/messages/(?P<id>message-[^/]+)", message_lists.message),
    Route("blocks", "/v1/blocks/", lists.blocks),
    Route("blocks", "/v1/blocks/{id}", getter("blocks", "Block")),
    Route("agent_blocks", "/v1/agents/{id}/core-memory/blocks", lists.agent_blocks),
    Route("step_metrics", "/v1/steps/{id}/metrics", lists.step_metrics),
    Route("tools", "/v1/tools/", lists.tools),
    Route("tools", "/v1/tools/{id}", getter("tools", "Tool")),
    Route("identities", "/v1/identities/", lists.identities),
    Route("identities", "/v1/identities/{id}", getter("identities", "Identity")),
    Route("archives", "/v1/archives/", lists.archives),
    Route("archives", "/v1/archives/{id}", getter("archives", "Archive")),
    Route("passages", "/v1/agents/{id}/archival-memory", lists.passages),
)
