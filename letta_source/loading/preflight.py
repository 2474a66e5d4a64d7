"""Check a server before anything is loaded: is it reachable, is it Letta, may we read, what does it have?

And one server per dataset: cursors, sweeps and deletions hold for one server. With two in one dataset, each
load would take the other server's rows for deleted, and continue lists from the other server's cursors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import dlt
import httpx
import pyarrow.parquet as pq
from anyio.from_thread import start_blocking_portal
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable

from letta_source.api.client import Client
from letta_source.api.responses import RequestFailed, StatusError, Verdict, WebPage, unquoted
from letta_source.api.server import Server, kind_of
from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import is_kind
from letta_source.errors import AuthError, ConfigError, ExitCode, FatalError, NotLetta, Unreachable
from letta_source.items import id_of
from letta_source.paging.direction import note_ignored_order
from letta_source.schema.card import Resource
from letta_source.schema.resources import RESOURCES, list_of_family
from letta_source.schema.tables import LOAD_LOG
from letta_source.settings import Settings
from letta_source.settings.values import is_loopback
from letta_source.times import created_at

FAMILIES: Mapping[str, Resource] = list_of_family()
Answer = TypeVar("Answer")
_UUID = "123e4567-e89b-42d3-8456-426614174000"
_FORMS = {"agent": f"agent-{_UUID}", "batch": f"job-{_UUID}"}

# Letta itself answers, though not with a list. Self-hosted, `/v1/steps/` always returns 400.
_ANSWERED = {Verdict.GONE, Verdict.NO_ROUTE, Verdict.REFUSED, Verdict.PAGE_LIMIT, Verdict.ERROR}
# Retries, for half a minute: a self-hosted server takes some 15 s to start.
_WHILE_IT_STARTS = 7
# Two show whether the order arrives.
_TWO: Mapping[str, str | int] = {"limit": 2, "order": "asc"}
# Exit codes of runs that read something, even if nothing was new.
_ENDED = (ExitCode.OK.value, ExitCode.INCOMPLETE.value)


def check_families(settings: Settings) -> dict[str, str | None]:
    """Map each endpoint family to None if available, else to the response.

    Raises:
        FatalError: the host is unreachable, refuses the key, or has none of the families.
    """

    async def check() -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        refused: list[FatalError] = []
        async with _client(settings, Server.of(settings), retries=1) as client:
            for family, card in FAMILIES.items():
                found[family] = await _answer(client, settings, card, refused)
        _assert_letta(settings, found, refused)
        return found

    return in_own_thread(check)


def check_reachable(settings: Settings, server: Server | None = None) -> None:
    """Check with as few requests as possible that one family can be read; wait for a server to start.

    Args:
        server: receives facts about the server, such as its time.

    Raises:
        FatalError: as `check_families`.
    """

    known = server or Server.of(settings)

    async def check() -> None:
        found: dict[str, str | None] = {}
        refused: list[FatalError] = []
        async with _client(settings, known, retries=_WHILE_IT_STARTS) as client:
            if asked_for := _paths_asked_for(settings):
                for what, path in asked_for.items():
                    await _assert_known(client, settings, what, path)
                return
            for family, card in FAMILIES.items():
                found[family] = await _answer(client, settings, card, refused)
                if found[family] is None:
                    return
        _assert_letta(settings, found, refused)

    in_own_thread(check)
    known.doubts_order = not (known.obeys_order or known.ignores_order)


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


async def _assert_known(client: Client, settings: Settings, what: str, path: str) -> None:
    try:
        await client.get(path, shape="object", may_lack=True)
    except WebPage as error:
        raise NotLetta(str(error)) from error
    except StatusError as error:
        if _is_malformed(error):
            message = (
                f"{client.base_url} does not accept this id: {what}; ids look like {_FORMS[what.split()[0]]}"
            )
            raise ConfigError(message) from error
        if error.verdict in (Verdict.GONE, Verdict.NO_ROUTE, Verdict.ERROR):
            raise ConfigError(f"{client.base_url} does not know {what}: {_told(error, settings)}") from error
        raise Unreachable(f"{client.base_url}{path} returns {_told(error, settings)}") from error
    except RequestFailed as error:
        raise Unreachable(f"{client.base_url}{path}: {error}") from error


def _is_malformed(error: StatusError) -> bool:
    """Return True if the server refuses the id's form: an agent's with 422, a job's with 400.

    Its 422 quotes pydantic's error, a long line with a pattern and a tuple.
    """
    return error.from_letta and (error.status == 422 or (error.status == 400 and "format" in error.detail))


def _told(error: RequestFailed, settings: Settings) -> str:
    """Return the failure; under masks without Letta's words, which may quote a row that it cannot render."""
    is_quoted = settings.is_masked and isinstance(error, StatusError) and error.from_letta
    return unquoted(error) if is_quoted else str(error)


