"""The command `letta-source export`, without heavy imports until it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from letta_source.cli.arguments import (
    add_command,
    add_names,
    add_place,
    add_window,
    names,
    opened_dataset,
    reading_exit_codes,
    text,
)
from letta_source.cli.streams import assert_output
from letta_source.errors import ConfigError, ExitCode
from letta_source.safe_text import visible

if TYPE_CHECKING:
    import dlt

    from letta_source.export.chat_model import LeftOut
    from letta_source.export.chat_reading import ChatSelection
    from letta_source.export.selection import Selection
    from letta_source.export.write import Form

Selected = TypeVar("Selected")

CODES = reading_exit_codes("everything was written", "the export failed; an existing file is unchanged")

_FOR_ROWS = (
    "output",
    "format",
    "csv_safe",
    "agent_id",
    "type",
    "columns",
    "children",
    "start_date",
    "end_date",
)
_FOR_TABLES = ("type", "columns", "children", "csv_safe", "sql")
_FOR_CHATS = ("turns", "images", "reasoning")


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "write a table, or a part of it, to a file"
    command = add_command(commands, "export", export, summary, CODES, prints=False)
    command.add_argument(
        "table",
        nargs="?",
        metavar="TABLE",
        help="a table, such as agent_messages (`discover` lists them), or tool_calls: calls and results",
    )
    to = command.add_argument_group("to")
    to.add_argument(
        "--output",
        type=text,
        metavar="FILE",
        help="the file to write; it appears once it is complete (default: standard output)",
    )
    to.add_argument(
        "--format",
        choices=("parquet", "csv", "jsonl", "chat", "sharegpt", "trajectory"),
        help="default: by the file's name, else jsonl; the last three write one conversation per line",
    )
    to.add_argument(
        "--csv-safe",
        action=argparse.BooleanOptionalAction,
        help="put an apostrophe before texts that a spreadsheet would run as a formula (default for CSV)",
    )
    to.add_argument(
        "--sql", action="store_true", help="print the SQL of tool_calls, for a view in your warehouse"
    )
    what = command.add_argument_group("what")
    add_window(what)
    add_names(what, "--agent-id", "ID", "only this agent, by its id or its name")
    add_names(what, "--type", "TYPE", "only messages of this type, such as user_message")
    add_names(what, "--columns", "A,B", "only these, in this order")
    what.add_argument(
        "--children",
        type=names,
        nargs="?",
        const=True,
        default=False,
        metavar="A,B",
        help="add content, tool_calls, tool_returns and approvals as lists, or some of them",
    )
    chats = command.add_argument_group("chats")
    chats.add_argument(
        "--turns", type=int, metavar="N", help="maximum number of turns per line (default: all)"
    )
    chats.add_argument(
        "--images",
        choices=("links", "drop"),
        help="keep the addresses of images, or nothing (default: links)",
    )
    chats.add_argument(
        "--reasoning",
        action=argparse.BooleanOptionalAction,
        help="with the model's reasoning (default: only in trajectories)",
    )
    add_place(command.add_argument_group("where from"))


def export(options: argparse.Namespace) -> int:
    """Write one table, or conversations.

    Raises:
        LettaError: nothing was written to the file.
    """
    from letta_source.export.write import CHAT_FORMATS, form_of

    if options.sql:
        return _print_sql(options)
    output = Path(options.output) if options.output not in (None, "-") else None
    if output and output.is_dir():
        raise ConfigError(f"{output} is a folder: name a file")
    if output is None:
        assert_output()
    form = form_of(output, options.format, options.csv_safe)
    done = (_export_chats if form.name in CHAT_FORMATS else _export_table)(options, output, form)
    print(done, file=sys.stderr)
    return ExitCode.OK


@contextmanager
def _opened(
    options: argparse.Namespace, output: Path | None, select: Callable[[list[str] | None], Selected]
) -> Iterator[tuple[dlt.Pipeline, Path, Selected]]:
    """Yield a dataset's pipeline, a folder for what does not fit into memory, and the selection.

    Args:
        select: validates the options, given agents by id; called before anything is opened, and again once
            the names of agents are resolved.
    """
    from letta_source.export.agents import SOME, agent_ids

    selection = select(options.agent_id and SOME)
    with opened_dataset(options, output) as (pipeline, folder):
        if options.agent_id:
            selection = select(agent_ids(pipeline, options.agent_id))
        yield pipeline, folder, selection


def _export_table(options: argparse.Namespace, output: Path | None, form: Form) -> str:
    """Write the rows of one table; return a line that says how many."""
    from letta_source.export.output import to_output
    from letta_source.export.selection import select
    from letta_source.export.write import writer

    _refuse(options, _FOR_CHATS, "for chats: --format chat, sharegpt or trajectory")
    if options.table is None:
        raise ConfigError("name a table: `letta-source discover` lists them")

    def selected(agents: list[str] | None) -> Selection:
        return select(
            options.table,
            options.columns,
            options.children,
            agent_ids=agents,
            message_types=options.type,
            start_date=options.start_date,
            end_date=options.end_date,
        )

    with _opened(options, output, selected) as (pipeline, folder, selection):
        from letta_source.export.stream import read

        batches = read(pipeline, selection, folder)

        def write(file: BinaryIO) -> int:
            rows = 0
            with writer(form, file, selection) as writing:
                for batch in batches:
                    writing.write(batch)
                    rows += batch.num_rows
            file.flush()
            return rows

        rows = to_output(output, write)
    return f"{rows:,} rows of {options.table}{_where(output)}"


def _print_sql(options: argparse.Namespace) -> int:
    from letta_source.export import tool_calls_sql

    if options.table != "tool_calls":
        raise ConfigError("--sql is for tool_calls: the other tables are in the warehouse")
    assert_output()
    _refuse(options, _FOR_ROWS, "for rows: leave it out with --sql")
    print(tool_calls_sql(options.dataset_name))
    return ExitCode.OK


def _refuse(options: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Raise ConfigError if one of the options was given."""
    for name in names:
        if getattr(options, name) not in (None, False):
            raise ConfigError(f"--{name.replace('_', '-')} is {why}")


