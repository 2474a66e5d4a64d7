"""Items are filtered by the requested agents and window, also where a field is absent."""

from __future__ import annotations

from typing import Any

import pytest

from letta_source.plan.filters import is_wanted, joint_key, list_keys, may_hold
from letta_source.schema.resources import RESOURCES
from tests.support.wire import settings

Given = dict[str, Any]
ONE: Given = {"agent_ids": ["agent-1"]}
START: Given = {"start_date": "2026-05-04"}
END: Given = {"end_date": "2026-05-06"}
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
