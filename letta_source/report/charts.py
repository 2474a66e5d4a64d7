"""Draw charts with Vega-Lite, as SVG when the report is made: no script, no network, sharp in print.

Colours are CSS variables of the page, so that a chart follows light, dark and print. Each chart is drawn
twice, wide and narrow; the page shows the one that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import Any

from letta_source.report import formats
from letta_source.report.drawing import INK, MUTED, NARROW, WIDE, Spec, svg
from letta_source.report.facts import Facts, Row

# Colours of categories; the page gives them values that colour-blind people can tell apart, too.
_HUES = tuple(f"var(--c{number})" for number in range(1, 6))
_Spec = Callable[[int], Spec]
Key = Sequence[tuple[str, str]]
# Formats of dates by the longest time that they suit.
_DATES = ((timedelta(days=380), "%-d %b"), (timedelta(days=3660), "%b %Y"), (timedelta.max, "%Y"))
_UNITS = (("hours", 3600), ("minutes", 60), ("seconds", 1))


@dataclass(frozen=True)
class Chart:
    """A title with its unit, the colours and their meanings, a text for screen readers, and two SVGs."""

    title: str
    key: Key
    says: str
    wide: str
    narrow: str


def draw(facts: Facts) -> dict[str, Chart]:
    """Return the charts by name; those with nothing to show are left out."""
    step, days = facts.period.step, facts.activity
    # The bar of all others would be so long that no other could be read; the tables have it.
    tools = [row for row in facts.tools if row["name"] is not None]
    agents = [row for row in facts.agents if row["name"] is not None]
    of_tools, of_agents = _first(facts.tools), _first(facts.agents)
    charts: dict[str, Chart] = {}
    for what in ("messages", "turns"):
        if any(row[what] for row in days):
            total, most = sum(row[what] for row in days), max(row[what] for row in days)
            at_most = f"at most {formats.count(most)} in one"
            says = f"{formats.count(total)} {what} in {len(days)} {step}s, {at_most}."
            charts[what] = _chart(f"{what.capitalize()} a {step}", [], says, _counts(days, what))
    slow = [row for row in days if row["p95_latency"] is not None]
    if slow:
        worst = max(slow, key=lambda row: float(row["p95_latency"]))
        highest = formats.seconds(worst["p95_latency"])
        says = f"Highest 95th percentile: {highest}, {formats.day(worst['day'])}."
        key = [(_HUES[0], "median"), (_HUES[1], "95th percentile")]
        unit, size = _unit(worst["p95_latency"])
        charts["latency"] = _chart(
            f"Latency of turns by {step}, {unit}", key, says, _latency(days, slow, size)
        )
    if tools:
        most = max(row["calls"] for row in tools)
        says = f"{len(tools)} bars, the longest of {formats.count(most)} calls; the table below has all."
        key = [(_HUES[0], "success"), (_HUES[1], "error"), (MUTED, "never returned")]
        charts["tools"] = _chart(f"Tool calls{of_tools}", key, says, _tools(tools, key))
    if any(row["seconds"] for row in tools):
        charts["tool_time"] = _tool_time(tools, of_tools)
    if any(row["tokens"] for row in agents):
        total = sum(row["tokens"] or 0 for row in facts.agents)
        says = f"{formats.count(total)} tokens in all; the table below has them by agent."
        key = [(_HUES[0], "input"), (_HUES[4], "cached input"), (_HUES[1], "output")]
        charts["tokens"] = _chart(f"Tokens by agent{of_agents}", key, says, _tokens(agents, key))
    if any(row["cost"] for row in agents):
        total = sum(row["cost"] or 0 for row in facts.agents)
        says = f"{formats.dollars(total)} in all; the table below has them by agent."
        costs = [(row, row["cost"], formats.dollars(row["cost"])) for row in agents if row["cost"]]
        charts["agent_cost"] = _chart(
            f"Cost by agent, US dollars{of_agents}", [], says, _totals(costs, "agent")
        )
    if any(row["tokens"] for row in facts.spending):
        charts["cost"] = _spending(days, facts.spending, step)
    return charts


def _first(rows: Sequence[Row]) -> str:
    """Return the end of a title: how many are drawn, if not all."""
    return f", the first {len(rows) - 1}" if rows and rows[-1]["name"] is None else ""


def _chart(title: str, key: Key, says: str, spec: _Spec) -> Chart:
    return Chart(title, key, says, svg(spec(WIDE), WIDE), svg(spec(NARROW), NARROW))


def _at(time: datetime) -> str:
    return time.replace(tzinfo=timezone.utc).isoformat()


def _ms(time: datetime) -> float:
    return time.replace(tzinfo=timezone.utc).timestamp() * 1000


def _x(days: Sequence[Row], width: int) -> Spec:
    """Return the x axis with all days, whether or not there is something to draw."""
    each = -(-len(days) // (width // 75))
    axis = {
        "format": next(form for most, form in _DATES if days[-1]["until"] - days[0]["day"] <= most),
        "title": None,
        "grid": False,
        "values": [_ms(row["day"]) for row in days[::each]],
    }
    domain = [_ms(days[0]["day"]), _ms(days[-1]["until"])]
    scale = {"type": "utc", "nice": False, "domain": domain}
    return {"field": "from", "type": "temporal", "scale": scale, "axis": axis}


def _boxes(days: Sequence[Row], values: list[dict[str, Any]], axis: Spec) -> _Spec:
    """Return bars over time as rectangles (`from`, `to`, `low`, `high`): Vega-Lite's bars span days only."""
    return lambda width: {
        "height": 170,
        "data": {"values": values},
        "mark": {"type": "rect", "stroke": "var(--card)", "strokeWidth": 1},
        "encoding": {
            "x": _x(days, width),
            "x2": {"field": "to"},
            "y": {"field": "low", "type": "quantitative", "axis": {"title": None, **axis}},
            "y2": {"field": "high"},
            "color": {"field": "hue", "type": "nominal", "scale": None, "legend": None},
            "description": {"field": "tooltip"},
        },
    }


