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


def test_issues_of_other_kinds_are_others() -> None:
    issues = at({})
    issues.fail("agent-a", KEY)
    assert issues.fail("agent-a", ("misfit", "message-3", "")) is False
    assert issues.gaps("agent-a", "unreadable") == {("message-3", "message-5"): True}
    assert set(issues.of("agent-a")) == {KEY, ("misfit", "message-3", "")}


def test_a_retried_gap_is_replaced_by_what_is_left_of_it() -> None:
    issues = at({})
    for key in (KEY, ("unreadable", "message-7", "message-9")):
        issues.fail("agent-a", key)
    left: Key = ("unreadable", "message-4", "message-4b")
    # Neither end is the same, so only the caller knows.
    assert issues.fail("agent-a", left, instead_of=KEY) is True
    assert set(issues.of("agent-a")) == {left, ("unreadable", "message-7", "message-9")}
    # It is known although this load has only just noted it.
    assert issues.fail("agent-b", left, instead_of=KEY) is True


def test_a_retry_alone_keeps_the_place_of_a_gap() -> None:
    issues = at({})
    keys: list[Key] = [("unreadable", name, f"{name}b") for name in "abc"]
    for key in keys:
        issues.fail("agent-a", key)
    issues.fail("agent-a", keys[0], instead_of=keys[0])
    assert [*issues.of("agent-a")] == keys
    # A walk meets them in the list's order.
    issues.fail("agent-a", keys[0])
    assert [*issues.of("agent-a")] == [*keys[1:], keys[0]]


def test_gaps_that_share_an_end_stay_two_once_both_are_known() -> None:
    issues = at({})
    both: list[Key] = [("unreadable", "message-1", "message-3"), ("unreadable", "message-3", "message-5")]
    for _ in range(2):
        for key in both:
            issues.fail("agent-a", key)
    assert set(issues.of("agent-a")) == {*both}


def test_a_run_waits_for_the_issues_of_its_steps() -> None:
    state: dict[str, Any] = {}
    for hour in (0, 1):
        issues = at(state, hour)
        for step in ("step-1", "step-2"):
            issues.fail(step, KEY, job_id="run-1")
        issues.fail("run-2", KEY, job_id="run-2")
        issues.commit()
    assert [*state["issues"]] == ["step-1", "step-2", "run-2"]
    assert "job" not in state["issues"]["run-2"][0]
    later = at(state, 1.5)
    assert later.parents("run-1") == ["run-1", "step-1", "step-2"]
    assert later.parents("run-2") == ["run-2"]
    # As before it is stored, too.
    for name in ("a", "b"):
        later.fail("step-3", ("unreadable", name, f"{name}b"), job_id="run-1")
    assert later.parents("run-1") == ["run-1", "step-1", "step-2", "step-3"]
    later.bind(state)
    assert later.parents("run-1") == ["run-1", "step-1", "step-2", "step-3"]
    # One that is due is enough.
    assert (later.waits("run-1"), later.waits("run-2"), later.waits("run-3")) == (False, True, False)
    assert at(state, 1.5).waits("run-1")
    assert not at(state, 2).waits("run-1")


def test_elements_without_an_id_are_not_waited_for() -> None:
    state: dict[str, Any] = {}
    key: Key = ("no_id", "message-1", "")
    for hour in (0, 1):
        issues = at(state, hour)
        issues.fail("run-1", key)
        assert issues.next_try("run-1", key) is None
        issues.commit()
    assert not at(state, 1).waits("run-1")
    issues = at(state, 1)
    for _ in range(2):
        issues.fail("run-1", KEY)
    assert issues.next_try("run-1", KEY) == START + timedelta(hours=1, minutes=50)
