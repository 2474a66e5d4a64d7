"""A first load and a later one are killed at every step; after the next load nothing shows it."""

from __future__ import annotations

import pytest

from letta_source.demo import Server
from tests.support.cli_loads import Loads
from tests.support.expected_rows import Expected
from tests.support.hours import Story
from tests.support.places import Place

pytestmark = pytest.mark.destinations

# One of each kind: a list, parents that finish, messages by cursor, messages of finished parents.
SOME = ("agents", "runs", "agent_messages", "batch_messages")


@pytest.fixture
def loads(place: Place, server: Server, story: Story) -> Loads:
    return Loads(place, server, story, SOME)


@pytest.fixture
def expected(place: Place, server: Server, story: Story) -> Expected:
    return Expected(place, server, story, SOME)


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
