"""Every count that a page, the demo or the notebook prints, computed in a second way.

The printed count comes from SQL or pandas over a warehouse. The second way is plain Python over responses of
the small Letta, and shares no code with it. Measurements, such as seconds and bytes, are not checked.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from html.parser import HTMLParser
from typing import Any

import pytest

from letta_source import __version__
from letta_source.demo import Letta, month_letta, recorded_letta
from letta_source.demo.api import answer
from letta_source.demo.shapes import Json, moment
from tests.support.command import Command
from tests.support.dbt_expected import expected
from tests.support.paths import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "Dockerfile", *ROOT.glob("pipelines/*")]
TOKENS = ("prompt_tokens", "cached_input_tokens", "completion_tokens", "reasoning_tokens")
DEMO = "letta_demo.duckdb"


@cache
def month() -> Letta:
    return month_letta()


def asked(path: str, **params: str) -> list[Json]:
    """Return the server's list in one page."""
    said = answer(month(), "self-hosted", "GET", path, {"limit": "1000", **params}, {})
    assert said.status == 200, path
    found: list[Json] = said.body
    assert len(found) < 1000, path
    return found


def one_by_one(path: str) -> Iterator[Json]:
    """Yield the items of pages of one message, the only pages that hide no return."""
    after: dict[str, str] = {}
    while page := asked(path, limit="1", order="asc", **after):
        yield from page
        after = {"after": page[-1]["id"]}


def rows_of(name: str, items: Sequence[Json]) -> Counter[str]:
    """Count the rows of a table of messages and of its children. A text is one part of content."""
    counted = Counter({name: len(items)})
    for item in items:
        content = item.get("content")
        counted[f"{name}__content"] += len(content) if isinstance(content, list) else isinstance(content, str)
        for child in ("tool_calls", "tool_returns", "approvals"):
            counted[f"{name}__{child}"] += len(item.get(child) or ())
    return counted


@cache
def counted() -> Counter[str]:
    """Count the rows of each table in plain Python."""
    listed = {name: asked(f"/v1/{name}/") for name in ("agents", "groups", "runs", "conversations")}
    listed["batches"] = asked("/v1/messages/batches")
    listed["steps"] = [step for run in listed["runs"] for step in asked(f"/v1/runs/{run['id']}/steps")]
    total = Counter({name: len(rows) for name, rows in listed.items()})
    for name in ("agents", "groups"):
        for row in listed[name]:
            path = f"/v1/{name}/{row['id']}/messages"
            total += rows_of(f"{name[:-1]}_messages", asked(path, use_assistant_message="false"))
    for step in listed["steps"]:
        total += rows_of("step_messages", list(one_by_one(f"/v1/steps/{step['id']}/messages")))
    running = {batch["id"] for batch in listed["batches"]}
    messages = [one.internal() for one in month().messages.rows.values() if one.batch_id in running]
    return total + rows_of("batch_messages", messages)


def items() -> list[tuple[Json, Json]]:
    """Return each item of agents' messages, after its agent."""
    return [
        (agent, item)
        for agent in asked("/v1/agents/")
        for item in asked(f"/v1/agents/{agent['id']}/messages", use_assistant_message="false")
    ]


def names() -> dict[str, str]:
    return {agent["id"]: agent["name"] for agent in asked("/v1/agents/")}


# Pages.


def test_the_size_of_the_demo_is_as_the_changelog_says() -> None:
    page = (ROOT / "CHANGELOG.md").read_text("utf-8")
    [(agents, rows)] = re.findall(
        r"made-up conversations, (\d+) agents and some ([\d,]+) rows of messages", page
    )
    assert int(agents) == len(
        month().tables["agents"].rows.keys() - recorded_letta().tables["agents"].rows.keys()
    )
    assert int(rows.replace(",", "")) == round(counted()["agent_messages"], -2)


def test_the_version_is_that_of_the_package() -> None:
    """Versions are in tags of images and of git."""
    tagged = r"letta-source:(\d+\.\d+\.\d+\S*)|tag -s v(\d+\.\d+\.\d+\S*)"
    found = {path.name: re.findall(tagged, path.read_text("utf-8")) for path in PAGES if path.is_file()}
    printed = {
        name: {version for pair in pairs for version in pair if version} for name, pairs in found.items()
    }
    there = {name: versions for name, versions in printed.items() if versions}
    assert there == {name: {__version__} for name in there}
    assert {"install.md", "Dockerfile", "kubernetes_job.yaml", "CONTRIBUTING.md"} <= there.keys()


# The notebook.


class _Tables(HTMLParser):
    """A parser that collects the cells of each row of a table, the head included."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1] += ["" for _ in range(int(dict(attrs).get("colspan") or 1))]
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


@cache
def tables() -> list[list[list[str]]]:
    """Return the tables in the stored notebook."""
    notebook = json.loads((ROOT / "docs" / "explore.ipynb").read_text("utf-8"))
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if html := "".join(output.get("data", {}).get("text/html", ())):
                parser = _Tables()
                parser.feed(html)
                found.append(parser.rows)
    return found


def shown(number: int) -> list[list[str]]:
    """Return the visible rows of a notebook's table; an index that a row omits is that of the row above."""
    rows = [row for row in tables()[number] if any(cell.strip() for cell in row[1:])]
    width, whole = max(map(len, rows)), list[list[str]]()
    for row in rows:
        above = whole[-1] if whole else row
        whole.append(above[: width - len(row)] + row)
    return [row for row in whole if "..." not in row]


def outcome(call: Any) -> str:
    return "denied" if call.denied else call.status or "never_returned"


