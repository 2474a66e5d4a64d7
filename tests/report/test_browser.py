"""The report in a real browser: it makes no requests, draws everything, and fits a phone and paper."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest

from letta_source.report.charts import draw
from letta_source.report.facts import find
from letta_source.report.model import build, read_prices
from letta_source.report.page import page
from letta_source.report.period import Period
from letta_source.report.store import NEEDED, fill, open_store
from letta_source.report.warehouse import Health
from tests.support import busy_month as made
from tests.support.browser import PALE, WIDTHS, Browser, browsing

pytestmark = pytest.mark.browser

# The area of A4 without margins, in CSS pixels.
PRINTED = (703, 1016)
CHARTS = """
return [...document.querySelectorAll('figure.chart')].map(chart => ({
    title: chart.querySelector('figcaption').textContent,
    breaks: getComputedStyle(chart).breakInside,
    ground: getComputedStyle(chart).backgroundColor,
    height: chart.getBoundingClientRect().height,
    drawn: [...chart.querySelectorAll('svg')].filter(svg => svg.getClientRects().length).map(svg => ({
        size: [svg.getBoundingClientRect().width, svg.getBoundingClientRect().height],
        fills: [...svg.querySelectorAll('path')].filter(mark => mark.querySelector('title')).map(mark => ({
            // A line has no area.
            fill: [getComputedStyle(mark).fill, getComputedStyle(mark).stroke].find(one => one != 'none'),
            area: mark.getBoundingClientRect().width * mark.getBoundingClientRect().height,
        })),
        outside: [...svg.querySelectorAll('text')].filter(text => {
            const inner = text.getBoundingClientRect(), outer = svg.getBoundingClientRect();
            return inner.left < outer.left - 1 || inner.right > outer.right + 1;
        }).map(text => text.textContent),
    })),
}))
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = made.month()
    end = made.END.replace(tzinfo=timezone.utc)
    health = Health(
        made.END, 61, made.END - timedelta(days=made.DAYS), made.END, 0, {t: len(rows[t]) for t in rows}
    )
    with open_store() as (store, _):
        for table in NEEDED:
            fill(store, table, made.batches(rows, table))
        build(store, read_prices())
        facts = find(store, Period(end - timedelta(days=30), end), health.oldest)
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page("letta (duckdb)", facts, draw(facts), health, datetime.now(timezone.utc)), "utf-8")
    return file


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Browser]:
    with browsing(report) as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_chart_is_drawn_once_and_whole(browser: Browser, width: str, scheme: str) -> None:
    browser.show(*WIDTHS[width], scheme)
    charts = browser.ask(CHARTS)
    assert len(charts) == 8
    for chart in charts:
        (drawn,) = chart["drawn"]
        assert drawn["size"][0] > 200, chart["title"]
        assert drawn["size"][1] > 100, chart["title"]
        assert sum(mark["area"] > 4 for mark in drawn["fills"]) >= 8, chart["title"]
        fills = {mark["fill"] for mark in drawn["fills"]}
        assert not fills & {"rgb(0, 0, 0)", chart["ground"], None}, "a colour is not known"
        assert drawn["outside"] == [], chart["title"]


@pytest.mark.parametrize("width", WIDTHS)
def test_only_tables_scroll_sideways(browser: Browser, width: str) -> None:
    browser.show(*WIDTHS[width])
    assert browser.ask("return document.scrollingElement.scrollWidth - innerWidth") <= 0
    outside = """
        return [...document.querySelectorAll('body *')].filter(element =>
            !element.closest('.scroll > *') && element.getBoundingClientRect().right > innerWidth + 1
        ).map(element => element.outerHTML.slice(0, 80))
    """
    assert browser.ask(outside) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(browser: Browser, scheme: str) -> None:
    browser.show(*WIDTHS["desktop"], scheme)
    assert browser.ask(PALE) == []
    background = browser.ask("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) > 600) == (scheme == "light")


def test_headings_tables_and_charts_are_labelled(browser: Browser) -> None:
    browser.show(*WIDTHS["desktop"])
    levels = browser.ask(
        "return [...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert browser.ask("return document.querySelectorAll('table').length") == 6
    assert browser.ask("return document.querySelectorAll('thead th:not([scope=col])').length") == 0
    assert browser.ask("return document.querySelectorAll('[role=img]:not([aria-label])').length") == 0


def test_the_page_makes_no_requests(browser: Browser, report: Path) -> None:
    browser.log("performance"), browser.log("browser")
    browser.show(*WIDTHS["desktop"])
    assert browser.log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked == [report.as_uri()]
    assert browser.ask("return [...document.scripts].map(one => one.type)") == ["application/json", ""]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_printed(browser: Browser, scheme: str) -> None:
    browser.show(*PRINTED, scheme, "print")
    assert browser.ask("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for chart in browser.ask(CHARTS):
        assert chart["breaks"] == "avoid", "or it could be cut in two"
        assert 100 < chart["height"] < PRINTED[1], "or it must be cut in two"
        assert len(chart["drawn"]) == 1
    assert browser.ask("return document.scrollingElement.scrollWidth") <= PRINTED[0], (
        "or it is printed smaller"
    )
    pages = len(re.findall(rb"/Type\s*/Page\b", browser.printed()))
    assert 4 <= pages <= 7
