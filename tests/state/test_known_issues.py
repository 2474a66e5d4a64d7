"""Known issues are told from new ones, retried ever less often, and stored only by `commit`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest

from letta_source.state.known_issues import Key, KnownIssues

START = datetime(2031, 3, 9, 4, tzinfo=timezone.utc)
KEY: Key = ("unreadable", "message-3", "message-5")


def at(state: dict[str, Any], hours: float = 0, **how: bool) -> KnownIssues:
    return KnownIssues(state, START + timedelta(hours=hours), **how)


def tries(state: dict[str, Any], hours: Sequence[float]) -> list[float]:
    """Load at these hours, with every try failing; return the hours at which a load tried."""
    tried = []
    for hour in hours:
        issues = at(state, hour)
        if issues.is_due("agent-a", KEY):
            issues.fail("agent-a", KEY)
            tried.append(hour)
        issues.commit()
    return tried


def test_lasting_issues_are_retried_less_and_less_often() -> None:
    tried = tries({}, range(24 * 30))
    assert tried[:7] == [0, 1, 2, 4, 8, 15, 29]
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert gaps == sorted(gaps)
    # At least daily, so that a repaired server is noticed.
    assert gaps[-1] == 23
    assert len(tried) < 40


@pytest.mark.parametrize("late", [-0.1, 0, 0.05])
def test_an_hourly_load_may_start_early(late: float) -> None:
    assert tries({}, [0, 1 + late, 2]) == [0, 1 + late, 2]


def test_an_issue_is_known_the_second_time() -> None:
    state: dict[str, Any] = {}
    for hour, known in enumerate([False, True, True]):
        issues = at(state, hour)
        assert issues.fail("agent-a", KEY) is known
        issues.commit()
    assert at(state).fail("agent-b", KEY) is False
    assert at(state).fail("agent-a", ("gone", "", "")) is False


@pytest.mark.parametrize(
    "now",
    [
        ("unreadable", "message-3", "message-9"),
        ("unreadable", "message-2", "message-5"),
        ("unreadable", "message-3", ""),
    ],
)
def test_a_gap_with_one_moved_end_is_the_same_issue(now: Key) -> None:
    state: dict[str, Any] = {}
    first = at(state)
    first.fail("agent-a", KEY)
    first.commit()
    second = at(state, 1)
    assert second.fail("agent-a", now) is True
    assert set(second.of("agent-a")) == {now}
    # It may move further, so the next try does not wait.
    assert second.is_due("agent-a", now)


def test_two_open_ended_gaps_are_two_issues() -> None:
    issues = at({})
    issues.fail("agent-a", ("unreadable", "message-1", ""))
    assert issues.fail("agent-a", ("unreadable", "message-7", "")) is False
    assert len(issues.of("agent-a")) == 2


def test_a_resolved_issue_is_new_when_it_returns() -> None:
    state: dict[str, Any] = {}
    issues = at(state)
    issues.fail("agent-a", KEY)
    issues.commit()
    issues.resolve("agent-a", KEY)
    issues.commit()
    assert state == {"issues": {}}
    assert issues.fail("agent-a", KEY) is False


def test_only_commit_changes_the_state() -> None:
    state: dict[str, Any] = {}
    issues = at(state)
    issues.fail("agent-a", KEY)
    assert "issues" not in state
    # The next load package has a state of its own.
    other: dict[str, Any] = {}
    issues.bind(other)
    issues.commit()
    assert (state, [*other["issues"]]) == ({}, ["agent-a"])


def test_a_window_recognizes_issues_but_stores_none() -> None:
    state: dict[str, Any] = {}
    issues = at(state)
    issues.fail("agent-a", KEY)
    issues.commit()
    before = repr(state)
    window = at(state, 1, frozen=True)
    assert window.fail("agent-a", KEY) is True
    assert window.fail("agent-b", KEY) is False
    window.commit()
    assert repr(state) == before


def test_a_refresh_retries_all() -> None:
    state: dict[str, Any] = {}
    for hour in range(5):
        issues = at(state, hour)
        issues.fail("agent-a", KEY)
        issues.commit()
    assert not at(state, 5).is_due("agent-a", KEY)
    assert at(state, 5, eager=True).is_due("agent-a", KEY)


def test_gaps_of_older_versions_are_due() -> None:
    assert at({"gaps": {"agent-a": [["message-3", "message-5"]]}}).is_due("agent-a", KEY)