def test_messages_by_agent_and_type() -> None:
    (_, *types), *rows = shown(0)
    printed = {(row[0], kind): int(count) for row in rows for kind, count in zip(types, row[1:], strict=True)}
    wanted = Counter((agent["name"], item["message_type"]) for agent, item in items())
    assert {key: count for key, count in printed.items() if count} == wanted
    assert sum(printed.values()) == counted()["agent_messages"]


def test_calls_by_tool_and_outcome() -> None:
    (_, *outcomes), *rows = shown(1)
    printed = {
        (row[0], name): int(count) for row in rows for name, count in zip(outcomes, row[1:], strict=True)
    }
    wanted = Counter((call.name, outcome(call)) for call in expected(month()).calls)
    assert {key: count for key, count in printed.items() if count} == wanted
    # Ids repeat, so a join by id alone would give more rows.
    calls = Counter(
        (agent["id"], one["tool_call_id"]) for agent, item in items() for one in item.get("tool_calls") or ()
    )
    assert max(calls.values()) > 1


def test_durations_of_runs() -> None:
    _, *rows = shown(2)
    took: dict[str, list[float]] = defaultdict(list)
    for run in asked("/v1/runs/"):
        seconds = took[names()[run["agent_id"]]]
        if run["completed_at"]:
            seconds.append((moment(run["completed_at"]) - moment(run["created_at"])).total_seconds())
    assert {row[0] for row in rows} == took.keys()
    for name, *figures in rows:
        ran = sorted(took[name])
        wanted = [len(ran), statistics.fmean(ran), statistics.stdev(ran) if ran[1:] else None, ran[0]]
        wanted += [quantile(ran, 0.5), quantile(ran, 0.95), ran[-1]]
        for printed, figure in zip(figures, wanted, strict=True):
            assert printed == "NaN" if figure is None else float(printed) == pytest.approx(figure, abs=0.0051)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the quantile by linear interpolation."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def test_tokens_by_agent_model_and_day() -> None:
    rows = [row for row in shown(3) if row[-1].isdigit()]
    spent: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(TOKENS))
    for run in asked("/v1/runs/"):
        for step in asked(f"/v1/runs/{run['id']}/steps"):
            day = str(moment(run["created_at"]).date())
            total = spent[names()[run["agent_id"]], step["model"], day]
            total[:] = [known + (count or 0) for known, count in zip(total, usage(step), strict=True)]
    printed = {tuple(row[:3]): [int(count) for count in row[3:]] for row in rows}
    assert len(printed) >= 10
    assert printed == {key: spent[key] for key in printed}


def usage(step: Json) -> list[int | None]:
    """Return the tokens of a step in the order of `TOKENS`; the API nests two of them."""
    prompt, completion = step["prompt_tokens_details"] or {}, step["completion_tokens_details"] or {}
    return [
        step["prompt_tokens"],
        prompt.get("cached_tokens") or prompt.get("cache_read_tokens"),
        step["completion_tokens"],
        completion.get("reasoning_tokens"),
    ]


def test_steps_by_stop_reason() -> None:
    _, *rows = shown(4)
    steps = [step for run in asked("/v1/runs/") for step in asked(f"/v1/runs/{run['id']}/steps")]
    errors: dict[str, list[str]] = defaultdict(list)
    for step in steps:
        errors[str(step["stop_reason"] or "NaN")] += [step["error_type"]] if step["error_type"] else []
    reasons = Counter(str(step["stop_reason"] or "NaN") for step in steps)
    printed = {reason: (int(count), error) for _, reason, count, error in rows}
    assert printed == {
        reason: (count, max(errors[reason], default="NaN")) for reason, count in reasons.items()
    }


# The demo.


@pytest.mark.docs
def test_row_counts_printed_by_the_demo_and_its_report(letta_source: Command) -> None:
    said = letta_source("demo")
    assert said.code == 0
    printed = dict(re.findall(r"^  (\w+) +([\d,]+)$", said.out, re.MULTILINE))
    rows = {name: int(count.replace(",", "")) for name, count in printed.items()}
    assert rows == {name: letta_source.count(name, DEMO) for name in rows}
    assert {name: rows[name] for name in rows if not name.startswith("load_")} == {
        name: counted()[name] for name in rows if not name.startswith("load_")
    }
    summary = dict(re.findall(r"^(\w+) +\S+ +([\d,]+) +[\d,]+ +\S+ +\d+$", said.out, re.MULTILINE))
    assert {name: int(count.replace(",", "")) for name, count in summary.items()} == {
        name: counted()[name] for name in summary
    }
    assert len(summary) == 10
    model = expected(month())
    figures = {
        "Messages": counted()["agent_messages"],
        "Turns": len(model.turns),
        "Tool calls": len(model.calls),
    }
    assert reported(letta_source, figures) == figures
    # One agent, by its name.
    busiest, messages = Counter(agent["id"] for agent, _ in items()).most_common(1)[0]
    figures = {
        "Messages": messages,
        "Turns": sum(turn.agent_id == busiest for turn in model.turns),
        "Tool calls": sum(call.where.agent_id == busiest for call in model.calls),
    }
    assert reported(letta_source, figures, "--agent-id", names()[busiest]) == figures
    refused = letta_source("report", "--database", DEMO, "--agent-id", "nobody")
    assert (refused.code, "no agent has the id or the name 'nobody'" in refused.err) == (2, True)


def reported(letta_source: Command, titles: Iterable[str], *options: str) -> dict[str, int]:
    """Figures of the headline of a report of all time."""
    said = letta_source("report", "--database", DEMO, "--start-date", "2000-01-01", *options)
    assert said.code == 0
    html = (letta_source.folder / "letta-report.html").read_text("utf-8")
    found = dict(re.findall(r"<dt>(.+?)</dt>\s*<dd class=\"value\">([\d,]+)\s*<", html))
    return {title: int(found[title].replace(",", "")) for title in titles}
