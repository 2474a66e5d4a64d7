"""The rules of `verify`, one by one: what counts as a difference, and what does not."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest

from letta_source.operate.compare import Comparison, Key, Tally
from letta_source.operate.value_differences import Hiding
from letta_source.schema.resources import RESOURCES
from letta_source.settings.model import make_settings

CARD, STEPS = RESOURCES["agent_messages"], RESOURCES["steps"]
CALLS = f"{CARD.name}__tool_calls"
SINCE = datetime(2026, 3, 4, 5, 6, 7, 250_000, tzinfo=timezone.utc)
LOAD = "1772600767.25"
Row = dict[str, Any]


def message(number: int = 1, position: int = 0, **fields: Any) -> Row:
    old = SINCE - timedelta(hours=3)
    base = {"agent_id": "agent-1", "id": f"message-{number}", "position": position, "_dlt_load_id": LOAD}
    return base | {"sequence": number, "created_at": old, "text": "hello"} | fields


def call(number: int = 1, idx: int = 0, **fields: Any) -> Row:
    base = {"agent_id": "agent-1", "message_id": f"message-{number}", "position": 0, "idx": idx}
    return base | {"name": "roll", "_dlt_load_id": LOAD} | fields


def table(name: str, rows: list[Row]) -> pa.Table:
    card = RESOURCES[name.partition("__")[0]]
    (found,) = (one for one in card.tables if one.name == name)
    schema = pa.schema([field.with_nullable(True) for field in found.arrow_schema])
    return pa.Table.from_pylist(rows, schema=schema)


def compared(
    held: list[Row],
    sent: list[Row],
    *,
    held_calls: Collection[Row] = (),
    sent_calls: Collection[Row] = (),
    gone: Collection[Key] = (),
    incomplete: bool = False,
    masks: dict[str, str] | None = None,
    longest: int | None = None,
    keeps_old: bool = False,
    **settings: Any,
) -> dict[str, dict[str, int]]:
    """Compare an agent's messages and their calls; return the counts that are not 0, by table."""
    of = make_settings({"base_url": "http://localhost:8283", **settings}, {})
    there = {one.name: table(one.name, []) for one in CARD.tables}
    there[CARD.name], there[CALLS] = table(CARD.name, held), table(CALLS, [*held_calls])
    hiding = Hiding(CARD, of, {LOAD: "none"} if masks is None else masks, longest)
    comparison = Comparison(CARD, there, hiding, SINCE, {}, longest, keeps_old)
    comparison.take(CARD.name, table(CARD.name, sent))
    comparison.take(CALLS, table(CALLS, [*sent_calls]))
    comparison.end(gone, incomplete)
    found = {name: {k: n for k, n in one.counts.items() if n} for name, one in comparison.tallies.items()}
    return {name: counts for name, counts in found.items() if counts}


def of_messages(*args: Any, **options: Any) -> dict[str, int]:
    return compared(*args, **options).get(CARD.name, {})


def test_the_same_rows_do_not_differ() -> None:
    assert compared([message(1), message(2)], [message(2), message(1)]) == {}


@pytest.mark.parametrize(
    ("held", "sent", "kind"),
    [
        ([], [message()], "missing"),
        ([message()], [message(text="bye")], "edited"),
        ([message(text=None)], [message()], "edited"),
        ([message()], [message(text=None)], "edited"),
        ([message(is_err=False)], [message(is_err=True)], "edited"),
        ([message(seq_id=1)], [message(seq_id=2)], "edited"),
        ([message(created_at=SINCE - timedelta(hours=4))], [message()], "edited"),
        ([message(extra='{"a": 1}')], [message(extra='{"a": 2}')], "edited"),
        ([message(), message(position=1)], [message()], "extra"),
        ([message(), message()], [message()], "extra"),
    ],
)
def test_each_kind_of_difference(held: list[Row], sent: list[Row], kind: str) -> None:
    assert of_messages(held, sent) == {kind: 1}


@pytest.mark.parametrize(
    ("held", "sent"),
    [
        ({"extra": '{"a":1,"b":[2]}'}, {"extra": '{"b": [2], "a": 1}'}),
        ({"sequence": 5}, {"sequence": 6}),
        ({"_dlt_load_id": LOAD}, {"_dlt_load_id": "another"}),
    ],
)
def test_columns_about_the_load_are_not_compared(held: Row, sent: Row) -> None:
    assert compared([message(**held)], [message(**sent)]) == {}


