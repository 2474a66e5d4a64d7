"""A gateway that drops the parameter `order` hides nothing in silence, in any table."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from letta_source.api.server import Server as Known
from letta_source.demo import Letta
from letta_source.demo.api import Dialect, answer
from letta_source.loading.preflight import check_reachable
from letta_source.schema.resources import RESOURCES
from tests.support.full_letta import FullLetta
from tests.support.library_loads import EVERY_RESOURCE, TABLES, Merged, paths, quiet_agent
from tests.support.socketless import serve_without_sockets
from tests.support.wire import answering, playing, settings

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)


def without_order(*of_request: Any, **rest: Any) -> Any:
    letta, dialect, method, path, params, *others = of_request
    kept = {name: value for name, value in params.items() if name != "order"}
    return answer(letta, dialect, method, path, kept, *others, **rest)


def capped_without_order(limit: int) -> Any:
    def capped(*of_request: Any, **rest: Any) -> Any:
        letta, dialect, method, path, params, *others = of_request
        kept = {**params, "limit": str(min(limit, int(params.get("limit", limit))))}
        return without_order(letta, dialect, method, path, kept, *others, **rest)

    return capped


def add_a_day(letta: FullLetta, day: int) -> None:
    """Add three of everything, and a turn of each older agent; all messages of a turn have one date."""
    for agent in [*letta.tables["agents"].rows]:
        letta.talk(agent, "again", tools=["roll"], date=OLD + timedelta(days=day, hours=5))
    for number in range(3):
        agent = letta.add_agent()
        letta.talk(agent, "hi", tools=["roll"], date=OLD + timedelta(days=day, minutes=number))
        conversation = letta.add_conversation(agent)
        letta.talk(agent, "there", conversation_id=conversation, date=OLD + timedelta(days=day, hours=1))
        letta.add_passage(letta.add_archive("notes", [agent]), "note")
        letta.add_group([agent])
        letta.add_batch(agent)


def keys(merged: Merged, table: str) -> set[tuple[Any, ...]]:
    return {key for rows in merged.tables.get(table, {}).values() for key in rows}


@pytest.mark.parametrize("changes", ["off", "on"])
@pytest.mark.parametrize("page_size", [1000, 4])
@pytest.mark.parametrize("dialect", ["self-hosted", "cloud"])
@pytest.mark.parametrize("from_the_start", [False, True])
def test_no_table_lacks_rows_in_silence(
    monkeypatch: pytest.MonkeyPatch, dialect: Dialect, page_size: int, changes: str, from_the_start: bool
) -> None:
    """A pipeline with the source alone has no check before a load, but no cursors from before either."""
    letta, whole, merged = FullLetta(seed=0), Merged(), Merged()
    lacking = set()
    for day in range(2):
        add_a_day(letta, day)
        given: dict[str, Any] = {"page_size": page_size, "changes": changes, "lag": 0}
        with serve_without_sockets(letta, dialect) as server, monkeypatch.context() as patch:
            whole.load(server, *EVERY_RESOURCE, **given)
            if day or from_the_start:
                patch.setattr("letta_source.demo.server.answer", without_order)
            counts = merged.load(server, *EVERY_RESOURCE, checks=not from_the_start, **given).counts
        for name in EVERY_RESOURCE:
            tables = [table.name for table in RESOURCES[name].tables if table.name in TABLES]
            if any(keys(whole, table) - keys(merged, table) for table in tables):
                lacking.add(name)
                assert counts[name].problems, name
    # Self-hosted, the older pages of a parent's messages cannot be had at all.
    assert lacking <= ({"agent_messages", "conversation_messages"} if dialect == "self-hosted" else set())


@pytest.mark.parametrize(
    ("dialect", "limit"),
    [("self-hosted", 1), ("self-hosted", 2), ("self-hosted", 3), ("cloud", 2), ("cloud", 3)],
)
def test_a_gateway_that_also_caps_the_limit_hides_nothing_in_silence(
    monkeypatch: pytest.MonkeyPatch, dialect: Dialect, limit: int
) -> None:
    letta, whole, merged = FullLetta(seed=0), Merged(), Merged()
    for day in range(2):
        add_a_day(letta, day)
        with serve_without_sockets(letta, dialect) as server, monkeypatch.context() as patch:
            whole.load(server, *EVERY_RESOURCE, lag=0)
            if day:
                patch.setattr("letta_source.demo.server.answer", capped_without_order(limit))
            counts = merged.load(server, *EVERY_RESOURCE, checks=True, lag=0).counts
        for name in EVERY_RESOURCE:
            tables = [table.name for table in RESOURCES[name].tables if table.name in TABLES]
            if any(keys(whole, table) - keys(merged, table) for table in tables):
                # A batch of which one message comes looks whole.
                assert counts[name].problems or (limit == 1 and name == "batch_messages"), name


@pytest.mark.parametrize("limit", [1, 2])
def test_an_agent_that_is_asked_for_is_checked_as_well(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """The check before such a load asks for no list."""
    letta, merged = FullLetta(seed=0), Merged()
    add_a_day(letta, 0)
    agent = letta.tables["agents"].ids()[0]
    monkeypatch.setattr("letta_source.demo.server.answer", capped_without_order(limit))
    with serve_without_sockets(letta) as server:
        counts = merged.load(server, "agent_messages", agent_ids=[agent], checks=True).counts
    assert counts["agent_messages"].problems


def test_messages_of_one_date_are_read_again_once_another_list_has_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    letta, merged = FullLetta(seed=0), Merged()
    monkeypatch.setattr("letta_source.demo.server.answer", without_order)
    for day in range(2):
        add_a_day(letta, day)
        with serve_without_sockets(letta, "cloud") as server:
            merged.load(server, "agent_messages", lag=0)
    held = [
        message_id
        for agent in letta.tables["agents"].rows
        for message_id in letta.list_of("agent", agent).ids()
    ]
    assert {*merged.ids("agent_messages")} == {*held}


@pytest.mark.parametrize("dialect", ["self-hosted", "cloud"])
def test_two_agents_tell_before_a_load_begins(dialect: Dialect) -> None:
    """Nothing else tells a load that asks only for what has changed."""
    letta, known = FullLetta(seed=0), Known()
    letta.add_agent(), letta.add_agent()

    def drop(request: httpx.Request) -> httpx.Response:
        found = without_order(letta, dialect, request.method, request.url.path, dict(request.url.params), {})
        return httpx.Response(found.status, json=found.body)

    with answering(drop) as requests:
        check_reachable(settings(), known)
    assert (known.ignores_order, known.obeys_order, len(requests)) == (True, False, 2)
    known = Known()
    with playing(letta, dialect) as requests:
        check_reachable(settings(), known)
    assert (known.ignores_order, known.obeys_order, len(requests)) == (False, True, 1)


@pytest.mark.parametrize(("checks", "asked"), [(False, 3), (True, 2)])
def test_a_list_of_one_full_page_is_proven_to_be_whole_only_where_the_order_is_in_doubt(
    checks: bool, asked: int
) -> None:
    letta = Letta(seed=0)
    agents = [quiet_agent(letta) for _ in range(2)]
    for agent in agents:
        for hour in range(4):
            letta.add_message(agent, date=OLD + timedelta(hours=hour))
    with serve_without_sockets(letta, "self-hosted") as server:
        Merged().load(server, "agent_messages", page_size=4, checks=checks)
        pages = [path for path, _ in paths(server) if path.endswith("/messages")]
    assert len(pages) == asked * len(agents)


def test_a_list_that_is_oldest_first_by_default_proves_nothing() -> None:
    """A key may not read agents; a host's groups may have dates."""
    known = Known()
    groups = [{"id": f"group-{day}", "created_at": f"2024-05-0{day}T12:00:00Z"} for day in (4, 5)]

    def only_groups(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/v1/groups"):
            return httpx.Response(200, json=groups)
        return httpx.Response(404, json={"detail": "Not Found"})

    with answering(only_groups):
        check_reachable(settings(), known)
    assert (known.ignores_order, known.obeys_order) == (False, False)
