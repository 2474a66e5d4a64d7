"""Asks a server, before anything is loaded: is it there, is it Letta, may we read, what does it have?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from anyio.from_thread import start_blocking_portal

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError, WebPage
from letta_source.errors import ConfigError, NotLetta, Unreachable
from letta_source.schema.resources import list_of_family
from letta_source.settings import Settings

FAMILIES: Mapping[str, str] = {family: card.path for family, card in list_of_family().items()}
Answer = TypeVar("Answer")

_MISSING = {404, 405}
# Half a minute: a server of one's own takes some 15 s to start.
_WHILE_IT_STARTS = 7
_ONE: Mapping[str, str | int] = {"limit": 1, "order": "asc"}


def check_families(settings: Settings) -> dict[str, str | None]:
    """Map each endpoint family to None if available, else to the answer.

    Raises:
        FatalError: the host cannot be reached, refuses the key, or has none of them.
    """
    return _answered(lambda: _check_families(settings))


async def _check_families(settings: Settings) -> dict[str, str | None]:
    async with _client(settings, retries=1) as client:
        found = {family: await _answer(client, path) for family, path in FAMILIES.items()}
    _assert_letta(settings, found)
    return found


def check_reachable(settings: Settings) -> None:
    """Check with as few requests as will do that Letta answers; wait for a server that is being started."""

    async def check() -> None:
        found: dict[str, str | None] = {}
        async with _client(settings, retries=_WHILE_IT_STARTS) as client:
            if asked_for := _paths_asked_for(settings):
                for what, path in asked_for.items():
                    await _assert_known(client, what, path)
                return
            for family, path in FAMILIES.items():
                found[family] = await _answer(client, path)
                if found[family] is None:
                    return
        _assert_letta(settings, found)

    _answered(check)


def _answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Run in a thread of its own: in this one a notebook has its event loop."""
    with start_blocking_portal() as portal:
        return portal.call(ask)


def _client(settings: Settings, retries: int) -> Client:
    fewer = {"retries": min(retries, settings.retries)}
    return Client(settings.model_copy(update=fewer), looks_again=False)


def _paths_asked_for(settings: Settings) -> dict[str, str]:
    """The path of each agent and batch that the settings name."""
    paths = {f"agent {agent_id}": f"/v1/agents/{agent_id}" for agent_id in settings.agent_ids}
    paths |= {f"batch {batch_id}": f"/v1/messages/batches/{batch_id}" for batch_id in settings.batch_ids}
    return paths


async def _assert_known(client: Client, what: str, path: str) -> None:
    try:
        await client.get(path)
    except WebPage as error:
        raise NotLetta(str(error)) from error
    except StatusError as error:
        # 422 and 400: it has not the form of an id of its kind.
        if error.status in (404, 405, 422, 400):
            raise ConfigError(f"{client.base_url} does not know {what}: {error}") from error
        raise Unreachable(f"{client.base_url}{path} answers {error}") from error
    except RequestFailed as error:
        raise Unreachable(f"{client.base_url}{path}: {error}") from error


async def _answer(client: Client, path: str) -> str | None:
    try:
        await client.get(path, _ONE)
    except WebPage as error:
        raise NotLetta(str(error)) from error
    except StatusError as error:
        # Self-hosted, `/v1/steps/` always answers 400.
        if error.status in _MISSING or error.status == 400:
            return str(error)
        raise Unreachable(f"{client.base_url}{path} answers {error}") from error
    except RequestFailed as error:
        raise Unreachable(f"{client.base_url}{path}: {error}") from error
    return None


def _assert_letta(settings: Settings, found: Mapping[str, str | None]) -> None:
    if all(found.values()):
        raise NotLetta(
            f"{settings.base_url} has none of Letta's endpoints: set the base URL to where Letta answers,"
            " such as https://api.letta.com or http://localhost:8283"
        )
