"""The same hours of a Letta, loaded into every kind of destination: each table, row for row, after each load.

Databases hold the rows of a merge in memory. Delta and Iceberg replace single rows, so old rows remain if a
message later has fewer parts. Plain files are append-only: each row is written once, when it is old enough.
"""

from __future__ import annotations

import pytest

from tests.support.cli_loads import NEW_COLUMN, Loads, make_older
from tests.support.expected_rows import LOADED, Expected
from tests.support.exported_rows import check_exports
from tests.support.hours import Story
from tests.support.library_loads import Row
from tests.support.places import Kind, Place, chosen

pytestmark = pytest.mark.destinations

# By kind of destination, what a load logs about its limits.
LIMITS: dict[Kind, list[str]] = {
    "replaces": [],
    "upserts": ["can only add and update rows"],
    "appends": ["can only append rows"],
}


def test_a_day_of_loads_and_an_export(loads: Loads, expected: Expected, place: Place, story: Story) -> None:
    """The day begins with an older version, which lacks a column."""
    with pytest.MonkeyPatch.context() as patch:
        make_older(patch)
        for _ in range(2):
            said = loads.run(older=True)
            expected.check()
    limits = [line for line in said if "can only" in line]
    assert all(limit in line for limit, line in zip(LIMITS[place.kind], limits, strict=True))
    expected.widen()
    story.an_hour()
    loads.run()
    expected.check()
    shrunk = story.longest_young()
    before = parts(place, shrunk)
    for happens in (story.late_arrivals, story.a_reset_agent_and_a_batch_that_ends, story.a_newer_server):
        happens()
        loads.run()
        expected.check()
        assert_shrunk(place.kind, before, parts(place, shrunk))
    # Rows that the older version loaded have no value there.
    assert {row[0] for row in place.rows("agent_messages", NEW_COLUMN)} > {None}
    if place.kind == "replaces":
        for table in (table for resource in LOADED for table in resource.tables):
            assert place.column_types(table.name).keys() >= {column.name for column in table.columns}
    # Without an overlap nothing is too young.
    loads.run("--lag", "0")
    expected.check("0")
    # Here, because a day's loads take far longer than the reads.
    check_exports(place)


def parts(place: Place, message_id: str) -> tuple[list[Row], list[Row]]:
    """Return the position and type of each item of a message, and the position and name of each tool call."""
    items = place.rows("agent_messages", "id", "position", "message_type")
    calls = place.rows("agent_messages__tool_calls", "message_id", "position", "name")
    items, calls = ([row[1:] for row in rows if row[0] == message_id] for rows in (items, calls))
    return items, calls


def assert_shrunk(kind: Kind, before: tuple[list[Row], list[Row]], now: tuple[list[Row], list[Row]]) -> None:
    """Assert what is left of a message that had several items and a call, and now has one item."""
    only = (0, "reasoning_message")
    if kind == "upserts":
        assert now == ([only, *before[0][1:]], before[1])
    else:
        assert now == ([only], [])
    if kind == "appends":
        # It was too young.
        assert before == ([], [])
    else:
        assert (len(before[0]) > 1, len(before[1])) == (True, 1)


@pytest.mark.skipif("parquet" not in chosen(), reason="ALL_DESTINATIONS leaves plain files out")
@pytest.mark.parametrize("place", ["parquet"], indirect=True)
def test_messages_read_again_without_a_cursor_are_not_added_again(
    loads: Loads, place: Place, story: Story
) -> None:
    all_messages = ("--resources", "agent_messages", "--lag", "0")
    loads.run(*all_messages)
    before = place.rows("agent_messages")
    agent_id = story.agents[0]
    story.letta.delete_message(story.letta.list_of("agent", agent_id).ids()[-1])
    story.old_messages()
    loads.run(*all_messages)
    rows = place.rows("agent_messages")
    assert set(before) < set(rows)
    assert len(rows) == len(set(rows))
