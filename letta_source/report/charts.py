"""Charts by Vega-Lite, drawn to SVG when the report is made: no script, no network, sharp in print.

Colours are CSS variables of the page, so that a chart follows light, dark and print. Each is drawn twice, for
a wide and a narrow place; the page shows the one that fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from xml.etree import ElementTree

from letta_source.errors import ConfigError
from letta_source.report import texts
from letta_source.report.facts import Facts, Row

Spec = dict[str, Any]
WIDE, NARROW = 500, 326
_VEGA_LITE = "6.1"
_SVG = "http://www.w3.org/2000/svg"
# Vega measures texts with the font that it carries; Arial and Liberation Sans have its widths.
_FONT = "Arial, Liberation Sans, Helvetica, sans-serif"
# A hue each for what is told apart by colour; the page gives them values that the colour-blind can tell.
_HUES = tuple(f"var(--c{number})" for number in range(1, 6))
_INK, _MUTED, _LINE, _CARD = "var(--ink)", "var(--muted)", "var(--line)", "var(--card)"


@dataclass(frozen=True)
class Chart:
    """A title with its unit, what a screen reader says, and the SVG for either place."""

    title: str
    says: str
    wide: str
    narrow: str


def assert_drawable() -> None:
    """Checks that what draws and writes the page is installed.

    Raises:
        ConfigError: it is not; says how to install it.
    """
    try:
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'the report needs {error.name}: pip install ".[report]"') from error


def draw(facts: Facts) -> dict[str, Chart]:
    """The charts by name; those with nothing to show are left out."""
    step = facts.period.step
    charts: dict[str, Chart] = {}
    if any(row["messages"] for row in facts.activity):
        total = sum(row["messages"] for row in facts.activity)
        says = f"{texts.count(total)} messages over {len(facts.activity)} {step}s; the most in one "
        says += f"{step}: {texts.count(max(row['messages'] for row in facts.activity))}."
        charts["messages"] = _chart(f"Messages a {step}", says, _bars(facts.activity, "messages", _HUES[0]))
    if any(row["turns"] for row in facts.activity):
        total = sum(row["turns"] for row in facts.activity)
        says = f"{texts.count(total)} turns over {len(facts.activity)} {step}s; the most in one "
        says += f"{step}: {texts.count(max(row['turns'] for row in facts.activity))}."
        charts["turns"] = _chart(f"Turns a {step}", says, _bars(facts.activity, "turns", _HUES[0]))
    if any(row["p95_latency"] is not None for row in facts.activity):
        slow = max((row for row in facts.activity if row["p95_latency"] is not None), key=lambda r: r["p95_latency"])
        says = f"Highest 95th percentile: {texts.seconds(slow['p95_latency'])}, {texts.day(slow['day'])}."
        charts["latency"] = _chart(f"Latency of turns by {step}, seconds", says, _latency(facts.activity))
    if facts.tools:
        says = f"Most called: {texts.short(facts.tools[0]['name'] or 'unnamed')}, {texts.count(facts.tools[0]['calls'])} calls."
        charts["tools"] = _chart("Tool calls by tool and outcome", says, _tools(facts.tools))
    if any(row["tokens"] for row in facts.agents):
        says = f"{texts.count(sum(row['tokens'] or 0 for row in facts.agents))} tokens in all."
        charts["tokens"] = _chart("Tokens by agent, thousands", says, _tokens(facts.agents))
    if any(row["cost"] for row in facts.spending):
        says = f"{texts.dollars(sum(row['cost'] or 0 for row in facts.spending))} in all."
        charts["cost"] = _chart(f"Cost a {step} by model, US dollars", says, _stacked(facts.spending, "cost"))
    elif any(row["tokens"] for row in facts.spending):
        says = f"{texts.count(sum(row['tokens'] for row in facts.spending))} tokens in all."
        charts["cost"] = _chart(f"Tokens a {step} by model", says, _stacked(facts.spending, "tokens"))
    return charts


def _chart(title: str, says: str, spec: Spec) -> Chart:
    return Chart(title, says, _svg(spec, WIDE), _svg(spec, NARROW))


def _svg(spec: Spec, width: int) -> str:
    import vl_convert

    given = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": width,
        "height": 200,
        "autosize": {"type": "fit", "contains": "padding"},
        "background": None,
        "padding": {"left": 2, "right": 10, "top": 6, "bottom": 2},
        "config": _CONFIG,
        **spec,
    }
    return _embedded(vl_convert.vegalite_to_svg(given, vl_version=_VEGA_LITE))


def _embedded(drawn: str) -> str:
    """The SVG without a size of its own; what is said of a mark shows where the mouse is."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(drawn)
    for name in ("width", "height", "class", "version"):
        root.attrib.pop(name, None)
    root.set("aria-hidden", "true")
    for element in root.iter():
        said = element.attrib.pop("aria-label", None)
        if said and element.attrib.get("role") == "graphics-symbol":
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = said
            element.insert(0, title)
        for name in ("role", "aria-roledescription", "aria-hidden", "pointer-events"):
            if element is not root:
                element.attrib.pop(name, None)
    text = ElementTree.tostring(root, encoding="unicode")
    # Tenths of a pixel are enough.
    return re.sub(r"(\d+\.\d)\d{2,}", r"\1", text)


