"""The outcome of a load that ended."""

from __future__ import annotations

import pytest

from letta_source.loading.outcome import why_failed
from letta_source.state.counts import Counts
from letta_source.state.session import Session


@pytest.mark.parametrize(
    ("parents", "failed", "is_failure"),
    [(0, 0, False), (1, 0, False), (1, 1, True), (2, 1, False), (3, 1, False), (3, 2, True), (4, 2, False)],
)
def test_a_resource_whose_parents_mostly_failed_fails_the_load(
    parents: int, failed: int, is_failure: bool
) -> None:
    session = Session()
    session.counts["agents"] = Counts()
    session.counts["agent_messages"] = Counts(parents=parents, failed=failed)
    session.counts["runs"] = Counts(parents=100)
    said = f"agent_messages: {failed} of {parents} could not be read: see load_issues"
    assert why_failed(session) == (said if is_failure else None)


@pytest.mark.parametrize(
    ("parents", "failed", "known", "is_failure"),
    [
        (1, 1, 1, False),
        (3, 3, 3, False),
        (1, 1, 0, False),
        (2, 2, 1, False),
        (9, 8, 8, False),
        (2, 2, 0, True),
        (3, 3, 1, True),
        (4, 3, 0, True),
        (9, 7, 4, True),
        (9, 4, 0, False),
    ],
)
def test_if_only_news_is_asked_for_known_failures_do_not_fail_the_load(
    parents: int, failed: int, known: int, is_failure: bool
) -> None:
    """In a quiet hour, one unreadable agent may be the only one of 100,000 that is read."""
    session = Session()
    session.counts["agent_messages"] = Counts(
        parents=parents, done=parents, failed=failed, failed_known=known, only_news=True
    )
    assert bool(why_failed(session)) == is_failure


def test_the_fatal_error_is_reported_first() -> None:
    session = Session()
    session.counts["agent_messages"] = Counts(parents=1, failed=1)
    session.packages.fatal = "the server is away"
    assert why_failed(session) == "the server is away"
