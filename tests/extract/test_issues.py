"""What is reported of issues, and when a known one counts as resolved."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.extract.issues import _MOST_WITHOUT_ID, Issues
from letta_source.items import Nameless
from letta_source.paging.walk import Gap, Retried
from letta_source.rows.mask import Mask
from letta_source.schema.resources import RESOURCES
from letta_source.state.counts import Counts
from letta_source.state.known_issues import KnownIssues
from tests.support.wire import settings

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
GAP = Gap("m1", "m3", "unreadable")


class Load:
    """The issues of one load."""

    def __init__(
        self, stored: dict[str, Any], name: str = "agent_messages", hours: int = 0, **given: Any
    ) -> None:
        self.known = KnownIssues(stored, NOW + timedelta(hours=hours))
        self.counts = Counts()
        card = RESOURCES[name]
        mask = Mask(card, settings(**given))
        self.issues = Issues(card, NOW + timedelta(hours=hours), self.counts, mask, self.known)

    def rows(self, *names: str) -> list[tuple[Any, ...]]:
        found = [tuple(row[name] for name in names) for row in self.issues.rows]
        self.issues.rows.clear()
        self.known.commit()
        return found


def test_a_gap_is_known_the_second_time() -> None:
    stored: dict[str, Any] = {}
    for hours, known in ((0, False), (1, True)):
        load = Load(stored, hours=hours)
        assert load.issues.gap("agent-1", GAP, "agent-1") is known
        assert load.rows("known", "after_id") == [(known, "m1")]
        assert (load.counts.problems, load.counts.known) == (1, int(known))


def test_a_gap_that_is_met_twice_is_told_once() -> None:
    load = Load({})
    for _ in range(2):
        load.issues.gap("agent-1", GAP, "agent-1")
    load.issues.gap("agent-2", GAP, "agent-2")
    assert load.rows("parent_id", "next_try_at") == [("agent-1", NOW), ("agent-2", NOW)]
    assert load.counts.problems == 2


def test_the_rest_of_a_gap_is_known() -> None:
    stored: dict[str, Any] = {}
    first = Load(stored)
    first.issues.gap("agent-1", GAP, "agent-1")
    first.rows("known")
    later = Load(stored, hours=1)
    assert later.issues.gap("agent-1", Gap("m2", "m2b", "no"), "agent-1", Retried("m1", "m3", None))
    assert later.rows("known", "after_id", "resolved") == [(True, "m2", None)]
    assert [one["after_id"] for one in stored["issues"]["agent-1"]] == ["m2"]


def test_a_known_issue_that_was_not_met_is_resolved_unless_it_waits() -> None:
    stored: dict[str, Any] = {}
    first = Load(stored)
    for after_id in ("m1", "m5"):
        first.issues.gap("agent-1", Gap(after_id, f"{after_id}b", "no"), "agent-1")
    first.issues.settle("agent-1")
    assert first.rows("resolved") == [(None,), (None,)]
    later = Load(stored, hours=1)
    later.issues.settle("agent-1", waiting=[("unreadable", "m5", "m5b")])
    assert later.rows("after_id", "known", "resolved") == [("m1", True, True)]
    assert later.counts.known == 1
    assert [one["after_id"] for one in stored["issues"]["agent-1"]] == ["m5"]


@pytest.mark.parametrize(
    ("name", "kind", "after_id", "whole", "is_resolved"),
    [
        ("agent_messages", "unreadable", "m1", False, True),
        # A cursor passes elements without an id, so most loads do not meet them.
        ("agent_messages", "no_id", "m1", False, False),
        ("agent_messages", "no_id", "m1", True, True),
        # Only changes of the list are read.
        ("agents", "unreadable", "agent-1", False, False),
        ("agents", "unreadable", "agent-1", True, True),
        ("agents", "not_found", "", False, True),
    ],
)
def test_an_issue_beyond_what_was_read_stays_open(
    name: str, kind: str, after_id: str, whole: bool, is_resolved: bool
) -> None:
    stored: dict[str, Any] = {}
    first = Load(stored, name)
    first.issues.report(kind, "", "no", after_id, tracked=True)
    assert first.rows("next_try_at") == [(NOW if kind == "unreadable" else None,)]
    later = Load(stored, name, hours=1)
    later.issues.settle("", whole=whole)
    assert [resolved for (resolved,) in later.rows("resolved")] == [True] * is_resolved
    assert later.counts.known == (not is_resolved)


def test_elements_without_an_id_are_told_by_kind_and_place() -> None:
    stored: dict[str, Any] = {}
    load = Load(stored)
    others = [Nameless(["text", {}, 5, {}], ""), Nameless([None], "m2")]
    load.issues.without_id("agent-1", others, "m1")
    assert load.rows("kind", "after_id", "detail", "next_try_at") == [
        ("no_id", "m1", "4 without an id: dict, int, str", None),
        ("no_id", "m2", "1 without an id: NoneType", None),
    ]


def test_only_so_many_places_without_an_id_are_kept() -> None:
    stored: dict[str, Any] = {}
    places = [Nameless([None], f"m{number}") for number in range(_MOST_WITHOUT_ID + 1)]
    for hours in (0, 1):
        load = Load(stored, hours=hours)
        load.issues.without_id("agent-1", places, "")
        known = [known for (known,) in load.rows("known")]
        assert known == [hours == 1] * _MOST_WITHOUT_ID + [None]
    assert len(stored["issues"]["agent-1"]) == _MOST_WITHOUT_ID


def test_misfits_are_told_by_their_ids_and_not_retried() -> None:
    stored: dict[str, Any] = {}
    load = Load(stored, "agents")
    load.issues.misfits("", [{"id": "agent-1", "name": ["no text"]}, "no object", {"name": 5}])
    assert load.rows("kind", "after_id", "before_id", "known") == [
        ("invalid", "agent-1", "agent-1", None),
        ("invalid", "", "", None),
        ("invalid", "", "", None),
    ]
    assert stored["issues"] == {}


def test_a_new_issue_is_logged_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    load = Load({})
    load.issues.gap("agent-1", Gap("m1", "", "why"), "agent-1")
    load.issues.report("invalid", "", "why", "", "m3")
    assert caplog.messages == [
        "agent_messages: agent-1 unreadable after m1: why",
        "agent_messages: the list invalid before m3: why",
    ]


def test_a_masked_detail_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    load = Load({}, mask={"load_issues.detail": "drop"})
    load.issues.gap("agent-1", GAP, "agent-1")
    assert load.rows("detail") == [(None,)]
    assert caplog.messages == ["agent_messages: agent-1 unreadable after m1 before m3: its detail is masked"]


@pytest.mark.parametrize(("hours", "when"), [(1, "at 2026-05-04 13:50 UTC"), (2, "by the next load")])
def test_open_issues_are_summed_up(caplog: pytest.LogCaptureFixture, hours: int, when: str) -> None:
    stored: dict[str, Any] = {}
    for hour in (0, 1):
        load = Load(stored, hours=hour)
        load.issues.gap("step-1", GAP, "run-1")
        load.issues.gap("agent-1", Gap("m1", "m3", "no"), "agent-1")
        load.rows()
    caplog.clear()
    later = Load(stored, hours=hours)
    with caplog.at_level(logging.INFO):
        later.issues.summarize(["run-1"])
    assert caplog.messages == [f"agent_messages: known issues still open: 1; next retry {when}"]
    caplog.clear()
    # One that this load has reported is counted once.
    later.issues.gap("step-1", GAP, "run-1")
    counted = later.counts.known
    later.issues.summarize(["run-1"])
    assert later.counts.known == counted
    caplog.clear()
    with caplog.at_level(logging.INFO):
        Load(stored).issues.summarize()
    assert caplog.messages == []