def _time(values: datetime) -> str:
    return values.replace(tzinfo=timezone.utc).isoformat()


def _over_time(rows: Sequence[Row]) -> list[dict[str, Any]]:
    times = []
    for row in rows:
        middle = row["day"] + (row["until"] - row["day"]) / 2
        times.append(
            {"from": _time(row["day"]), "to": _time(row["until"]), "middle": _time(middle)}
        )
    return times


_X: Spec = {
    "field": "from",
    "type": "temporal",
    "scale": {"type": "utc"},
    "axis": {"format": "%-d %b", "title": None, "grid": False, "tickCount": {"expr": "width / 70"}},
}
_CONFIG: Spec = {
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": _MUTED, "titleColor": _MUTED, "gridColor": _LINE, "domainColor": _LINE,
        "tickColor": _LINE, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
        "labelPadding": 4,
    },
    "axisY": {"domain": False, "ticks": False, "tickCount": 4},
    "legend": {
        "labelColor": _INK, "labelFontSize": 11, "title": None, "orient": "top", "symbolType": "square",
        "symbolSize": 90, "columnPadding": 12, "rowPadding": 3, "offset": 6, "labelLimit": 170,
        "symbolStrokeWidth": 0,
    },
    "range": {"category": list(_HUES)},
}  # fmt: skip


def _number_axis(**more: Any) -> Spec:
    return {"axis": {"title": None, "format": "~s", "tickMinStep": 1, **more}}


def _bars(rows: Sequence[Row], field: str, colour: str) -> Spec:
    values = [
        {**at, "n": row[field], "said": f"{texts.day(row['day'])}: {texts.count(row[field])} {field}"}
        for at, row in zip(_over_time(rows), rows, strict=True)
    ]
    return {
        "height": 170,
        "data": {"values": values},
        "mark": {"type": "bar", "color": colour, "stroke": _CARD, "strokeWidth": 1},
        "encoding": {
            "x": _X,
            "x2": {"field": "to"},
            "y": {"field": "n", "type": "quantitative", **_number_axis()},
            "description": {"field": "said"},
        },
    }


def _latency(rows: Sequence[Row]) -> Spec:
    kinds = (("median_latency", "median"), ("p95_latency", "95th percentile"))
    values = [
        {**at, "seconds": row[name], "kind": kind,
         "said": f"{texts.day(row['day'])}: {kind} {texts.seconds(row[name])}"}
        for at, row in zip(_over_time(rows), rows, strict=True)
        for name, kind in kinds
    ]  # fmt: skip
    domain = [kind for _, kind in kinds]
    return {
        "height": 170,
        "data": {"values": values},
        "encoding": {
            "x": {**_X, "field": "middle"},
            "y": {
                "field": "seconds", "type": "quantitative",
                "axis": {"title": None, "format": "~s"},
            },
            "color": {"field": "kind", "type": "nominal", "scale": {"domain": domain, "range": list(_HUES[:2])}},
        },
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 2}},
            {"mark": {"type": "point", "filled": True, "size": 28, "opacity": 1},
             "encoding": {
                 "shape": {"field": "kind", "type": "nominal", "legend": None,
                           "scale": {"domain": domain, "range": ["circle", "square"]}},
                 "description": {"field": "said"}}},
        ],
    }  # fmt: skip