def test_rows_that_are_not_sent_are_gone_unreadable_or_extra() -> None:
    key = ("agent-1", "message-1", 0)
    assert of_messages([message()], [], gone=[key]) == {"gone": 1}
    assert of_messages([message()], [], gone=[key], incomplete=True) == {"gone": 1}
    assert of_messages([message()], [], incomplete=True) == {"unreadable": 1}
    assert of_messages([message()], []) == {"extra": 1}
    # A row marked as deleted is no difference, unless the server has it again.
    assert of_messages([message(_letta_deleted_at=SINCE)], []) == {}
    assert of_messages([message(_letta_deleted_at=SINCE)], [message()]) == {"edited": 1}


@pytest.mark.parametrize(
    ("moment", "is_newer"),
    [
        (SINCE, True),
        (SINCE + timedelta(hours=1), True),
        # A time in whole seconds may be later than the start of the load.
        (SINCE.replace(microsecond=0), True),
        (SINCE.replace(microsecond=1), False),
        (SINCE.replace(microsecond=0) - timedelta(seconds=1), False),
    ],
)
def test_changes_since_the_last_load_are_newer(moment: datetime, is_newer: bool) -> None:
    assert of_messages([], [message(created_at=moment)]) == {"newer" if is_newer else "missing": 1}
    held, sent = [message(created_at=moment)], [message(created_at=moment, text="changed")]
    assert of_messages(held, sent) == {"newer" if is_newer else "edited": 1}


def test_children_are_compared_if_both_sides_have_the_message() -> None:
    both = [message()]
    assert compared(both, both, sent_calls=[call()]) == {CALLS: {"missing": 1}}
    assert compared(both, both, held_calls=[call()]) == {CALLS: {"extra": 1}}
    assert compared(both, both, held_calls=[call(name="a")], sent_calls=[call()]) == {CALLS: {"edited": 1}}
    assert compared(both, both, held_calls=[call()], keeps_old=True) == {CALLS: {"not_comparable": 1}}
    # If the message is missing or gone, its children are not counted.
    assert compared([], both, sent_calls=[call()]) == {CARD.name: {"missing": 1}}
    assert compared(both, [], held_calls=[call()], incomplete=True) == {CARD.name: {"unreadable": 1}}
    newer = [message(created_at=SINCE)]
    assert compared(newer, newer, sent_calls=[call()]) == {CALLS: {"newer": 1}}
    assert compared(newer, newer, held_calls=[call()]) == {CALLS: {"newer": 1}}


def test_a_step_is_dated_by_its_run() -> None:
    (name,) = (one.name for one in STEPS.tables)
    for changed, kind in (({"runs": {"run-1"}}, "newer"), ({"runs": {"run-2"}}, "missing"), ({}, "missing")):
        settings = make_settings({"base_url": "http://localhost:8283"}, {})
        hiding = Hiding(STEPS, settings, {})
        comparison = Comparison(STEPS, {name: table(name, [])}, hiding, SINCE, {**changed})
        comparison.take(name, table(name, [{"id": "step-1", "run_id": "run-1", "agent_id": "agent-1"}]))
        comparison.end((), False)
        assert dict(comparison.tallies[name].counts) == {kind: 1}


HASH = "0123456789abcdef" * 4
KEYED = {"mask_key": "0123456789abcdef"}


