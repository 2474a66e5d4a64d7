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
            loads.run(older=True)
            expected.check()
    expected.widen()
    for happens in (
        story.an_hour,
        story.late_arrivals,
        story.a_reset_agent_and_a_batch_that_ends,
        story.a_newer_server,
    ):
        happens()
        loads.run()
        expected.check()
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


def test_a_message_that_shrank(loads: Loads, place: Place, story: Story) -> None:
    def parts(table: str, column: str, kind: str) -> list[tuple[int, str]]:
        return [(row[1], row[2]) for row in place.rows(table, column, "position", kind) if row[0] == shrunk]

    def items() -> list[tuple[int, str]]:
        return parts("agent_messages", "id", "message_type")

    def calls() -> list[tuple[int, str]]:
        return parts("agent_messages__tool_calls", "message_id", "name")

    messages = ("--resources", "agent_messages")
    shrunk = story.longest_young()
    said = loads.run(*messages)
    before = items()
    story.a_shrunk_message()
    loads.run(*messages)
    now = (0, "reasoning_message")
    if place.kind == "replaces":
        assert (items(), calls()) == ([now], [])
    elif place.kind == "upserts":
        assert items() == [now, *before[1:]]
        assert len(calls()) == 1
    else:
        assert (before, items()) == ([], [])
        story.quiet()
        loads.run(*messages)
        assert (items(), calls()) == ([now], [])
    assert [line for line in said if "can only" in line] == [
        line for line in said if any(limit in line for limit in LIMITS[place.kind])
    ]
    assert sum("can only" in line for line in said) == len(LIMITS[place.kind])


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