def _rows_of_bars(values: list[dict[str, Any]], kinds: Sequence[str], colours: Sequence[str]) -> Spec:
    """Horizontal bars, stacked: of each `name`, in the order given, `n` of each kind."""
    names = list(dict.fromkeys(value["name"] for value in values))
    order = {kind: at for at, kind in enumerate(kinds)}
    return {
        "height": 40 + 24 * len(names),
        "data": {"values": [{**value, "order": order[value["kind"]]} for value in values]},
        "mark": {"type": "bar", "stroke": _CARD, "strokeWidth": 1, "height": {"band": 0.78}},
        "encoding": {
            "y": {
                "field": "name", "type": "nominal", "sort": names,
                "axis": {"title": None, "labelLimit": {"expr": "width > 300 ? 190 : 120"}, "labelColor": _INK,
                         "tickCount": len(names)},
            },
            "x": {"field": "n", "type": "quantitative", "stack": "zero",
                  "axis": {"title": None, "format": "~s", "tickCount": 4, "tickMinStep": 1, "domain": False,
                           "ticks": False}},
            "color": {"field": "kind", "type": "nominal",
                      "scale": {"domain": list(kinds), "range": list(colours)}},
            "order": {"field": "order"},
            "description": {"field": "said"},
        },
    }  # fmt: skip


def _tools(rows: Sequence[Row]) -> Spec:
    kinds = ("success", "error", "never returned")
    values = []
    for name, row in zip(_unlike(rows, "tool"), rows, strict=True):
        # One that never returned has no status.
        counts = (row["calls"] - row["errors"] - row["never_returned"], row["errors"], row["never_returned"])
        values += [
            {"name": name, "kind": kind, "n": n, "said": f"{name}: {texts.count(n)} {kind}"}
            for kind, n in zip(kinds, counts, strict=True)
        ]
    return _rows_of_bars(values, kinds, (_HUES[0], _HUES[1], _MUTED))


def _tokens(rows: Sequence[Row]) -> Spec:
    kinds = ("input", "cached input", "output")
    values = []
    for name, row in zip(_unlike(rows, "agent"), rows, strict=True):
        prompt, cached = row["prompt"] or 0, row["cached"] or 0
        counts = (max(prompt - cached, 0), cached, row["completion"] or 0)
        values += [
            {"name": name, "kind": kind, "n": n / 1000, "said": f"{name}: {texts.count(n)} {kind} tokens"}
            for kind, n in zip(kinds, counts, strict=True)
        ]
    return _rows_of_bars(values, kinds, (_HUES[0], _HUES[4], _HUES[1]))


def _stacked(rows: Sequence[Row], field: str) -> Spec:
    names = {row["rank"]: texts.short(texts.named(row["name"], "model", "other models")) for row in rows}
    kinds = [names[rank] for rank in sorted(names)]
    amount = texts.dollars if field == "cost" else texts.count
    values = [
        {**at, "n": row[field] or 0, "kind": names[row["rank"]], "rank": row["rank"],
         "said": f"{texts.day(row['day'])}, {names[row['rank']]}: {amount(row[field] or 0)}"}
        for at, row in zip(_over_time(rows), rows, strict=True)
        if row[field]
    ]  # fmt: skip
    axis: Mapping[str, Any] = {"title": None, "format": "$~s"} if field == "cost" else {"title": None, "format": "~s"}
    return {
        "height": 190,
        "data": {"values": values},
        "mark": {"type": "bar", "stroke": _CARD, "strokeWidth": 1},
        "encoding": {
            "x": _X,
            "x2": {"field": "to"},
            "y": {"field": "n", "type": "quantitative", "stack": "zero", "axis": axis},
            "color": {
                "field": "kind", "type": "nominal", "scale": {"domain": kinds, "range": list(_HUES)},
                "legend": {"columns": {"expr": "width > 300 ? 2 : 1"}},
            },
            "order": {"field": "rank"},
            "description": {"field": "said"},
        },
    }  # fmt: skip


def _unlike(rows: Sequence[Row], what: str) -> list[str]:
    """A label for each row; two agents of one name, or of one beginning, are two bars."""
    labels: list[str] = []
    for row in rows:
        label = texts.short(texts.named(row["name"], what, f"{row['names']} others"))
        while label in labels:
            label += " ′"
        labels.append(label)
    return labels