def _box(row: Row, low: float, high: float, hue: str, text: str) -> dict[str, Any]:
    at = {"from": _at(row["day"]), "to": _at(row["until"])}
    return {**at, "low": low, "high": high, "hue": hue, "tooltip": f"{formats.day(row['day'])}: {text}"}


def _counts(rows: Sequence[Row], field: str) -> _Spec:
    values = [_box(row, 0, row[field], _HUES[0], f"{formats.count(row[field])} {field}") for row in rows]
    return _boxes(rows, values, {"format": "~s", "tickMinStep": 1})


def _spending(days: Sequence[Row], rows: Sequence[Row], step: str) -> Chart:
    """Draw cost by model, or tokens if no model has a price."""
    field = "cost" if any(row["cost"] for row in rows) else "tokens"
    shown = formats.dollars if field == "cost" else formats.count
    names = {row["rank"]: formats.short(formats.named(row["name"], "model", "others")) for row in rows}
    hues = dict(zip(sorted(names), _HUES, strict=False))
    values = []
    for _, models in groupby(rows, key=lambda row: row["day"]):
        low = 0.0
        for row in models:
            if row[field]:
                high = low + float(row[field])
                label = f"{names[row['rank']]} {shown(row[field])}"
                values.append(_box(row, low, high, hues[row["rank"]], label))
                low = high
    total = shown(sum(row[field] or 0 for row in rows))
    title = f"Cost a {step} by model, US dollars" if field == "cost" else f"Tokens a {step} by model"
    key = [
        (hues[rank], names[rank])
        for rank in sorted(names)
        if any(row[field] and row["rank"] == rank for row in rows)
    ]
    axis = {"format": "$~r" if field == "cost" else "~s"}
    return _chart(title, key, f"{total} in all; the table of models has them.", _boxes(days, values, axis))


def _unit(longest: float) -> tuple[str, int]:
    """Return the unit that suits the longest duration of a chart, and its number of seconds."""
    return next((one for one in _UNITS if longest >= 2 * one[1]), _UNITS[-1])


def _latency(days: Sequence[Row], rows: Sequence[Row], unit: int) -> _Spec:
    kinds = {"median_latency": ("median", _HUES[0]), "p95_latency": ("95th percentile", _HUES[1])}
    values = [
        {"from": _at(row["day"] + (row["until"] - row["day"]) / 2), "time": row[field] / unit, "kind": kind,
         "hue": hue, "tooltip": f"{formats.day(row['day'])}: {kind} {formats.seconds(row[field])}"}
        for row in rows
        for field, (kind, hue) in kinds.items()
    ]  # fmt: skip
    shapes = {"domain": [kind for kind, _ in kinds.values()], "range": ["circle", "square"]}
    return lambda width: {
        "height": 170,
        "data": {"values": values},
        "encoding": {
            "x": _x(days, width),
            "y": {"field": "time", "type": "quantitative", "axis": {"title": None, "format": "~r"}},
            "color": {"field": "hue", "type": "nominal", "scale": None, "legend": None},
        },
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 2}},
            {
                "mark": {"type": "point", "filled": True, "size": 30, "opacity": 1},
                "encoding": {
                    "shape": {"field": "kind", "type": "nominal", "legend": None, "scale": shapes},
                    "description": {"field": "tooltip"},
                },
            },
        ],
    }


