"""Check a server before anything is loaded: is it reachable, is it Letta, may we read, what does it have?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from anyio.from_thread import start_blocking_portal

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError, Verdict, WebPage
from letta_source.api.server import Server, kind_of
from letta_source.errors import AuthError, ConfigError, FatalError, NotLetta, Unreachable
from letta_source.schema.card import Resource
from letta_source.schema.resources import RESOURCES, list_of_family
from letta_source.settings import Settings

FAMILIES: Mapping[str, Resource] = list_of_family()
Answer = TypeVar("Answer")
_UUID = "123e4567-e89b-42d3-8456-426614174000"
_FORMS = {"agent": f"agent-{_UUID}", "batch": f"job-{_UUID}"}

# Letta itself answers, though not with a list. Self-hosted, `/v1/steps/` always answers 400.
_ANSWERED = {Verdict.GONE, Verdict.NO_ROUTE, Verdict.REFUSED, Verdict.PAGE_LIMIT, Verdict.ERROR}
# Retries, for half a minute: a self-hosted server takes some 15 s to start.
_WHILE_IT_STARTS = 7
_ONE: Mapping[str, str | int] = {"limit": 1, "order": "asc"}


def check_families(settings: Settings) -> dict[str, str | None]:
    """Map each endpoint family to None if available, else to the answer.

    Raises:
        FatalError: the host is unreachable, refuses the key, or has none of the families.
    """

    async def check() -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        refused: list[FatalError] = []
        async with _client(settings, Server.of(settings), retries=1) as client:
            for family, card in FAMILIES.items():
                found[family] = await _answer(client, card, refused)
        _assert_letta(settings, found, refused)
        return found

    return in_own_thread(check)


def check_reachable(settings: Settings, server: Server | None = None) -> None:
    """Check with as few requests as possible that one family can be read; wait for a server to start.

    Args:
        server: records what is learned about the server, such as its time.

    Raises:
        FatalError: as `check_families`.
    """

    async def check() -> None:
        found: dict[str, str | None] = {}
        refused: list[FatalError] = []
        async with _client(settings, server or Server.of(settings), retries=_WHILE_IT_STARTS) as client:
            if asked_for := _paths_asked_for(settings):
                for what, path in asked_for.items():
                    await _assert_known(client, what, path)
                return
            for family, card in FAMILIES.items():
                found[family] = await _answer(client, card, refused)
                if found[family] is None:
                    return
        _assert_letta(settings, found, refused)

    in_own_thread(check)


def in_own_thread(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Run in a separate thread: in this one a notebook has its event loop."""
    with start_blocking_portal() as portal:
        return portal.call(ask)


def _client(settings: Settings, server: Server, retries: int) -> Client:
    fewer = {"retries": min(retries, settings.retries)}
    return Client(settings.model_copy(update=fewer), server=server, looks_again=False)


def _paths_asked_for(settings: Settings) -> dict[str, str]:
    """Return the path of each agent and batch that the settings name."""
    agents, batches = RESOURCES["agents"], RESOURCES["batches"]
    paths = {f"agent {agent_id}": agents.path_of(agent_id) for agent_id in settings.agent_ids}
    return paths | {f"batch {batch_id}": batches.path_of(batch_id) for batch_id in settings.batch_ids}


async def _assert_known(client: Client, what: str, path: str) -> None:
    try:
        await client.get(path, shape="object", may_lack=True)
    except WebPage as error:
        raise NotLetta(str(error)) from error
    except StatusError as error:
        if _is_malformed(error):
            message = f"{client.base_url} takes no such id: {what}; ids look like {_FORMS[what.split()[0]]}"
            raise ConfigError(message) from error
        if error.verdict in (Verdict.GONE, Verdict.NO_ROUTE, Verdict.ERROR):
            raise ConfigError(f"{client.base_url} does not know {what}: {error}") from error
        raise Unreachable(f"{client.base_url}{path} answers {error}") from error
    except RequestFailed as error:
        raise Unreachable(f"{client.base_url}{path}: {error}") from error


def _is_malformed(error: StatusError) -> bool:
    """Return True if the server refuses the id's form: an agent's with 422, a job's with 400.

    Its 422 quotes pydantic's error, a long line with a pattern and a tuple.
    """
    return error.from_letta and (error.status == 422 or (error.status == 400 and "format" in error.detail))


async def _answer(client: Client, card: Resource, refused: list[FatalError]) -> str | None:
    """Return None for a list, else the server's answer. A 403 may concern this family alone.

    Args:
        refused: collects the errors to raise if no family can be read.
    """
    path = card.path
    params = {**_ONE, "after": card.nil_cursor} if card.nil_cursor else _ONE
    try:
        await client.get(path, params, shape="list", may_lack=True)
    except WebPage as error:
        raise NotLetta(str(error)) from error
    except AuthError as error:
        answer = error.__cause__
        if not (isinstance(answer, StatusError) and answer.status == 403):
            raise
        if not answer.from_letta:
            # A gateway may refuse all families: the others are retried less often.
            client.server.given_up.update(kind_of(other.path) for other in FAMILIES.values())
        refused.append(error)
        return str(answer)
    except RequestFailed as error:
        if isinstance(error, StatusError) and error.verdict in _ANSWERED:
            # If it does not know the cursor, it has the list.
            return None if card.nil_cursor and error.verdict is Verdict.GONE else str(error)
        if isinstance(error, StatusError) and error.status == 404:
            refused.append(NotLetta(f"{_no_endpoints(client.base_url)}. {path} answers {error}"))
            return str(error)
        if client.server.lets_read:
            return str(error)
        says = "answers " if isinstance(error, StatusError) else ""
        raise Unreachable(f"{client.base_url}{path}: {says}{error}") from error
    return None


def _assert_letta(settings: Settings, found: Mapping[str, str | None], refused: list[FatalError]) -> None:
    if all(found.values()):
        raise refused[0] if refused else NotLetta(_no_endpoints(settings.base_url))


def _no_endpoints(base_url: str) -> str:
    return (
        f"{base_url} has none of Letta's endpoints: set the base URL to where Letta answers,"
        " such as https://api.letta.com or http://localhost:8283"
    )