async def _answer(
    client: Client, settings: Settings, card: Resource, refused: list[FatalError]
) -> str | None:
    """Return None for a list, else the server's response. A 403 may concern this family alone.

    Args:
        refused: collects the errors to raise if no family can be read.
    """
    path = card.path
    params = {**_TWO, "after": card.nil_cursor} if card.nil_cursor else _TWO
    try:
        await _note_order(client, card, await client.get(path, params, shape="list", may_lack=True))
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
        return _told(answer, settings)
    except RequestFailed as error:
        if isinstance(error, StatusError) and error.verdict in _ANSWERED:
            # If it does not know the cursor, it has the list.
            return None if card.nil_cursor and error.verdict is Verdict.GONE else _told(error, settings)
        if isinstance(error, StatusError) and error.status == 404:
            refused.append(NotLetta(f"{_no_endpoints(client.base_url)}. {path} returns {error}"))
            return _told(error, settings)
        if client.server.lets_read:
            return _told(error, settings)
        says = "returns " if isinstance(error, StatusError) else ""
        raise Unreachable(f"{client.base_url}{path}: {says}{_told(error, settings)}") from error
    return None


async def _note_order(client: Client, card: Resource, items: Any) -> None:
    """Note what the first two items of a list, by their dates, tell of whether the order arrives."""
    # A gateway may send more than two.
    times = [created_at(item) for item in (items or ())[:2] if isinstance(item, dict)]
    if len(times) < 2 or not (times[0] and times[1]):
        return
    if times[0] < times[1]:
        client.server.obeys_order |= not card.oldest_first
    elif times[0] > times[1]:
        newest = await client.get(card.path, {"limit": 1, "order": "desc"}, shape="list", may_lack=True)
        if newest and id_of(newest[0]) == id_of(items[0]):
            note_ignored_order(client.server, card.path)


def _assert_letta(settings: Settings, found: Mapping[str, str | None], refused: list[FatalError]) -> None:
    if all(found.values()):
        raise refused[0] if refused else NotLetta(_no_endpoints(settings.base_url))


def _no_endpoints(base_url: str) -> str:
    return (
        f"{base_url} has none of Letta's endpoints: set the base URL to where Letta answers,"
        " such as https://api.letta.com or http://localhost:8283"
    )


def assert_same_server(pipeline: dlt.Pipeline, settings: Settings) -> None:
    """Check by its load_log that the dataset was filled from this host.

    Raises:
        ConfigError: it was filled from another one; says what to do.
    """
    if settings.same_server:
        return
    if other := _other_host(pipeline, settings.base_url):
        raise ConfigError(
            f"{pipeline.dataset_name} was filled from {other}, and this load would read"
            f" {settings.base_url}: choose another --dataset-name for another server; if it is the same one"
            " under a new address, give --same-server (setting same_server)"
        )


def _other_host(pipeline: dlt.Pipeline, host: str) -> str | None:
    """Return the host that the last run read, if it is another one and any run wrote rows."""
    if is_kind("filesystem", pipeline):
        return _other_in_files(pipeline, host)
    found: list[tuple[str, str, int]] = []
    with suppress(DestinationUndefinedEntity, SqlClientNotAvailable), pipeline.sql_client() as client:
        table = client.make_qualified_table_name(LOAD_LOG.name)
        names = ("host", "run_id", "exit_code", "rows_written")
        of_run, run_id, code, rows = map(client.escape_column_name, names)
        sql = (
            f"SELECT max({run_id}), {of_run}, sum({rows}) FROM {table}"
            f" WHERE {code} IN {_ENDED} OR {rows} > 0 GROUP BY {of_run}"
        )
        found = [(row[0], row[1], row[2] or 0) for row in client.execute_sql(sql) or ()]
    if not any(rows_written for _, _, rows_written in found):
        # The server had nothing, perhaps because the address was wrong.
        return None
    last = max(found)[1]
    return None if _address(last) == _address(host) else last


def _other_in_files(pipeline: dlt.Pipeline, host: str) -> str | None:
    """Return the same as `_other_host`, from one file per run, named by its run_id."""
    last: str | None = None
    with Files.opened(pipeline) as files:
        assert files is not None
        for path in sorted(files.of_table(LOAD_LOG.name), reverse=True):
            with files.filesystem.open(path, "rb") as file:
                of_run = pq.read_table(file).to_pylist()
            written = any(row["rows_written"] for row in of_run)
            if written or of_run[0]["exit_code"] in _ENDED:
                last = last or str(of_run[0]["host"])
                if _address(last) == _address(host):
                    return None
            if written:
                return last
    return None


def _address(base_url: str) -> tuple[str, int | None, str]:
    """Return host, port and path; http and https are the same, and so are all names of this machine."""
    url = httpx.URL(base_url)
    return "localhost" if is_loopback(url.host) else url.host, url.port, url.path.rstrip("/")
