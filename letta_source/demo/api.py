"""Letta's REST API over a Letta in memory: a request in, an answer out, no socket anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

from .filters import Filter, not_ended, not_hidden, of_agent, steps
from .index import Index
from .letta import Letta
from .pages import Listing, Problem, not_found, read_page
from .renderings import Text, UnreadableMessageError, render
from .search import search
from .shapes import Json, recorded
from .store import Kind, Message

Dialect = Literal["self-hosted", "cloud"]
Family = Literal["health", "agents", "groups", "runs", "steps", "conversations", "batches", "messages"]

_NOT_ON_CLOUD: frozenset[Family] = frozenset({"groups", "batches"})
_UNKNOWN_STEP = (404, "No Step found with id {}")
_FALSE = ("false", "False", "0")
_ID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Call:
    """A request that found its route."""

    letta: Letta
    cloud: bool
    params: Mapping[str, str]
    body: Any = None
    parent_id: str = ""


@dataclass(frozen=True)
class Answer:
    """An answer: `body` is JSON data, None for an empty body."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """A path, the family it belongs to, and who answers."""

    family: Family
    path: str
    handler: Callable[[Call], Any]
    method: str = "GET"

    def match(self, path: str) -> re.Match[str] | None:
        """The path's match, whatever the method."""
        return re.fullmatch(self.path.replace("{id}", "(?P<id>[^/]+)"), path)


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
        letta: What is asked.
        dialect: Whose quirks to show.
        method: GET or POST.
        path: The path, decoded.
        params: The query.
        headers: Names in lower case.
        body: The decoded JSON of a POST.
        api_key: The key to ask for. Only the health check answers without it.
        missing: Families whose every path answers 404.
    """
    routes = [route for route in ROUTES if route.match(path)]
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


def _redirect(
    path: str, params: Mapping[str, str], headers: Mapping[str, str], absent: Collection[str]
) -> Answer | None:
    """A slash too many or too few is answered with the whole right address."""
    other = path[:-1] if path.endswith("/") else f"{path}/"
    if not any(route.match(other) and route.family not in absent for route in ROUTES):
        return None
    query = f"?{urlencode(params)}" if params else ""
    return Answer(307, None, {"Location": f"http://{headers.get('host', '')}{other}{query}"})


def _health(call: Call) -> Json:
    health: Json = recorded("agents")[0]["body"]
    return health


def _rank_in(index: Index, unknown: tuple[int, str] | None) -> Callable[[str], Any | None]:
    """Ranks of cursors; `unknown` is the status and text for one that is not there, None ignores it."""

    def rank(row_id: str) -> Any | None:
        found = index.rank(row_id)
        if found is None and unknown:
            status, text = unknown
            raise Problem(status, text.format(row_id))
        return found

    return rank


def _lister(
    kind: Kind, listing: Listing, wanted: Filter, unknown: tuple[int, str] | None = None
) -> Callable[[Call], list[Json]]:
    def handler(call: Call) -> list[Json]:
        table, is_wanted = call.letta.tables[kind], wanted(call.letta, call.params)

        def keep(row_id: str) -> bool:
            return is_wanted(table.rows[row_id])

        page = read_page(table, listing, call.params, call.cloud, _rank_in(table, unknown), keep)
        return [table.rows[row_id] for row_id in page.ids]

    return handler


def _getter(kind: Kind, name: str) -> Callable[[Call], Json]:
    def handler(call: Call) -> Json:
        return _row(call, kind, name)

    return handler


def _row(call: Call, kind: Kind, name: str) -> Json:
    """The row that the path names.

    Raises:
        Problem: 422 or 400 for a malformed id, 404 for an unknown one.
    """
    check_id(call.parent_id, name)
    row = call.letta.tables[kind].rows.get(call.parent_id)
    if row is None:
        raise Problem(404, "Agent not found") if name == "Agent" else not_found(name, call.parent_id)
    return row


def check_id(row_id: str, name: str) -> None:
    """Refuse a malformed id, as the real server does: runs and jobs with 400, the others with 422.

    Raises:
        Problem: The id has not the form of its kind.
    """
    prefix = {"Conversation": "conv"}.get(name, name.lower())
    if re.fullmatch(f"{prefix}-{_ID}", row_id):
        return
    if name in ("Run", "Job"):
        raise Problem(400, f"Invalid {prefix} ID format: {row_id}. Expected format: '{prefix}-<uuid4>'")
    error = {
        "type": "string_pattern_mismatch",
        "loc": ("path", f"{name.lower()}_id"),
        "msg": f"String should match pattern '{prefix}-{{uuid4}}'",
        "input": row_id,
        "ctx": {"pattern": f"^{prefix}-{_ID}$"},
    }
    examples = [f"{prefix}-123e4567-e89b-42d3-8456-426614174000"]
    raise Problem(422, {"trace_id": "", "detail": repr([error]), "examples": examples})


_list_agents = _lister("agents", Listing(50, "desc", "relative"), not_hidden("show_hidden_agents"))
_list_groups = _lister("groups", Listing(50, "asc", "relative"), not_hidden("show_hidden_groups"))
# The cursors of the runs are swapped.
_list_runs = _lister("runs", Listing(100, "desc", "swapped", max_limit=1000), of_agent)
_list_steps = _lister("steps", Listing(50, "desc", "relative"), steps, _UNKNOWN_STEP)
_list_conversations = _lister(
    "conversations", Listing(50, "desc", "relative"), of_agent, (404, "Conversation with id {} not found")
)
_list_batches = _lister(
    "batches", Listing(100, "desc", "absolute"), not_ended, (400, "Job with id {} not found")
)


def _agents(call: Call) -> list[Json]:
    rows = _list_agents(call)
    if call.params.get("include") in (None, "agent.managed_group"):
        return rows
    return [{**row, "managed_group": None, "multi_agent_group": None} for row in rows]


def _steps(call: Call) -> list[Json]:
    if call.cloud:
        return _list_steps(call)
    # Self-hosted, the list of steps has never worked: it hands a bool to a function that wants a text.
    ascending = call.params.get("order") == "asc"
    expected = "Argument order does not match type typing.Optional[str]"
    raise Problem(400, f"{expected}; is {ascending} of type <class 'bool'>")


def _run_steps(call: Call) -> list[Json]:
    run = _row(call, "runs", "Run")
    table = call.letta.tables["steps"]
    steps = call.letta.list_of("run steps", run["id"])
    listing = Listing(100, "desc", "relative")
    page = read_page(steps, listing, call.params, call.cloud, _rank_in(table, _UNKNOWN_STEP))
    return [table.rows[row_id] for row_id in page.ids]


def _readable(call: Call, message_ids: list[str]) -> list[Message]:
    for message_id in message_ids:
        if message_id in call.letta.poisoned:
            raise UnreadableMessageError(call.letta.poisoned[message_id])
    return [call.letta.messages.rows[message_id] for message_id in message_ids]


def _letta_messages(
    call: Call,
    parent: str,
    listing: Listing,
    *,
    text: Text,
    reverse_items: bool = False,
    lossless: bool = False,
    desc: Literal["newest first", "oldest first", "items too"],
) -> list[Json]:
    """The items of a page of one parent's messages.

    Args:
        call: The request.
        parent: The kind of list.
        listing: How it is paged.
        text: What the text of an answer is called.
        reverse_items: Whether the items of one id come last first, in either order.
        lossless: Whether use_assistant_message=false is understood.
        desc: What order=desc does to the page self-hosted: its messages newest first, or after all oldest
            first, or newest first together with the items of each.
    """
    letta = call.letta
    index = letta.list_of(parent, call.parent_id) if parent else letta.messages

    def rank(message_id: str) -> Any:
        if parent == "conversation":
            # A vanished cursor is not noticed here: the list begins anew.
            return index.rank(message_id)
        message = letta.messages.rows.get(message_id)
        if message is None:
            owner = call.parent_id if parent == "agent" else None
            if parent in ("step", "group"):
                raise Problem(404, f"No Message found with id {message_id}")
            raise Problem(404, f"No message found with id '{message_id}' for agent '{owner}'.")
        return (message.created_at, message.id) if parent in ("step", "group") else message.sequence

    page = read_page(index, listing, call.params, call.cloud, rank)
    messages = _readable(call, page.ids)
    if page.newest_first and not call.cloud and desc == "oldest first":
        messages = messages[::-1]
    return render(
        [message.items for message in messages],
        text=text,
        use_assistant_message=not (lossless and call.params.get("use_assistant_message") in _FALSE),
        reverse_items=reverse_items or (page.newest_first and (call.cloud or desc == "items too")),
    )


def _agent_messages(call: Call) -> list[Json]:
    _row(call, "agents", "Agent")
    listing = Listing(100, "desc", "absolute")
    return _letta_messages(call, "agent", listing, text="as stored", lossless=True, desc="oldest first")


def _group_messages(call: Call) -> list[Json]:
    if _row(call, "groups", "Group")["manager_agent_id"]:
        listing = Listing(10, "desc", "absolute")
        return _letta_messages(
            call, "managed group", listing, text="as stored", lossless=True, desc="oldest first"
        )
    # Without a manager the order is not passed on: always ascending.
    ascending = Listing(10, "asc", "absolute", fixed_order=True)
    return _letta_messages(
        call, "group", ascending, text="reasoning", reverse_items=True, lossless=True, desc="newest first"
    )


def _run_messages(call: Call) -> list[Json]:
    _row(call, "runs", "Run")
    return _letta_messages(call, "run", Listing(100, "asc", "absolute"), text="as stored", desc="items too")


def _step_messages(call: Call) -> list[Json]:
    """An unknown step has no messages, and is no error."""
    check_id(call.parent_id, "Step")
    listing = Listing(100, "asc", "relative")
    return _letta_messages(call, "step", listing, text="reasoning", reverse_items=True, desc="newest first")


def _conversation_messages(call: Call) -> list[Json]:
    """An unknown conversation has no messages, and is no error."""
    check_id(call.parent_id, "Conversation")
    listing = Listing(100, "desc", "absolute")
    return _letta_messages(call, "conversation", listing, text="assistant", desc="newest first")


def _all_messages(call: Call) -> list[Json]:
    return _letta_messages(call, "", Listing(100, "desc", "absolute"), text="assistant", desc="oldest first")


def _batch_messages(call: Call) -> Json:
    batch = _row(call, "batches", "Job")
    if "after" in call.params:
        # The server trips over its own cursor.
        raise Problem(500, "An unknown error occurred")
    params = {name: value for name, value in call.params.items() if name != "before"}
    index = call.letta.list_of("batch", batch["id"])
    page = read_page(index, Listing(100, "desc", "absolute"), params, call.cloud, index.rank)
    return {"messages": [message.internal() for message in _readable(call, page.ids)]}


def _search(call: Call) -> list[Json]:
    if not call.cloud:
        needed = "message embedding, OpenAI, and Turbopuffer"
        raise Problem(400, f"Message search requires {needed} to be enabled.")
    return search(call.letta, call.body)


ROUTES = (
    Route("health", "/v1/health/", _health),
    Route("agents", "/v1/agents/", _agents),
    Route("agents", "/v1/agents/{id}", _getter("agents", "Agent")),
    Route("agents", "/v1/agents/{id}/messages", _agent_messages),
    Route("groups", "/v1/groups/", _list_groups),
    Route("groups", "/v1/groups/{id}", _getter("groups", "Group")),
    Route("groups", "/v1/groups/{id}/messages", _group_messages),
    Route("runs", "/v1/runs/", _list_runs),
    Route("runs", "/v1/runs/{id}", _getter("runs", "Run")),
    Route("runs", "/v1/runs/{id}/steps", _run_steps),
    Route("runs", "/v1/runs/{id}/messages", _run_messages),
    Route("steps", "/v1/steps/", _steps),
    Route("steps", "/v1/steps/{id}", _getter("steps", "Step")),
    Route("steps", "/v1/steps/{id}/messages", _step_messages),
    Route("conversations", "/v1/conversations/", _list_conversations),
    Route("conversations", "/v1/conversations/{id}", _getter("conversations", "Conversation")),
    Route("conversations", "/v1/conversations/{id}/messages", _conversation_messages),
    Route("batches", "/v1/messages/batches", _list_batches),
    Route("batches", "/v1/messages/batches/{id}", _getter("batches", "Job")),
    Route("batches", "/v1/messages/batches/{id}/messages", _batch_messages),
    Route("messages", "/v1/messages/", _all_messages),
    Route("messages", "/v1/messages/search", _search, "POST"),
)
