"""The data of the page's filter: added up, it gives what a report of the same choice computes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from statistics import median
from typing import Any

import duckdb
import pytest

from letta_source.report import filter_data
from letta_source.report.facts import find
from letta_source.report.filter_data import as_json
from letta_source.report.model import build, keep_only, read_prices
from letta_source.report.period import Period
from letta_source.report.store import NEEDED, fill, open_store
from tests.support import busy_month as made
from tests.support.report_case import Case

END = made.END.replace(tzinfo=timezone.utc)
NINE_DAYS = Period(END - timedelta(days=9), END)


def added_up(data: Mapping[str, Any], first: int, last: int, agent: int | None = None) -> dict[str, Any]:
    """Return the headline's figures of some bars and of one agent or all."""

    def of(table: str) -> list[list[Any]]:
        rows: list[list[Any]] = data[table]
        return [row for row in rows if first <= row[0] <= last and agent in (None, row[1])]

    latencies = sorted(one for row in of("turns") for one in row[3])
    at = 0.95 * (len(latencies) - 1)
    low, high = latencies[int(at)], latencies[min(int(at) + 1, len(latencies) - 1)]
    calls, errors, lost = (sum(row[column] for row in of("calls")) for column in (3, 4, 5))
    asked = {row[1] for row in of("messages") if row[3]}
    return {
        "agents": len(asked),
        "other_agents": len({row[1] for row in of("messages")} - asked),
        "conversations": len({(row[1], one) for row in of("messages") for one in row[5]}),
        "outside": len({row[1] for row in of("messages") if row[4]}),
        "messages": sum(row[2] for row in of("messages")),
        "turns": sum(row[2] for row in of("turns")),
        "median_latency": pytest.approx(median(latencies), abs=1e-5),
        "p95_latency": pytest.approx(low + (high - low) * (at % 1), abs=1e-5),
        "calls": calls,
        "errors": errors,
        "error_rate": errors / (calls - lost),
        "steps": sum(row[3] for row in of("steps")),
        "tokens": sum(row[8] or 0 for row in of("steps")),
        "cost": pytest.approx(sum(row[9] or 0 for row in of("steps")), abs=1e-6) if of("steps") else None,
        "unpriced": sum(row[10] for row in of("steps")),
        "positive": sum(row[11] for row in of("steps")),
        "negative": sum(row[12] for row in of("steps")),
    }


@pytest.fixture(scope="module")
def store() -> Iterator[duckdb.DuckDBPyConnection]:
    rows = made.month(turns_a_day=12, days=9)
    for at, step in enumerate(rows["steps"]):
        step["feedback"] = ("positive", "negative", None)[at % 3]
    with open_store() as (store, _):
        for table in NEEDED:
            fill(store, table, made.batches(rows, table))
        build(store, read_prices())
        yield store


def test_filtered_figures_equal_those_of_a_filtered_report(store: duckdb.DuckDBPyConnection) -> None:
    data = json.loads(as_json(find(store, NINE_DAYS, None).filter_data or {}))

    def reported(first: int, last: int) -> dict[str, Any]:
        start = NINE_DAYS.start
        period = Period(start + timedelta(days=first), start + timedelta(days=last + 1))
        headline = dict(find(store, period, None).headline)
        headline.pop("satisfaction")
        return headline

    for first, last in ((0, 8), (2, 4), (6, 6)):
        assert reported(first, last) == added_up(data, first, last)
    # Its name in the data, its id in the store.
    one = data["agents"].index("billing-assistant")
    store.begin()
    keep_only(store, ["agent-00000001"])
    for first, last in ((0, 8), (3, 5)):
        assert reported(first, last) == added_up(data, first, last, one)
    store.rollback()
    assert added_up(data, 0, 8, one)["messages"] > 0


def test_bars_of_a_year_are_weeks_cut_to_the_period() -> None:
    case = Case()
    year = Period(datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2027, 1, 1, tzinfo=timezone.utc))
    case.say("user", 0)
    data = case.facts(year).filter_data
    assert data is not None
    assert data["days"][0] == ["1 Jan 2026", "4 Jan 2026"]
    assert data["days"][-1] == ["28 Dec 2026", "31 Dec 2026"]
    ((bar, *_),) = data["messages"]
    assert data["days"][bar] == ["2 Mar 2026", "8 Mar 2026"]


def test_conversations_and_agents_are_counted_once() -> None:
    case = Case()
    for agent in ("agent-1", "agent-2"):
        case.agent(agent, "same")
        for run in ("a", "b"):
            case.run(f"{run} of {agent}", conversation_id=run)
            case.say("user", 0, f"{run} of {agent}")
            case.say("user", 86400, f"a of {agent}")
    # A step of no agent, and names that are missing.
    case.rows["steps"].append({"id": "lost", "run_id": "lost"})
    case.rows["runs"].append({"id": "lost", "created_at": datetime(2026, 3, 3)})
    case.agent("agent-3")
    case.call(0, "", None)
    data = case.facts().filter_data
    assert data is not None
    assert data["agents"] == ["same (agent-1)", "same (agent-2)", "agent-3"]
    assert data["tools"] == ["(tool without a name)"]
    assert [row[5] for row in data["messages"]] == [[0, 1], [0], [0, 1], [0], []]
    assert [row[1] for row in data["steps"]] == [None]


def test_data_cannot_end_its_script() -> None:
    evil = "</script>\u2028\u2029<!--<script>"
    case = Case()
    case.agent("agent-1", evil)
    case.say("user", 0)
    case.call(1, evil, "call", step="step")
    case.step("step", model=evil)
    data = case.facts().filter_data
    assert data is not None
    text = as_json(data)
    assert text.isascii()
    assert not set("<>") & set(text)
    shown = "</script>\\u2028\\u2029<!--<script>"
    told = json.loads(text)
    assert (told["agents"], told["tools"], told["models"]) == ([shown], [shown], [shown])


def test_too_much_data_means_no_filter(
    store: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many values are not even read; the size of fewer is measured after serialization."""
    data = find(store, NINE_DAYS, None).filter_data
    assert data
    size = len(as_json(data))
    for most, has_filter in ((size, True), (size - 1, False), (100, False)):
        monkeypatch.setattr(filter_data, "MOST_BYTES", most)
        assert (find(store, NINE_DAYS, None).filter_data is not None) is has_filter
