"""The command `letta-source export` with `--format chat`, `sharegpt` or `trajectory`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from letta_source.cli.arguments import opened_dataset
from letta_source.errors import ConfigError, ExitCode
from letta_source.safe_text import visible

if TYPE_CHECKING:
    from letta_source.export.chat_model import LeftOut
    from letta_source.export.write import Form

_FOR_TABLES = ("type", "columns", "children", "csv_safe", "sql")
_FOR_CHATS = ("turns", "images", "reasoning")


def add_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of chats to the parser."""
    group.add_argument(
        "--turns", type=int, metavar="N", help="maximum number of turns per line (default: all)"
    )
    group.add_argument(
        "--images",
        choices=("links", "drop"),
        help="keep the addresses of images, or nothing (default: links)",
    )
    group.add_argument(
        "--reasoning",
        action=argparse.BooleanOptionalAction,
        help="with the model's reasoning (default: only in trajectories)",
    )


def refuse(options: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Raise ConfigError if one of the options was given."""
    for name in names:
        if getattr(options, name) not in (None, False):
            raise ConfigError(f"--{name.replace('_', '-')} is {why}")


def refuse_for_tables(options: argparse.Namespace) -> None:
    """Raise ConfigError for an option of chats when a table is exported."""
    refuse(options, _FOR_CHATS, "for chats: --format chat, sharegpt or trajectory")


def export_chats(options: argparse.Namespace, output: Path | None, form: Form) -> int:
    """Write conversations, one per line.

    Raises:
        LettaError: nothing was written to the file.
    """
    import orjson

    from letta_source.export.agents import SOME, agent_ids
    from letta_source.export.chat_formats import FORMATS
    from letta_source.export.chat_model import LeftOut
    from letta_source.export.chat_reading import read_chats, select_chats
    from letta_source.export.output import to_output
    from letta_source.export.pairing import ROOT
    from letta_source.export.write import compressed

    if options.table not in (None, ROOT):
        raise ConfigError(f"--format {form.name} exports {ROOT}, not {options.table}")
    refuse(options, _FOR_TABLES, f"for tables: leave it out with --format {form.name}")
    with_reasoning = form.name == "trajectory" if options.reasoning is None else options.reasoning

    def selected(agents: list[str] | None) -> Any:
        return select_chats(agents, options.start_date, options.end_date, options.turns, options.images)

    selection = selected(options.agent_id and SOME)
    left_out = LeftOut()
    with opened_dataset(options, output) as (pipeline, folder):
        if options.agent_id:
            selection = selected(agent_ids(pipeline, options.agent_id))
        chats = read_chats(pipeline, selection, left_out, folder)

        def write(file: BinaryIO) -> int:
            count = 0
            with compressed(form, file) as into:
                for one in chats:
                    line = FORMATS[form.name](one, with_reasoning)
                    into.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                    count += 1
            return count

        count = to_output(output, write)
    print(
        f"{count:,} conversations{f' in {visible(str(output))}' if output else ''}{_describe(left_out)}",
        file=sys.stderr,
    )
    return ExitCode.OK


def _describe(left_out: LeftOut) -> str:
    """Return a text that says what was left out, and why."""
    parts = []
    if left_out.chats:
        parts.append(f"{left_out.chats:,} without a person's message or without an answer")
    if left_out.calls:
        parts.append(f"{left_out.calls:,} tool calls without a result")
    parts += [f"{count:,} items of type {kind!r}" for kind, count in sorted(left_out.items.items())]
    return f"; left out: {', '.join(parts)}" if parts else ""