@pytest.mark.parametrize(
    ("masks", "held", "settings", "expected"),
    [
        # A mask in force hides the column, whatever the stored value.
        ({LOAD: "none"}, {"text": "other"}, {"mask": {"text": "drop"}}, {"not_comparable": 1}),
        ({LOAD: "text=drop (as given)"}, {"text": None}, {}, {"not_comparable": 1}),
        ({LOAD: "text=hash (SOURCES__LETTA__MASK)"}, {"text": HASH}, {}, {"not_comparable": 1}),
        # A mask of another column, or of another load, hides nothing.
        ({LOAD: "name=drop (as given)"}, {"text": None}, {}, {"edited": 1}),
        ({LOAD: "none", "1": "text=drop (as given)"}, {"text": None}, {}, {"edited": 1}),
        # If no log has the load, a value that looks masked may be masked.
        ({}, {"text": None}, {}, {"not_comparable": 1}),
        ({}, {"text": HASH}, {}, {"not_comparable": 1}),
        ({}, {"text": "[redacted]"}, {}, {"not_comparable": 1}),
        ({}, {"text": "other"}, {}, {"edited": 1}),
        ({LOAD: "none"}, {"text": HASH}, {}, {"edited": 1}),
        # Values that are not texts can only be dropped.
        ({LOAD: "is_err=drop (as given)"}, {"is_err": None}, {}, {"not_comparable": 1}),
        ({LOAD: "is_err=drop (as given)"}, {"is_err": False}, {}, {"edited": 1}),
        ({}, {"is_err": None}, {}, {"edited": 1}),
    ],
)
def test_masked_values_are_not_comparable(
    masks: dict[str, str], held: Row, settings: dict[str, Any], expected: dict[str, int]
) -> None:
    assert of_messages(
        [message(**{"is_err": True} | held)], [message(is_err=True)], masks=masks, **settings
    ) == (expected)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ("0123456789", {"not_comparable": 1}),
        # Another load may have truncated it before a multi-byte character.
        ("0123456", {"not_comparable": 1}),
        ("012345", {"not_comparable": 1, "edited": 1}),
        ("012345678X", {"not_comparable": 1, "edited": 1}),
    ],
)
def test_truncated_texts_are_not_comparable(held: str, expected: dict[str, int]) -> None:
    assert of_messages([message(text=held)], [message(text="0123456789abc")], longest=10) == expected


def test_images_hidden_by_another_setting_are_not_comparable() -> None:
    image = '[{"type": "image", "source": {"data": "sha256:' + HASH + '"}}]'
    other = '[{"type": "image", "source": {"data": "aGVsbG8="}}]'
    said = {LOAD: "images=hash (as given)"}
    assert of_messages([message(extra=image)], [message(extra=other)], masks=said) == {"not_comparable": 1}
    same = {LOAD: "images=keep (as given)"}
    assert of_messages([message(extra=image)], [message(extra=other)], masks=same) == {"edited": 1}
    texts = {"held": [message(text="a")], "sent": [message(text="b")]}
    assert of_messages(texts["held"], texts["sent"], masks=said) == {"edited": 1}


def test_newer_rows_make_their_dependents_newer() -> None:
    settings = make_settings({"base_url": "http://localhost:8283", "mask": {"name": "drop"}}, {})
    held = {one.name: table(one.name, []) for one in CARD.tables}
    held[CARD.name] = table(CARD.name, [message(1, text="0123456789"), message(2, run_id="run-1")])
    changed: dict[str, set[str]] = {}
    hiding = Hiding(CARD, settings, {LOAD: "none"}, 10)
    comparison = Comparison(CARD, held, hiding, SINCE, changed, 10)
    sent = [message(1, text="0123456789abc"), message(2, run_id="run-2"), message(3, created_at=SINCE)]
    comparison.take(CARD.name, table(CARD.name, sent))
    tally = comparison.tallies[CARD.name]
    assert tally.hidden >= {"name", "text"}
    assert tally.edited == {"run_id"}
    # The keys omit the agent, which is the same for all.
    assert (tally.examples["edited"], tally.examples["newer"]) == (["message-2 0"], ["message-3 0"])
    assert changed == {CARD.name: {"message-3"}}


def test_a_text_that_was_cut_less_is_not_comparable() -> None:
    settings = make_settings({"base_url": "http://localhost:8283"}, {})
    hiding = Hiding(CARD, settings, {LOAD: "none"}, 10)
    (text,) = (column for column in CARD.root.columns if column.name == "text")
    assert hiding.hides(CARD.name, text, LOAD, "01234567", "0123456789")
    assert not hiding.hides(CARD.name, text, LOAD, "01234", "0123456789")
    # If no log has the load, a null may be masked only in a column of content.
    (clear,) = (column for column in CARD.root.columns if column.name == "run_id")
    assert not clear.content
    assert not hiding.hides(CARD.name, clear, "another", "run-1", None)


def test_five_examples_of_each_kind_are_shown() -> None:
    tally = Tally(skip=1)
    for number in range(7):
        for kind in ("missing", "edited", "not_comparable"):
            tally.note(kind, ("agent-1", f"message-{number}", 0))
    shown = [f"message-{number} 0" for number in range(5)]
    assert (tally.examples["missing"], tally.examples["edited"]) == (shown, shown)
    # They are no differences.
    assert not tally.examples["not_comparable"]
    assert (tally.counts["not_comparable"], tally.differences) == (7, 14)
