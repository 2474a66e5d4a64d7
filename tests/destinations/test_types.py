"""All destinations store values as sent: times, json, booleans, long and unusual texts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.demo import Letta, serve
from letta_source.demo.shapes import call, tool_return_item
from tests.support.cli_loads import Loads
from tests.support.hours import Story
from tests.support.library_loads import TABLES, columns_of, quiet_agent
from tests.support.places import Place

pytestmark = pytest.mark.destinations

# 20 MB; a million of its characters are beyond the BMP.
LONG = "0123456789 äöü 🙂" * 1_000_000
TEXTS = {
    "empty": ("", ""),
    "quoted": ("'\"\\`,;\t\r\n\\N\\x00 NULL", "'\"\\`,;\t\r\n\\N\\x00 NULL"),
    "spaces": ("  a\u00a0\u2028 ", "  a\u00a0\u2028 "),
    "beyond the BMP": ("😀🏳️‍🌈\U0010ffff", "😀🏳️‍🌈\U0010ffff"),
    "NUL": ("a\0b\0", "a\ufffdb\ufffd"),
    "lone surrogates": ("\udc00a\ud83d", "\ufffda\ufffd"),
    "long": (LONG, LONG),
}
JSON: dict[str, tuple[Any, Any]] = {
    "object": (
        {"a": {"b": [1, None, True, 1.5, ""]}, "ä": "😀"},
        {"a": {"b": [1, None, True, 1.5, ""]}, "ä": "😀"},
    ),
    "text that is json": ({"a": '{"b": "\\""}'}, {"a": '{"b": "\\""}'}),
    "empty": ({}, {}),
    "NUL": ({"a\0": "\0", "b": ["\0"]}, {"a\ufffd": "\ufffd", "b": ["\ufffd"]}),
    "no NUL": ({"a": "\\u0000"}, {"a": "\\u0000"}),
    "lone surrogates": ({"\ud83d": "\udc00"}, {"\ufffd": "\ufffd"}),
    "null": (None, None),
}
UTC = timezone.utc
TIMES = {
    "2024-02-29T23:59:59-11:00": datetime(2024, 3, 1, 10, 59, 59, tzinfo=UTC),
    "2024-05-04T00:00:00+05:30": datetime(2024, 5, 3, 18, 30, tzinfo=UTC),
    "2024-10-27T01:30:00Z": datetime(2024, 10, 27, 1, 30, tzinfo=UTC),
    "1969-12-31T23:59:59+00:00": datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
}
BOOLEANS = [True, False, None]


READ = ("agents", "agent_messages", "agent_messages__content", "agent_messages__tool_returns")


@dataclass(frozen=True)
class Loaded:
    """A place after the load, its rows by table and name, and the load's output."""

    place: Place
    rows: dict[str, dict[str, dict[str, Any]]]
    said: list[str]

    def value(self, table: str, name: str, column: str) -> Any:
        return self.rows[table][name][column]


def strange(letta: Letta) -> dict[str, str]:
    """Add the things to load; return the id of each by name."""
    agent_id = quiet_agent(letta)
    old = datetime.now(UTC) - timedelta(days=1)
    ids = {}

    def add(name: str, **item: Any) -> None:
        sent = {"message_type": "user_message", "content": "", **item}
        ids[name] = letta.add_message(agent_id, [sent], date=old)

    for name, (text, _) in TEXTS.items():
        add(f"text {name}", content=text, new_field=text[:10])
    for text in TIMES:
        add(f"time {text}", date=text)
    for value in BOOLEANS:
        add(f"boolean {value}", is_err=value)
    returned = tool_return_item([call("roll", "{}", "call_1")], LONG)
    ids["long return"] = letta.add_message(agent_id, [returned], date=old)
    for name, (value, _) in JSON.items():
        ids[f"json {name}"] = one = letta.add_agent()
        letta.replace_row("agents", one, metadata=value, created_at="2024-05-04T12:00:00.123456+05:30")
    return ids


def test_values_are_stored_as_sent(place: Place) -> None:
    """One test for each destination, because workers that share its tests would each load the long texts."""
    loaded = load(place)
    for name in TEXTS:
        check_text(name, loaded)
    check_a_long_tool_return(loaded)
    for name in JSON:
        check_json(name, loaded)
    check_times(loaded)
    check_booleans_and_nulls(loaded)
    for table in ("agents", "agent_messages", "agent_messages__tool_returns"):
        check_types_of_columns(table, loaded)
    check_what_was_replaced_is_said_once(loaded)


def load(place: Place) -> Loaded:
    story = Story()
    story.letta = Letta()
    story.now = datetime.now(UTC)
    ids = strange(story.letta)
    with serve(story.letta) as server:
        said = Loads(place, server, story).run("--resources", "agents,agent_messages")
    names = {one: name for name, one in ids.items()}
    return Loaded(place, {table: _by_name(place, table, names) for table in READ}, said)


def _by_name(place: Place, table: str, names: dict[str, str]) -> dict[str, dict[str, Any]]:
    rows = [dict(zip(columns_of(table), row, strict=True)) for row in place.rows(table)]
    key = "message_id" if "__" in table else "id"
    return {names[row[key]]: row for row in rows if row[key] in names}


def check_text(name: str, loaded: Loaded) -> None:
    expected = TEXTS[name][1]
    for table in ("agent_messages", "agent_messages__content"):
        text = loaded.value(table, f"text {name}", "text")
        # A plain assertion would print 20 MB.
        assert text[:100] == expected[:100], name
        assert text == expected or pytest.fail(f"{name} differs beyond its first 100 characters")
    extra = loaded.value("agent_messages", f"text {name}", "extra")
    assert json.loads(extra) == {"new_field": expected[:10]}, name


def check_a_long_tool_return(loaded: Loaded) -> None:
    returned = loaded.value("agent_messages__tool_returns", "long return", "tool_return")
    assert len(returned.encode()) >= 20_000_000
    assert returned == LONG or pytest.fail("differs")


def check_json(name: str, loaded: Loaded) -> None:
    value = loaded.value("agents", f"json {name}", "metadata")
    assert (None if value is None else json.loads(value)) == JSON[name][1], name


def check_times(loaded: Loaded) -> None:
    found = {text: loaded.value("agent_messages", f"time {text}", "created_at") for text in TIMES}
    assert found == TIMES
    created = loaded.value("agents", "json empty", "created_at")
    assert created == datetime(2024, 5, 4, 6, 30, 0, 123456, tzinfo=UTC)


def check_booleans_and_nulls(loaded: Loaded) -> None:
    for value in BOOLEANS:
        assert loaded.value("agent_messages", f"boolean {value}", "is_err") is value
    assert loaded.value("agent_messages", "boolean None", "sender_id") is None


def check_types_of_columns(table: str, loaded: Loaded) -> None:
    found = loaded.place.column_types(table)
    wrong = {
        column.name: found.get(column.name)
        for column in TABLES[table].columns
        if column.name in found and found[column.name] not in loaded.place.types[column.type]
    }
    assert not wrong, table
    # Append-only destinations have no column that marks deletion.
    assert {column.name for column in TABLES[table].columns} - found.keys() <= {"_deleted"}


def check_what_was_replaced_is_said_once(loaded: Loaded) -> None:
    assert len([line for line in loaded.said if "U+FFFD" in line]) == 1