def _export_chats(options: argparse.Namespace, output: Path | None, form: Form) -> str:
    """Write conversations, one per line; return a line that says how many."""
    import orjson

    from letta_source.export.chat_formats import FORMATS
    from letta_source.export.chat_model import LeftOut
    from letta_source.export.chat_reading import read_chats, select_chats
    from letta_source.export.output import to_output
    from letta_source.export.pairing import ROOT
    from letta_source.export.write import compressed

    if options.table not in (None, ROOT):
        raise ConfigError(f"--format {form.name} exports {ROOT}, not {options.table}")
    _refuse(options, _FOR_TABLES, f"for tables: leave it out with --format {form.name}")
    with_reasoning = form.name == "trajectory" if options.reasoning is None else options.reasoning

    def selected(agents: list[str] | None) -> ChatSelection:
        return select_chats(agents, options.start_date, options.end_date, options.turns, options.images)

    left_out = LeftOut()
    with _opened(options, output, selected) as (pipeline, folder, selection):

        def write(file: BinaryIO) -> int:
            count = 0
            with compressed(form, file) as into:
                for chat in read_chats(pipeline, selection, left_out, folder):
                    line = FORMATS[form.name](chat, with_reasoning)
                    into.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                    count += 1
            return count

        count = to_output(output, write)
    return f"{count:,} conversations{_where(output)}{_describe(left_out)}"


def _where(output: Path | None) -> str:
    return f" in {visible(str(output))}" if output else ""


def _describe(left_out: LeftOut) -> str:
    """Return a text with the counts of what was left out, and why."""
    parts = []
    if left_out.chats:
        parts.append(f"{left_out.chats:,} without a person's message or without an answer")
    if left_out.calls:
        parts.append(f"{left_out.calls:,} tool calls without a result")
    parts += [f"{count:,} items of type {kind!r}" for kind, count in sorted(left_out.items.items())]
    return f"; left out: {', '.join(parts)}" if parts else ""