def _stripes(values: list[dict[str, Any]], key: Key, format_: str = "~s") -> _Spec:
    """Return stacked horizontal bars: for each `name`, in the given order, `n` of each kind in the key."""
    names = list(dict.fromkeys(value["name"] for value in values))
    kinds = {kind: at for at, (_, kind) in enumerate(key)}
    hues = {"domain": list(kinds), "range": [hue for hue, _ in key]}
    ordered = [{**value, "order": kinds[value["kind"]]} for value in values]
    ticks = {"title": None, "format": format_, "tickCount": 4, "domain": False, "ticks": False}
    if format_ == "~s":
        ticks["tickMinStep"] = 1
    return lambda width: {
        "height": 34 + 22 * len(names),
        "data": {"values": ordered},
        "mark": {"type": "bar", "stroke": "var(--card)", "strokeWidth": 1, "height": {"band": 0.8}},
        "encoding": {
            "y": {
                "field": "name",
                "type": "nominal",
                "sort": names,
                "axis": {"title": None, "labelLimit": width * 0.42, "labelColor": INK},
            },
            "x": {"field": "n", "type": "quantitative", "stack": "zero", "axis": ticks},
            "color": {"field": "kind", "type": "nominal", "scale": hues, "legend": None},
            "order": {"field": "order"},
            "description": {"field": "tooltip"},
        },
    }


def _tools(rows: Sequence[Row], key: Key) -> _Spec:
    values = []
    for name, row in zip(_labels(rows, "tool"), rows, strict=True):
        counts = (row["calls"] - row["errors"] - row["never_returned"], row["errors"], row["never_returned"])
        values += _stripe(name, key, counts, "calls")
    return _stripes(values, key)


def _tokens(rows: Sequence[Row], key: Key) -> _Spec:
    values = []
    rows = sorted(rows, key=lambda row: -(row["tokens"] or 0))
    for name, row in zip(_labels(rows, "agent"), rows, strict=True):
        prompt, cached = row["prompt"] or 0, row["cached"] or 0
        values += _stripe(name, key, (max(prompt - cached, 0), cached, row["completion"] or 0), "tokens")
    return _stripes(values, key)


def _tool_time(rows: Sequence[Row], first: str) -> Chart:
    unit, size = _unit(max(row["seconds"] or 0 for row in rows))
    times = [(row, (row["seconds"] or 0) / size, formats.seconds(row["seconds"])) for row in rows]
    total = formats.seconds(sum(row["seconds"] or 0 for row in rows))
    return _chart(f"Time in tools, {unit}{first}", [], f"{total} in the tools drawn.", _totals(times, "tool"))


def _totals(rows: Iterable[tuple[Row, float, str]], what: str) -> _Spec:
    """Return one bar for each row, the longest first."""
    ordered = sorted(rows, key=lambda row: -row[1])
    labels = _labels([row for row, _, _ in ordered], what)
    values = [
        {"name": label, "kind": "", "n": n, "tooltip": f"{label}: {text}"}
        for label, (_, n, text) in zip(labels, ordered, strict=True)
    ]
    return _stripes(values, [(_HUES[0], "")], "~r")


def _stripe(name: str, key: Key, counts: Iterable[float], unit: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "kind": kind, "n": n, "tooltip": f"{name}: {formats.count(n)} {unit}, {kind}"}
        for (_, kind), n in zip(key, counts, strict=True)
    ]


def _labels(rows: Sequence[Row], what: str) -> list[str]:
    """Return a label for each row; two agents with one name, or one shortened name, are two bars."""
    labels: list[str] = []
    for row in rows:
        label = formats.short(formats.named(row["name"], what, ""))
        while label in labels:
            label += "\N{PRIME}"
        labels.append(label)
    return labels
