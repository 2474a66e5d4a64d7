"""The page's filter in a real browser: a choice shows the same figures as a report of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from letta_source.report import formats
from letta_source.report.facts import Facts, find
from letta_source.report.model import build, keep_only, read_prices
from letta_source.report.page import page
from letta_source.report.period import Period
from letta_source.report.store import NEEDED, fill, open_store
from letta_source.safe_text import visible
from tests.report.test_page import EVIL, HEALTH, HIDDEN, busy
from tests.support import busy_month as made
from tests.support.browser import PALE, WIDTHS, Browser, browsing

pytestmark = pytest.mark.browser

END = made.END.replace(tzinfo=timezone.utc)
DAYS = Period(END - timedelta(days=12), END)
# 14 bars, the first and the last cut.
WEEKS = Period(END - timedelta(days=96), END)
ONE, QUIET = "agent-00000000", "agent-quiet-2"
SHOWN = """
const seen = one => one.getClientRects().length;
const text = one => one.textContent.trim();
return {
    figures: Object.fromEntries([...document.querySelectorAll('dl.figures > div')].filter(seen).map(
        one => [text(one.querySelector('dt')), text(one.querySelector('.value').firstChild)])),
    bad: [...document.querySelectorAll('td.bad')].filter(seen).map(text),
    tables: Object.fromEntries([...document.querySelectorAll('.scroll')].filter(seen).map(
        one => [one.ariaLabel, [...one.querySelectorAll('tr')].map(row => [...row.cells].map(text))])),
}
"""
CHOOSE = """
for (const [name, label] of Object.entries(arguments[0])) {
    const select = document.getElementById('choose-' + name);
    select.value = [...select.options].find(option => option.textContent === label).value;
    select.dispatchEvent(new Event('change'));
}
return document.getElementById('shown').textContent;
"""


@pytest.fixture(scope="module")
def store() -> Iterator[duckdb.DuckDBPyConnection]:
    rows = made.month(turns_a_day=25, days=12)
    for at, step in enumerate(rows["steps"]):
        step["feedback"] = ("positive", "negative", None, None, None)[at % 5]
    for number in range(4):
        # More agents than the table has rows; nobody wrote to the first.
        kind = "user_message" if number else "assistant_message"
        message = {
            "agent_id": f"agent-quiet-{number}",
            "id": f"m{number}",
            "position": 0,
            "message_type": kind,
        }
        rows["agent_messages"].append({**message, "created_at": made.END - timedelta(days=3)})
    with open_store() as (store, _):
        for table in NEEDED:
            fill(store, table, made.batches(rows, table))
        build(store, read_prices())
        yield store


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing(Path()) as opened:
        yield opened


def shown(browser: Browser, folder: Path, facts: Facts, width: str = "desktop", **how: Any) -> Any:
    """Open a page and return its figures and tables."""
    browser.file = folder / "report.html"
    browser.file.write_text(
        page("letta", facts, {}, HEALTH, datetime(2026, 11, 2, tzinfo=timezone.utc)), "utf-8"
    )
    browser.show(*WIDTHS[width], **how)
    return browser.ask(SHOWN)


CHOICES: list[tuple[Period, int, int, str | None]] = [
    (DAYS, 0, 11, ONE),
    (DAYS, 2, 5, None),
    (DAYS, 7, 7, "agent-00000006"),
    (DAYS, 9, 11, QUIET),
    (DAYS, 0, 3, QUIET),
    (WEEKS, 12, 12, None),
    (WEEKS, 12, 13, ONE),
]


@pytest.mark.parametrize(("period", "first", "last", "agent"), CHOICES, ids=str)
def test_the_filter_shows_the_figures_of_a_filtered_report(
    browser: Browser,
    store: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    period: Period,
    first: int,
    last: int,
    agent: str | None,
) -> None:
    whole = find(store, period, None)
    bars = whole.activity
    start = max(bars[first]["day"].replace(tzinfo=timezone.utc), period.start)
    end = min(bars[last]["until"].replace(tzinfo=timezone.utc), period.end)
    store.begin()
    if agent:
        keep_only(store, [agent])
    expected = shown(browser, tmp_path, find(store, Period(start, end), None))
    store.rollback()
    everything = shown(browser, tmp_path, whole)
    names = dict(store.execute("SELECT id, name FROM agents").fetchall())
    label = formats.short(names.get(agent) or agent) if agent else "All agents"
    choice = {"from": formats.day(start), "to": formats.day(end - timedelta(seconds=1))}
    told = browser.ask(CHOOSE, {"agent": label, **choice})
    assert told.startswith(f"Shown: {label if agent else 'all agents'}, all models, {choice['from']} to ")
    found = browser.ask(SHOWN)
    assert (found["figures"], found["bad"]) == (expected["figures"], expected["bad"])
    for table in ("Tools", "Agents", "Models"):
        assert found["tables"].get(table) == expected["tables"].get(table)
    assert not {"Slowest turns", "Failed runs and steps"} & set(found["tables"])
    browser.ask("document.getElementById('everything').click()")
    assert browser.ask(SHOWN) == everything
    assert browser.ask("return document.getElementById('shown').textContent") == "Shown: everything."


def test_a_model_has_its_steps_tokens_and_cost(
    browser: Browser, store: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    shown(browser, tmp_path, find(store, DAYS, None))
    told = browser.ask(CHOOSE, {"model": "openai/gpt-5", "agent": "release-notes"})
    steps, tokens, cost, good, bad = store.execute(
        "SELECT count(*), sum(total_tokens), sum(cost), count(*) FILTER (feedback = 'positive'),"
        " count(*) FILTER (feedback = 'negative') FROM letta__step_costs"
        " WHERE model_handle = 'openai/gpt-5' AND agent_id = 'agent-00000002'"
    ).fetchall()[0]  # fmt: skip
    assert told.endswith(f"openai/gpt-5, 20 Oct 2026 to 31 Oct 2026: {steps} steps.")
    found = browser.ask(SHOWN)
    assert found["figures"] == {
        "Steps": formats.rough(steps),
        "Tokens": formats.rough(tokens),
        "Cost": formats.dollars(cost),
        "Feedback": formats.share(good / (good + bad)),
    }
    assert found["tables"]["Agents"][1][0] == "release-notes"
    assert [row[0] for row in found["tables"]["Models"]] == ["Model", "openai/gpt-5"]
    assert "Tools" not in found["tables"]
    # A model that the agent never called.
    assert browser.ask(CHOOSE, {"model": "local/qwen3-32b"}).endswith(": 0 steps.")
    assert "No model in this choice." in browser.ask("return document.body.innerText")


def test_the_filter_formats_figures_like_the_page(
    browser: Browser, store: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    shown(browser, tmp_path, find(store, DAYS, None))
    random.seed(0)
    # Halves, for which Python and JavaScript differ, and both sides of each limit.
    numbers = [number / 8 for number in range(200)] + [
        limit * part
        for limit in (1e-4, 1e-3, 0.0005, 0.01, 0.0995, 1, 9.95, 60, 3600, 86_400, 1e4, 1e6, 1e9, 1e12)
        for part in (0.999, 0.9994, 0.9995, 0.99951, 1, 1.0005, 1.2345, 2.5)
    ] + [round(10 ** random.uniform(-6, 12), random.randrange(7)) for _ in range(500)]  # fmt: skip
    for name in ("count", "rough", "seconds", "dollars", "share"):
        said = browser.ask(f"return arguments[0].map({name})", numbers)
        ours = [getattr(formats, name)(number) for number in numbers]
        assert [row for row in zip(numbers, ours, said, strict=True) if row[1] != row[2]] == [], name


@pytest.mark.parametrize("name", [EVIL, "<!--<script>", HIDDEN + "\u2028x", "${data}`", "constructor"])
def test_names_stay_text_with_any_filter(browser: Browser, tmp_path: Path, name: str) -> None:
    browser.log("browser")
    shown(browser, tmp_path, busy(name, name, name, name).facts())
    label = browser.ask("return document.querySelector('#choose-agent option:last-child').textContent")
    assert label == formats.short(visible(name))
    for choice in (
        {"agent": label},
        {"model": browser.ask("return data.models[0]")},
        {"agent": "All agents"},
    ):
        assert browser.ask(CHOOSE, choice)
    browser.ask("document.getElementById('everything').click()")
    browser.ask(CHOOSE, {"agent": label})
    assert label in browser.ask(
        "return [...document.querySelectorAll('tbody th')].map(one => one.textContent)"
    )
    assert browser.ask("return document.querySelectorAll('img, iframe, object, link').length") == 0
    assert browser.ask("return document.scripts.length") == 2
    assert browser.log("browser") == []


def test_no_other_script_runs(browser: Browser, store: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    shown(browser, tmp_path, find(store, DAYS, None))
    browser.log("browser")
    browser.ask(
        "const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
        "document.body.append(one);"
        "document.body.insertAdjacentHTML('beforeend', '<b onclick=\"window.ran = 1\">x</b>');"
        "document.body.lastElementChild.click()"
    )
    assert browser.ask("return window.ran") is None
    assert sum("Content Security Policy" in entry["message"] for entry in browser.log("browser")) >= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["desktop", "small phone"])
def test_the_filtered_page_fits_and_is_readable(
    browser: Browser, store: duckdb.DuckDBPyConnection, tmp_path: Path, width: str, scheme: str
) -> None:
    shown(browser, tmp_path, find(store, DAYS, None), width, scheme=scheme)
    for choice in ({}, {"agent": formats.short(made.AGENTS[6])}, {"model": "openai/gpt-5"}):
        if choice:
            browser.ask(CHOOSE, {"agent": "All agents", **choice})
        assert browser.ask("return document.scrollingElement.scrollWidth - innerWidth") <= 0
        assert browser.ask(PALE) == []
    assert browser.ask("return document.querySelectorAll('[role=img]:not([aria-label])').length") == 0
    labels = browser.ask(
        "return [...document.querySelectorAll('select')].map(one => one.labels[0].firstChild.data.trim())"
    )
    assert labels == ["Agent", "Model", "From", "To"]
    assert browser.ask("return document.getElementById('shown').role") == "status"


def test_the_filter_works_by_keyboard(
    browser: Browser, store: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    shown(browser, tmp_path, find(store, DAYS, None))
    tab, down, enter = "\ue004", "\ue015", "\ue007"
    focused = "return document.activeElement.id"
    browser.press(tab)
    assert browser.ask(focused) == "choose-agent"
    browser.press("rel")
    assert browser.ask("return document.getElementById('shown').textContent").startswith(
        "Shown: release-notes, "
    )
    browser.press(tab, tab, down)
    assert browser.ask(focused) == "choose-from"
    assert "21 Oct 2026 to 31 Oct" in browser.ask("return document.getElementById('shown').textContent")
    browser.press(tab, tab, enter)
    assert browser.ask("return document.getElementById('shown').textContent") == "Shown: everything."
    assert browser.ask(focused) == "choose-agent"


def test_the_start_cannot_pass_the_end(
    browser: Browser, store: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    shown(browser, tmp_path, find(store, DAYS, None))
    browser.ask(CHOOSE, {"to": "22 Oct 2026"})
    assert "24 Oct 2026 to 24 Oct 2026" in browser.ask(CHOOSE, {"from": "24 Oct 2026"})
    assert "21 Oct 2026 to 21 Oct 2026" in browser.ask(CHOOSE, {"to": "21 Oct 2026"})


def test_the_printed_page_is_filtered(
    browser: Browser, store: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    seen = "return document.getElementById(arguments[0]).getClientRects().length > 0"
    shown(browser, tmp_path, find(store, DAYS, None), medium="print")
    assert not browser.ask(seen, "filter")
    expected = browser.ask(CHOOSE, {"agent": "release-notes"})
    assert browser.ask(seen, "shown")
    assert not browser.ask(seen, "choose-agent")
    assert "release-notes" in expected
    assert [row[0] for row in browser.ask(SHOWN)["tables"]["Agents"]] == ["Agent", "release-notes"]


def test_filtered_charts_describe_each_day(
    browser: Browser, store: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    facts = find(store, DAYS, None)
    shown(browser, tmp_path, facts)
    browser.ask(CHOOSE, {"from": "22 Oct 2026"})
    titles = browser.ask(
        "const text = one => one.textContent;"
        "return [...document.querySelectorAll('.bars')].map(one =>"
        " [text(one.querySelector('figcaption')), [...one.querySelectorAll('title')].map(text)])"
    )
    assert [title for title, _ in titles] == [
        "Messages a day", "Turns a day", "Median latency by day", "Tokens a day", "Cost a day"
    ]  # fmt: skip
    days = facts.activity[2:]
    expected = [f"{formats.day(row['day'])}: {formats.count(row['messages'])}" for row in days]
    assert titles[0][1] == expected
    assert titles[2][1] == [
        f"{formats.day(row['day'])}: {formats.seconds(row['median_latency'])}" for row in days
    ]
