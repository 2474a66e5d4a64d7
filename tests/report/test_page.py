"""The report's file: no data becomes markup, nothing is requested from a network, all facts are shown."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from letta_source.report import formats
from letta_source.report.charts import draw
from letta_source.report.facts import MOST, Facts
from letta_source.report.model import Price
from letta_source.report.page import page
from letta_source.report.period import Period, parse_period
from letta_source.report.warehouse import Health, LoadRun
from tests.support.report_case import MARCH, Case

NOW = datetime(2026, 4, 2, tzinfo=timezone.utc)
HEALTH = Health(datetime(2026, 4, 1), 3, datetime(2026, 1, 1), datetime(2026, 3, 2, 12), 0, {"agents": 1234})
EVIL = "</title></style><script>alert(1)</script><img src=http://x.example/a onerror=alert(1)>\"'&"


HIDDEN = "\x1b[31m\x9b\u202e\x07\x00\ufffe\u2066"


class Parsed(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def html_of(facts: Facts, health: Health = HEALTH) -> str:
    """Return the page without charts, which are slow to draw."""
    return page("letta (duckdb)", facts, {}, health, NOW)


def busy(name: str = "agent", tool: str = "tool", model: str = "model", end: str = "end") -> Case:
    """Return a case that fills every part of the page."""
    case = Case()
    case.agent("agent-1", name)
    case.run("run-1", 0, 9, status="failed", stop_reason=end)
    case.say("user", 0, "run-1")
    case.call(1, tool, "a", "b", run="run-1", step="step-1")
    case.answer(4, "error", "a", run="run-1")
    case.say("assistant", 9, "run-1", "step-1")
    case.step("step-1", run_id="run-1", model=model, prompt_tokens=9, completion_tokens=1, total_tokens=10)
    case.step(
        "step-2", run_id="run-1", model="priced", prompt_tokens=900, total_tokens=900, completion_tokens=0
    )
    case.rows["load_issues"] = [
        {"load_started_at": datetime(2026, 4, 1), "resource": end, "parent_id": "p", "kind": end}
    ]
    return case


@pytest.fixture(scope="module")
def evil() -> str:
    facts = busy(EVIL, EVIL, EVIL, EVIL).facts(prices=[Price("priced", 1, 1, 1, 1)])
    return page(EVIL, facts, draw(facts), HEALTH, NOW)


def test_names_are_escaped_everywhere(evil: str) -> None:
    parsed = Parsed(evil)
    assert not {tag for tag, _ in parsed.tags} & {
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "form",
    }
    assert not [key for _, attributes in parsed.tags for key in attributes if key.startswith("on")]
    assert [attributes for tag, attributes in parsed.tags if tag == "script"] == [
        {"type": "application/json", "id": "data"},
        {},
    ]
    assert parsed.text.count("<script>") >= 6, "the names are there, and as what they are"


def test_the_page_loads_nothing_from_a_network(evil: str) -> None:
    for tag, attributes in Parsed(evil).tags:
        for name, value in attributes.items():
            assert name not in ("src", "href", "srcset", "action", "xlink:href", "data", "poster"), (
                tag,
                name,
            )
            # An SVG's namespace is only a name.
            assert name.startswith("xmlns") or "://" not in (value or "") or EVIL in str(value), (tag, name)
    style = evil.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = [attributes.get("content") for tag, attributes in Parsed(evil).tags if tag == "meta"]
    script = evil.rpartition("<script>")[2].partition("</script>")[0]
    allowed = f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    rest = "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert f"default-src 'none'; {allowed}; {rest}" in policy


def test_without_data_there_is_no_filter_and_no_script() -> None:
    empty = html_of(Case().facts())
    large = html_of(replace(busy().facts(), filter_data=None))
    for html in (empty, large):
        assert not {tag for tag, _ in Parsed(html).tags} & {"script", "select", "button"}
        assert "default-src 'none'; style-src 'unsafe-inline'" in html
    told = "This page has no filter by agent, model and time: its data would be larger than 2,000 kB."
    assert [told in Parsed(html).text for html in (empty, large)] == [False, True]


def test_without_a_script_run_the_filter_is_hidden() -> None:
    tags = Parsed(html_of(busy().facts())).tags
    assert ("section", {"id": "filter", "aria-label": "Filter", "hidden": None}) in tags
    assert [
        attributes for _, attributes in tags if "data-part" in attributes and "hidden" in attributes
    ] == []


def test_every_chart_is_drawn_in_both_widths() -> None:
    facts = busy().facts(prices=[Price("priced", 1, 1, 1, 1)])
    charts = draw(facts)
    assert set(charts) == {
        "messages", "turns", "latency", "tools", "tool_time", "tokens", "agent_cost", "cost"
    }  # fmt: skip
    for chart in charts.values():
        assert chart.wide != chart.narrow
        for drawn in (chart.wide, chart.narrow):
            assert " id=" not in drawn, "another chart could have the same"
            assert len(re.findall(r"<title>", drawn)) >= 1
    html = page("letta (duckdb)", facts, charts, HEALTH, NOW)
    assert html.count("<svg") == 2 * len(charts)
    assert ">$0.0002<" in charts["cost"].wide, "small figures are not cut"


def test_charts_leave_out_the_summed_rest_and_say_so() -> None:
    """Their bar would be many times as long as any other."""
    case = Case()
    for number in range(MOST + 2):
        case.agent(f"agent-{number:02}", f"name {number:02}")
        case.call(number, f"tool {number:02}", "call", step=f"step-{number}")
        case.answer(number + 2, "success", "call")
        case.step(f"step-{number}", model="priced", total_tokens=10, prompt_tokens=10)
    facts = case.facts(prices=[Price("priced", 1, 1, 1, 1)])
    charts = draw(facts)
    for name in ("tools", "tool_time", "tokens", "agent_cost"):
        assert charts[name].title.endswith(f", the first {MOST}")
    assert charts["agent_cost"].wide.count("<title>") == MOST, "one for each bar, none for an axis"
    assert "2 other agents" in Parsed(html_of(facts)).text, "the table has them"


@pytest.mark.parametrize(("years", "label"), [(1, ">5 Jan<"), (3, ">Jan 2026<"), (60, ">2026<")])
def test_dates_of_a_long_period_have_the_year(years: int, label: str) -> None:
    case = Case()
    case.say("user", 0)
    period = Period(
        datetime(2026, 1, 5, tzinfo=timezone.utc), datetime(2026 + years, 1, 5, tzinfo=timezone.utc)
    )
    assert label in draw(case.facts(period))["messages"].wide


def test_an_empty_dataset_says_so() -> None:
    facts = Case().facts()
    html = page("letta (duckdb)", facts, draw(facts), Health(None, 0, None, None, 0, {}), NOW)
    text = Parsed(html).text
    for said in (
        "No messages in this period.",
        "No tool was called in this period.",
        "No agent was active in this period.",
        "No steps were loaded",
        "No turn was answered in this period.",
        "No run and no step failed in this period.",
        "Nothing: the table load_issues is empty.",
        "No load has finished yet.",
        "There is no full period before to compare with.",
    ):
        assert said in text
    assert "<svg" not in html
    assert "None" not in text


def test_a_host_without_steps_shows_the_rest() -> None:
    case = Case()
    case.say("user", 0)
    case.say("assistant", 5)
    text = Parsed(html_of(case.facts())).text
    assert "No steps were loaded" in text
    assert "no steps were loaded" in text
    assert "no steps were loaded" not in Parsed(html_of(busy().facts())).text


def test_missing_data_is_named() -> None:
    text = " ".join(Parsed(html_of(busy(model="new-model").facts())).text.split())
    assert "No price is known for new-model, priced" in text
    assert "Something could not be read" in text
    assert "agents1,234" in text


def test_an_outdated_load_is_a_warning() -> None:
    stale = Health(datetime(2026, 3, 20), 1, None, datetime(2026, 3, 20), 0, {})
    assert "The last finished load began 13 d 0 h ago" in Parsed(html_of(Case().facts(), stale)).text
    assert "The last finished load began" not in Parsed(html_of(Case().facts())).text


def test_less_latency_is_better() -> None:
    case = Case()
    for day, seconds in ((-30, 10), (0, 5)):
        case.say("user", day * 86400, f"run{day}")
        case.say("assistant", day * 86400 + seconds, f"run{day}")
    html = html_of(case.facts())
    assert f'5 s <span class="change good">{formats.MINUS}50%</span>' in html
    assert '2 <span class="change ">±0%</span>' in html


@pytest.mark.parametrize(
    ("time", "said"),
    [(0, "<1 s"), (0.0001, "<1 ms"), (0.0006, "1 ms"), (0.084, "84 ms"), (0.0994, "99 ms"),
     (0.0996, "0.1 s"), (0.84, "0.8 s"), (9.97, "10 s"), (59.7, "1 min 0 s"), (3599, "59 min 59 s"),
     (3600, "1 h 0 min"), (86_399, "23 h 59 min"), (93_600, "1 d 2 h"), (None, formats.NONE)],
)  # fmt: skip
def test_durations(time: float | None, said: str) -> None:
    assert formats.seconds(time) == said


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (12, 10, "+20%"),
        (9, 10, f"{formats.MINUS}10%"),
        (10, 10, "±0%"),
        (140, 10, f"{formats.TIMES}14"),
        (5, 0, ""),
        (None, 5, ""),
        (5, None, ""),
    ],
)
def test_changes(now: float | None, before: float | None, said: str) -> None:
    assert formats.change(now, before) == said


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (0.02, 0.01, "+1.0 points"),
        (0.5, 0.625, f"{formats.MINUS}12.5 points"),
        (0.3, 0, "+30.0 points"),
        (0.2, 0.2004, "±0 points"),
        (None, 0.1, ""),
        (0.1, None, ""),
    ],
)
def test_changes_of_shares_are_points(now: float | None, before: float | None, said: str) -> None:
    assert formats.points(now, before) == said


def test_the_change_of_the_error_rate_is_points() -> None:
    case = Case()
    for day, statuses in ((-30, ("error", *["success"] * 9)), (0, ("error", "error", *["success"] * 8))):
        case.say("user", day * 86400)
        for number, status in enumerate(statuses):
            case.call(day * 86400 + 1, "dig", f"{day}-{number}")
            case.answer(day * 86400 + 2, status, f"{day}-{number}")
    html = html_of(case.facts())
    assert '20.0% <span class="change bad">+10.0 points</span>' in html


def test_feedback_is_shown_if_there_is_any() -> None:
    case = busy()
    assert "<dt>Feedback" not in html_of(case.facts())
    for number, feedback in enumerate(("positive", "positive", "negative", None)):
        case.step(f"step-of-{number}", run_id="run-1", feedback=feedback)
    text = " ".join(Parsed(html_of(case.facts())).text.split())
    assert "Feedback 66.7% positive, of 3 steps with feedback" in text


def test_the_last_runs_are_shown() -> None:
    began = datetime(2026, 4, 1, 6)
    runs = [
        LoadRun(began, 0.05, "incremental", "incomplete", 1234, 56, 7, 1, 2),
        LoadRun(began, None, "sweep", "interrupted or running", 0, 0, 0, 0, 0),
    ]
    html = html_of(Case().facts(), replace(HEALTH, runs=runs))
    said = " ".join(Parsed(html.replace("</td>", " </td>")).text.split())
    assert "incomplete incremental 50 ms 1,234 56 7 1 2" in said
    assert "interrupted or running sweep \N{EN DASH} 0" in said
    assert html.count('<td class="text bad">') == 2
    assert "The last runs" not in html_of(Case().facts())


@pytest.mark.parametrize(
    ("number", "said"),
    [(None, formats.NONE), (0, "0"), (9_999, "9,999"), (10_000, "10 k"), (12_345, "12.3 k"),
     (999_499, "999 k"), (999_500, "1 M"), (999_999, "1 M"), (999_499_999, "999 M"), (999_500_000, "1 B"),
     (12_345_678_900, "12.3 B"), (1.2e12, "1,200 B")],
)  # fmt: skip
def test_rough_numbers(number: float | None, said: str) -> None:
    assert formats.rough(number) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [(None, formats.NONE), (0, "$0.00"), (0.00001, "<$0.0001"), (0.0042, "$0.0042"), (1234.5, "$1,234.50")],
)
def test_dollars(amount: float | None, said: str) -> None:
    assert formats.dollars(amount) == said


def test_a_long_name_keeps_both_ends() -> None:
    assert formats.short("a" * 30 + "b" * 30) == "a" * 27 + "…" + "b" * 12


@pytest.mark.parametrize("days", [1, 3_652_058, 3_652_059, 999_999_999, 10**20])
@pytest.mark.parametrize("year", [1, 2026, 9999])
def test_no_period_begins_or_ends_beyond_the_years_there_are(days: int, year: int) -> None:
    period = parse_period(None, None, days).period(datetime(year, 12, 31, 23, 59, 59, tzinfo=timezone.utc))
    assert period.before.start <= period.start < period.end
    assert period.last >= period.start


def test_messages_dated_in_the_future_are_a_warning() -> None:
    facts = Case().facts()
    assert "3 items of messages are dated in the future" in page(
        "letta (duckdb)", facts, draw(facts), replace(HEALTH, ahead=3), NOW
    )


def test_the_period_ends_with_the_day_of_the_newest_message() -> None:
    newest = datetime(2026, 3, 2, 23, 59, tzinfo=timezone.utc)
    midnight = datetime(2026, 3, 3, tzinfo=timezone.utc)
    assert parse_period(None, None, None).period(newest) == Period(midnight - timedelta(days=30), midnight)
    assert parse_period(None, None, 1).period(newest) == Period(midnight - timedelta(days=1), midnight)
    assert parse_period("2026-03-01", "2026-03-31", None).period(newest) == MARCH
    assert parse_period("2026-03-01T02:00:00+02:00", None, None).period(newest).start == MARCH.start


def test_control_characters_in_names_are_made_visible() -> None:
    """The chart engine would end the process at the first of them."""
    names = [f"{HIDDEN}{what}" for what in ("agent", "tool", "model", "provider")]
    facts = busy(*names).facts(prices=[Price("priced", 1, 1, 1, 1)])
    text = page(f"{HIDDEN}dataset", facts, draw(facts), HEALTH, NOW)
    assert [character for character in HIDDEN if not character.isprintable() and character in text] == []
    for what in ("dataset", "agent", "tool", "model"):
        assert rf"\x1b[31m\x9b\u202e\x07\x00\ufffe\u2066{what}" in text
