"""A first load and a later one are killed at every step; after the next load nothing shows it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.cli_loads import ONE_OF_EACH_KIND, Loads
from tests.support.expected_rows import Expected
from tests.support.hours import Story

pytestmark = pytest.mark.destinations


@pytest.fixture
def resources() -> Sequence[str]:
    return ONE_OF_EACH_KIND


@pytest.mark.parametrize(
    ("keeps_folder", "first", "later"),
    [
        (True, ("extract", "load"), ("normalize", "before commit")),
        (False, ("normalize", "before commit", "after commit"), ("load", "after commit")),
    ],
    ids=["resumed", "folder lost"],
)
def test_killed_loads(
    keeps_folder: bool,
    first: tuple[str, ...],
    later: tuple[str, ...],
    loads: Loads,
    expected: Expected,
    story: Story,
) -> None:
    for points in (first, later):
        for point in points:
            loads.kill(point)
            if not keeps_folder:
                loads.forget()
            story.old_messages()
        loads.run()
        expected.check(after_kills=True)
        story.an_hour()
