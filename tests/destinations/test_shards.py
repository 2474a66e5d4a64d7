"""Shards that load into one PostgreSQL at the same time give the tables of one load."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.cli_loads import ONE_OF_EACH_KIND, Loads
from tests.support.expected_rows import Expected
from tests.support.hours import Story
from tests.support.places import chosen

pytestmark = [
    pytest.mark.destinations,
    pytest.mark.skipif("postgres" not in chosen(), reason="ALL_DESTINATIONS leaves PostgreSQL out"),
    pytest.mark.parametrize("place", ["postgres"], indirect=True),
]


@pytest.fixture
def resources() -> Sequence[str]:
    return ONE_OF_EACH_KIND


def test_four_shards_then_seven(loads: Loads, expected: Expected, story: Story) -> None:
    loads.run_shards(4)
    expected.check()
    story.an_hour()
    loads.run_shards(7)
    expected.check()
    story.late_arrivals()
    loads.run()
    expected.check()
