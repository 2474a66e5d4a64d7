"""The command `letta-source report`, without heavy imports until it runs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from letta_source.cli.arguments import add_command, add_names, add_place, reading_exit_codes, target_of, text
from letta_source.cli.streams import print_outcome
from letta_source.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from letta_source.loading.target import Target

CODES = reading_exit_codes("the report was written", "the report failed; an existing file is unchanged")


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "write an HTML report of usage, latency, tools, errors and cost"
    command = add_command(commands, "report", report, summary, CODES, prints=False)
    command.add_argument(
        "--output",
        type=text,
        default="letta-report.html",
        metavar="FILE",
        help="the file to write (default: letta-report.html)",
    )
    period = command.add_argument_group("period, in days of UTC")
    period.add_argument(
        "--days", type=int, metavar="N", help="the last N days, up to the newest message (default: 30)"
    )
    period.add_argument("--start-date", metavar="DATE", help="first day")
    period.add_argument("--end-date", metavar="DATE", help="day after the last one")
    agents = command.add_argument_group("agents")
    add_names(agents, "--agent-id", "ID", "only this agent, by its id or its name")
    command.add_argument_group("cost").add_argument(
        "--prices",
        type=text,
        metavar="FILE",
        help="CSV file: model, and dollars per million tokens as input_price, cached_input_price,"
        " cache_write_price, output_price (default: list prices of well-known models)",
    )
    add_place(command.add_argument_group("where from"))


@dataclass(frozen=True)
class ReportOptions:
    """The requested report.

    Attributes:
        title: its name for the dataset.
        agents: by id or name; None is all.
    """

    title: str
    start_date: str | None = None
    end_date: str | None = None
    days: int | None = None
    prices: str | None = None
    agents: list[str] | None = None


def report(options: argparse.Namespace) -> int:
    """Write the report.

    Raises:
        LettaError: nothing was written.
    """
    from pathlib import Path

    from letta_source.errors import ConfigError
    from letta_source.loading.error_text import in_one_line
    from letta_source.report.drawing import assert_drawable
    from letta_source.safe_text import visible

    assert_drawable()
    output = Path(options.output)
    if output.is_dir() or not output.parent.is_dir():
        raise ConfigError(f"--output {output}: name a file in an existing folder")
    name = f"{options.dataset_name} ({options.destination})"
    if options.agent_id:
        name += f", only {', '.join(options.agent_id)}"
    period = options.start_date, options.end_date, options.days
    requested = ReportOptions(name, *period, options.prices, options.agent_id)
    target = target_of(options)
    # Such as a temporary folder that is full.
    with in_one_line("no report was written"):
        summary = write(target, output, requested)
    print_outcome(f"{output}: {summary}, from {visible(target.where())}")
    return ExitCode.OK


def write(target: Target, output: Path, requested: ReportOptions) -> str:
    """Write the report; return its days and its size.

    Raises:
        LettaError: nothing was written.
    """
    from datetime import datetime, timezone

    from letta_source.cli.signals import stopping
    from letta_source.export.agents import agent_ids
    from letta_source.export.output import part_of, written_whole
    from letta_source.export.readers import open_reader
    from letta_source.loading.dataset import reading
    from letta_source.report.charts import draw
    from letta_source.report.facts import find
    from letta_source.report.model import build, keep_only, read_prices
    from letta_source.report.page import page
    from letta_source.report.period import parse_period
    from letta_source.report.store import open_store
    from letta_source.report.warehouse import fill_store, health

    asked = parse_period(requested.start_date, requested.end_date, requested.days)
    prices = read_prices(requested.prices)
    with open_store() as (store, folder):

        def last_words() -> str:
            part_of(output.resolve()).unlink(missing_ok=True)
            return "letta-source: stopped; no report was written"

        with stopping(last_words), reading(target) as pipeline:
            agents = agent_ids(pipeline, requested.agents) if requested.agents else None
            with open_reader(pipeline, folder) as reader:
                state = health(reader)
                period = fill_store(reader, store, asked, state, agents)
            build(store, prices)
            if agents:
                keep_only(store, agents)
            facts = find(store, period, state.oldest)
            html = page(requested.title, facts, draw(facts), state, datetime.now(timezone.utc))
            with written_whole(output) as file:
                file.write(html.encode())
    return f"{period.start.date()} to {period.last.date()} (UTC), {len(html) // 1000:,} kB"
