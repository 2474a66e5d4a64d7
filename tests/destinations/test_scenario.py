"""The same hours of a Letta, loaded into every kind of destination: each table, row for row, after each load.

Databases hold what a merge in memory holds. Delta and Iceberg replace rows one by one, so what a message no
longer has stays. Plain files only grow: what has settled comes once, and nothing else ever.
"""

from __future__ import annotations

import pytest

from .expected import Expected
from .loads import KILL_POINTS, NEW_COLUMN, Loads, make_older
from .places import Place
from .story import Story

pytestmark = pytest.mark.destinations


def test_a_day(loads: Loads, expected: Expected, story: Story) -> None:
    for happens in (
        story.nothing,
        story.nothing,
        story.an_hour,
        story.late_arrivals,
        story.a_shrunk_message,
        story.a_reset_agent,
        story.a_batch_that_ends,
        story.a_newer_server,
    ):
        happens()
        import time; t=time.time()
        loads.run()
        u=time.time(); expected.check()
        print(happens.__name__, u-t, time.time()-u)
    loads.run("--lag", "0")
    expected.check("0")
