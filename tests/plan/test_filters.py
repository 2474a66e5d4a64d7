"""Items are filtered by the requested agents and window, also where a field is absent."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from letta_source.errors import ConfigError
from letta_source.plan.filters import (
    assert_effective,
    assert_loadable,
    is_wanted,
    joint_key,
    list_keys,
    may_hold,
    reads_whole,
)
from letta_source.schema.resources import RESOURCES
from letta_source.settings import make_settings
from letta_source.settings.given import Given
from letta_source.settings.places import Configuration, Layer
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session
from tests.support.wire import HOST, settings

Some = dict[str, Any]
ONE: Some = {"agent_ids": ["agent-1"]}
START: Some = {"start_date": "2026-05-04"}
END: Some = {"end_date": "2026-05-06"}
WINDOW = START | END


@pytest.mark.parametrize(
    ("item", "wanted"),
    [
        ({"agent_id": "agent-1"}, True),
        ({"agent_id": "agent-2"}, False),
        # An item that names no agent is wanted, because the list was that agent's.
        ({"agent_id": None}, True),
        ({}, True),
        ({"agent_ids": ["agent-2", "agent-1"]}, True),
        ({"agent_ids": ["agent-2"]}, False),
        ({"agent_ids": ["agent-2"], "manager_agent_id": "agent-1"}, True),
        ({"agent_ids": ["agent-1"], "manager_agent_id": "agent-2"}, True),
        ({"agent_ids": [], "manager_agent_id": None}, False),
        ({"agent_ids": None}, True),
    ],
    ids=str,
)
def test_items_of_some_agents(item: dict[str, Any], wanted: bool) -> None:
    assert is_wanted(settings(**ONE), item) == wanted
    assert is_wanted(settings(), item)


@pytest.mark.parametrize(
    ("date", "since_start", "before_end"),
    [
        ("2026-05-03T23:59:59.999999Z", False, True),
        ("2026-05-04T00:00:00Z", True, True),
        ("2026-05-05T23:59:59.999999Z", True, True),
        ("2026-05-06T00:00:00Z", True, False),
        (None, True, True),
    ],
)
@pytest.mark.parametrize("field", ["date", "created_at"])
def test_items_of_a_window(field: str, date: str | None, since_start: bool, before_end: bool) -> None:
    """Apply each bound alone, and both."""
    item = {field: date} if date else {}
    assert is_wanted(settings(**START), item) == since_start
    assert is_wanted(settings(**END), item) == before_end
    assert is_wanted(settings(**WINDOW), item) == (since_start and before_end)
    assert is_wanted(settings(**WINDOW), item, timeless=True)
    assert not is_wanted(settings(**WINDOW, **ONE), item | {"agent_id": "agent-2"}, timeless=True)


@pytest.mark.parametrize(
    ("begun", "ended", "may"),
    [
        ("2026-05-01", "2026-05-03T23:59:59Z", False),
        ("2026-05-01", "2026-05-04T00:00:00Z", True),
        ("2026-05-01", "2026-05-09", True),
        ("2026-05-05T23:59:59Z", None, True),
        ("2026-05-06T00:00:00Z", None, False),
        ("2026-05-06T00:00:00Z", "2026-05-07", False),
        ("2026-05-01", None, True),
        (None, "2026-05-01", False),
        (None, "2026-05-09", True),
        (None, None, True),
    ],
)
def test_runs_that_may_reach_into_a_window(begun: str | None, ended: str | None, may: bool) -> None:
    """A run that is still running, or began before the window, may have messages in it."""
    run = {"created_at": begun, "completed_at": ended}
    assert may_hold(settings(**WINDOW), run) == may
    known = {name: value for name, value in run.items() if value}
    assert may_hold(settings(**WINDOW), known) == may
    assert may_hold(settings(), run)
    # Each bound alone excludes only what lies beyond it.
    early, late = ended is not None and ended < "2026-05-04", begun is not None and begun >= "2026-05-06"
    assert may_hold(settings(**START), run) == (not early)
    assert may_hold(settings(**END), run) == (not late)


def test_lists_by_agent_and_the_list_of_all() -> None:
    two = settings(agent_ids=["agent-2", "agent-1"])
    for name, by_agent in (("conversations", True), ("runs", True), ("agents", False), ("groups", False)):
        card = RESOURCES[name]
        assert list_keys(card, settings()) == ("",)
        assert set(list_keys(card, two)) == ({"agent-1", "agent-2"} if by_agent else {""})
    # The order of the ids does not matter.
    assert joint_key(two) == joint_key(settings(agent_ids=["agent-1", "agent-2"])) == "agent-1,agent-2"
    assert joint_key(settings()) == ""


@pytest.mark.parametrize(
    ("names", "given", "wrong"),
    [
        (["agents"], {"search_query": "words"}, "--search-query has no effect without message_search"),
        (["agents", "message_search"], {"search_query": "words"}, ""),
        (["agents"], {"batch_ids": ["job-1"]}, "--batch-id has no effect without batches"),
        (["batch_messages"], {"batch_ids": ["job-1"]}, ""),
        (["agents"], {}, ""),
    ],
)
def test_options_without_effect_are_refused(names: list[str], given: Some, wrong: str) -> None:
    if wrong:
        with pytest.raises(ConfigError, match=wrong):
            assert_effective(names, settings(**given))
    else:
        assert_effective(names, settings(**given))
    # In the configuration they may be meant for other loads.
    layer = Layer(Given.of(given), {name: name.upper() for name in given})
    assert_effective(names, make_settings({"base_url": HOST}, {}, Configuration(environment=[layer])))


def test_resources_that_a_load_cannot_read() -> None:
    with pytest.raises(ConfigError, match="message_search needs a query: --search-query TEXT"):
        assert_loadable(RESOURCES["message_search"], settings())
    assert_loadable(RESOURCES["message_search"], settings(search_query="words"))
    with pytest.raises(ConfigError, match="messages cannot be limited to agents"):
        assert_loadable(RESOURCES["messages"], settings(**ONE))
    assert_loadable(RESOURCES["messages"], settings())
    assert_loadable(RESOURCES["agents"], settings(**ONE))


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ({}, ["list", "each_list"]),
        # Only changes of lists are read, or those of some agents.
        ({"changes": "on"}, ["each_list"]),
        (ONE, ["each_list"]),
        ({"refresh": True}, ["list", "each_list", "each_parent"]),
    ],
    ids=str,
)
def test_which_loads_read_lists_whole(given: Some, whole: list[str]) -> None:
    now = datetime.now(timezone.utc)
    session = Session(started_at=now)
    session.settings = settings(**given)
    state = ResourceState(session, {"changes": {"since": now.isoformat()}})
    walks = {"list", "each_list", "each_parent"}
    assert walks & {card.walk for card in RESOURCES.values() if reads_whole(card, state)} == {*whole}
