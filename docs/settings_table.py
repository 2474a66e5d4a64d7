"""Write the table of `docs/configure.md` from `letta_source.settings`: `python docs/settings_table.py`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from letta_source.cli.run import add_options
from letta_source.settings import Settings

PAGE = Path(__file__).with_name("configure.md")
_BEGIN = "<!-- Written by docs/settings_table.py, from letta_source/settings. -->\n"
_END = "<!-- Until here. -->"


def page() -> str:
    """Return the whole page; everything outside the marks is written by hand."""
    head, begin, rest = PAGE.read_text("utf-8").partition(_BEGIN)
    return f"{head}{begin}\n{table()}\n\n{_END}{rest.partition(_END)[2]}"


def table() -> str:
    """Return a Markdown row for each setting."""
    options = _options()
    rows = ["| setting | option | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        setting = field.alias or name
        option = f"`{options[setting]}`" if setting in options else ""
        # Defaults that depend on the machine are described in words.
        default = None if field.default_factory else field.default
        rows.append(f"| `{setting}` | {option} | {_default(default)} | {field.description} |")
    return "\n".join(rows)


def _options() -> Mapping[str, str]:
    """Map each setting to its option of `letta-source run`."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    # Options that can be repeated have singular names.
    plural = {"agent_id": "agent_ids", "batch_id": "batch_ids"}
    return {
        plural.get(action.dest, action.dest): action.option_strings[0]
        for action in parser._actions
        if action.option_strings
    }


def _default(value: Any) -> str:
    if value is None or value in ({}, ()):
        return ""
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
            if seconds >= size and seconds % size == 0:
                return f"`{seconds // size}{unit}`"
        return f"`{seconds}s`"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
