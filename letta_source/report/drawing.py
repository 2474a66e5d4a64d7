"""Draw a Vega-Lite specification as SVG that can be embedded in a page."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from letta_source.errors import ConfigError
from letta_source.safe_text import visible

Spec = dict[str, Any]
# Widths of a chart in pixels. The narrow one fits a phone that is 360 wide.
WIDE, NARROW = 500, 304
INK, MUTED, _LINE = "var(--ink)", "var(--muted)", "var(--line)"
_VEGA_LITE = "6.1"
_SVG = "http://www.w3.org/2000/svg"
_LENGTHS = {"d", "transform"}
_CONFIG: Spec = {
    # Vega measures texts with its own font; Arial and Liberation Sans have the same widths.
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelColor": MUTED, "gridColor": _LINE, "domainColor": _LINE, "tickColor": _LINE,
             "labelFontSize": 11, "labelPadding": 4},
    "axisY": {"domain": False, "ticks": False, "tickCount": 4},
}  # fmt: skip


def assert_drawable() -> None:
    """Check that the packages that draw and write the page are installed.

    Raises:
        ConfigError: one is not; the message says how to install it.
    """
    try:
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'the report needs {error.name}: pip install ".[report]"') from error


def svg(spec: Spec, width: int) -> str:
    """Return the drawing, as wide as its place; a mark's description shows under the mouse."""
    import vl_convert

    given = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": width,
        "autosize": {"type": "fit", "contains": "padding"},
        "background": None,
        "padding": {"left": 2, "right": 8, "top": 6, "bottom": 2},
        "config": _CONFIG,
        **spec,
    }
    # A control character in a name would end the process: the font engine takes only XML's characters.
    return _embedded(vl_convert.vegalite_to_svg(_visible(given), vl_version=_VEGA_LITE))


def _visible(given: Any) -> Any:
    if isinstance(given, str):
        return visible(given)
    if isinstance(given, dict):
        return {_visible(name): _visible(value) for name, value in given.items()}
    return [_visible(one) for one in given] if isinstance(given, (list, tuple)) else given


def _embedded(drawn: str) -> str:
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(drawn)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    for element in root.iter():
        label = element.attrib.pop("aria-label", None)
        # An axis is one, too, but how Vega describes it does not help under the mouse.
        is_mark = element.attrib.get("aria-roledescription") != "axis"
        if label and is_mark and element.attrib.get("role") == "graphics-symbol":
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = label
            element.insert(0, title)
        # The page describes the whole chart and has its figures in tables.
        for name in ("role", "aria-roledescription", "aria-hidden", "pointer-events"):
            element.attrib.pop(name, None)
        for name in _LENGTHS & element.attrib.keys():
            # Tenths of a pixel are enough.
            element.attrib[name] = re.sub(r"\d+\.\d\d+", _tenths, element.attrib[name])
    root.set("aria-hidden", "true")
    return ElementTree.tostring(root, encoding="unicode")


def _tenths(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}"
