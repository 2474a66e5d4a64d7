"""Render the report as one HTML file: no request, one script, and a policy that forbids any other.

The script filters the page; without it the page is complete, too. The policy has the script's hash, so no
other script can run, even if a name smuggled one in.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from letta_source.report import formats
from letta_source.report.charts import Chart
from letta_source.report.facts import MOST, SLOWEST, Facts
from letta_source.report.filter_data import MOST_BYTES, as_json
from letta_source.report.warehouse import Health
from letta_source.safe_text import visible

_STALE = timedelta(days=2)


@dataclass(frozen=True)
class Figure:
    """A headline figure: its value, how it changed, and whether that is `good`, `bad` or neither."""

    name: str
    value: str
    note: str
    change: str
    verdict: str


def page(dataset: str, facts: Facts, charts: Mapping[str, Chart], health: Health, now: datetime) -> str:
    """Return the text of the file.

    Args:
        dataset: the dataset's name in the report, such as `letta (duckdb)`.
        now: when the report is made, UTC.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("letta_source.report", "."),
        autoescape=True,
        # Names and errors are other people's text; drawings are Markup.
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=lambda number: formats.NONE if number is None else formats.count(number),
        seconds=formats.seconds,
        dollars=formats.dollars,
        share=formats.share,
        moment=formats.moment,
        day=formats.day,
        short=formats.short,
        named=formats.named,
        # Drawings, whose text ElementTree escaped, the script, and JSON without a sign that could end it.
        drawn=Markup,
    )
    data = facts.filter_data
    if data and not (data["messages"] or data["steps"]):
        data = None  # An empty report needs no filter.
    script = (files("letta_source.report") / "filter.js").read_text("utf-8")
    return environment.get_template("page.html").render(
        filter_data=as_json(data) if data else "",
        most_bytes=MOST_BYTES,
        script=script,
        script_hash=f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        dataset=dataset,
        facts=facts,
        charts=charts,
        health=health,
        figures=_figures(facts),
        warnings=_warnings(facts, health, now),
        first=facts.period.start,
        last=facts.period.last,
        before=facts.period.before,
        now=now,
        message_age=formats.age(_since(now, health.newest)) if health.newest else formats.NONE,
        load_age=formats.age(_since(now, health.last_load)) if health.last_load else formats.NONE,
        most=MOST,
        slowest=SLOWEST,
        version=version("dlt-source-letta"),
    )


def _figures(facts: Facts) -> list[Figure]:
    now, before = facts.headline, facts.before

    def figure(name: str, key: str, shown: Any, note: str = "", less_is_better: bool | None = None) -> Figure:
        change = ""
        if before:
            # Shares change in points: from 1% to 2% is one point more, not twice as much.
            compare = formats.points if shown is formats.share else formats.change
            change = compare(now[key], before[key])
        verdict = ""
        if change and less_is_better is not None and not change.startswith("±"):
            verdict = "good" if change.startswith(formats.MINUS) == less_is_better else "bad"
        return Figure(name, shown(now[key]), note, change, verdict)

    steps = "" if facts.gaps["steps"] else "no steps were loaded"
    unpriced = f"{formats.count(now['unpriced'])} steps have no price" if now["unpriced"] else steps
    others = (
        f", {formats.count(now['other_agents'])} more without people's messages"
        if now["other_agents"]
        else ""
    )
    outside = (
        f"agents that also talked outside of any: {formats.count(now['outside'])}" if now["outside"] else ""
    )
    share = f"positive, of {formats.count(now['positive'] + now['negative'])} steps with feedback"
    feedback = (
        [figure("Feedback", "satisfaction", formats.share, share, False)]
        if now["satisfaction"] is not None
        else []
    )
    return [
        figure("Agents", "agents", formats.rough, f"of {formats.count(facts.gaps['agents'])}{others}"),
        figure("Conversations", "conversations", formats.rough, outside),
        figure("Messages", "messages", formats.rough),
        figure("Turns", "turns", formats.rough),
        figure("Median latency", "median_latency", formats.seconds, "of a turn", True),
        figure("95th percentile", "p95_latency", formats.seconds, "of latency", True),
        figure("Tool calls", "calls", formats.rough),
        figure("Tool errors", "error_rate", formats.share, f"{formats.count(now['errors'])} calls", True),
        figure("Tokens", "tokens", formats.rough, steps),
        figure("Cost", "cost", formats.dollars, unpriced),
        *feedback,
    ]


def _warnings(facts: Facts, health: Health, now: datetime) -> list[str]:
    """Return the warnings that a reader must see first."""
    warnings = []
    if health.last_load is None:
        warnings.append("No load has finished yet.")
    elif _since(now, health.last_load) > _STALE:
        age = formats.age(_since(now, health.last_load))
        warnings.append(f"The last finished load began {age} ago: newer data is missing.")
    if health.ahead:
        dated = f"{formats.count(health.ahead)} items of messages are dated in the future"
        warnings.append(f"{dated}: a report without an end date leaves them out.")
    if facts.issues:
        warnings.append("Something could not be read: see the load's health.")
    return warnings


def _since(now: datetime, then: datetime) -> timedelta:
    return max(now - then.replace(tzinfo=timezone.utc), timedelta(0))
