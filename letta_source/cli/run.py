"""The command `letta-source run`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from letta_source.cli.arguments import (
    add_command,
    add_logging,
    add_names,
    add_place,
    exit_codes,
    text,
    watched,
)
from letta_source.cli.imports import importing
from letta_source.cli.streams import print_outcome
from letta_source.errors import ExitCode

if TYPE_CHECKING:
    from letta_source.loading.outcome import Loaded

WHENCE = (
    "The key comes from LETTA_API_KEY, the server from LETTA_BASE_URL (default https://api.letta.com),\n"
    "the project from LETTA_PROJECT; or all three from dlt's config and secrets.\n"
)
CODES = exit_codes(
    {
        ExitCode.OK: "everything was loaded",
        ExitCode.FAILED: "the load failed; the next run continues from what was loaded",
        ExitCode.USAGE: "wrong usage or configuration, or the server or database cannot be reached;"
        " nothing was changed",
        ExitCode.INCOMPLETE: "loaded, but something new could not be read: the log and the table"
        " load_issues name it",
    },
    WHENCE,
)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    add_options(
        add_command(
            commands, "run", run, "load conversations; run it again to add what is new", CODES, prints=False
        )
    )


def add_base_url(command: argparse.ArgumentParser) -> None:
    """Add `--base-url`."""
    command.add_argument("--base-url", metavar="URL", help="the server, such as http://localhost:8283")


def add_options(run: argparse.ArgumentParser) -> None:
    """Add the options of `run`, most of them settings."""

    def value(group: argparse._ArgumentGroup, option: str, metavar: str, summary: str, **more: Any) -> None:
        group.add_argument(option, metavar=metavar, help=summary, **more)

    def flag(group: argparse._ArgumentGroup, option: str, summary: str, default: bool | None = None) -> None:
        group.add_argument(option, action="store_true", default=default, help=summary)

    add_base_url(run)
    to = run.add_argument_group("where to")
    add_place(to)
    value(to, "--table-format", "FORMAT", "for files: delta or iceberg, whose rows can be replaced")
    parts = "load only part I of N of the agents, such as 0/4; the parts can load side by side"
    value(to, "--shard", "I/N", parts)

    what = run.add_argument_group("what")
    add_names(what, "--resources", "A,B", "load only these; `discover` lists them")
    add_names(what, "--agent-id", "ID", "load only this agent", "agent_ids")
    batches = "load this batch too; the server lists no finished ones"
    add_names(what, "--batch-id", "ID", batches, "batch_ids")
    value(what, "--start-date", "DATE", "load only rows created then or later; cursors do not move")
    value(what, "--end-date", "DATE", "load only rows created before; cursors do not move")
    flag(what, "--refresh", "read everything again from the start")
    search = "Cloud: load the results of this search into message_search"
    value(what, "--search-query", "TEXT", search, type=text)
    masks = "drop, hash, redact or keep a column, or `content`: all columns that can quote people"
    value(what, "--mask", "COLUMN=HOW", f"{masks}; may be repeated", type=text, action="append")
    value(what, "--images", "HOW", "images in messages: keep, drop or hash (default: keep)")

    how = run.add_argument_group("how")
    flag(how, "--strict", "exit code 3 also for known issues, which an earlier run has named")
    flag(how, "--same-server", "accept that the server has another address than when it filled the dataset")
    flag(how, "--steal-lock", "take the lease from a load on another machine, which then fails", False)
    value(how, "--lag", "TIME", "how much of the recent past each run reads again (default: 10m)")
    changes = "ask only agents with news, if the server names them: auto (with more than 300), on or off"
    value(how, "--changes", "HOW", f"{changes} (default: auto)")
    sweep = "how often to sweep: ask every agent, and read recent messages again; 0: now (default: 1d)"
    value(how, "--sweep-interval", "TIME", sweep)
    reread = "how far back a sweep reads messages again, to find edited ones (default: 7d)"
    value(how, "--reread-window", "TIME", reread)
    value(how, "--page-size", "N", "stored messages per request, 1 to 1000 (default: 1000)", type=int)
    value(how, "--max-workers", "N", "concurrent requests (default: 8)", type=int)
    rate = "limit for all workers together (default: none)"
    value(how, "--requests-per-second", "N", rate, type=float)

    add_logging(run)
    run.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(options: argparse.Namespace) -> int:
    """Load, and print the outcome."""
    with importing():
        from letta_source.cli.signals import stopping, what_is_kept
        from letta_source.loading.outcome import LoadFailed
        from letta_source.loading.run import Load, load
        from letta_source.state.session import Session

    session = Session()
    what = Load(
        settings=_settings(options),
        resources=options.resources or [],
        destination=options.destination,
        dataset_name=options.dataset_name,
        pipeline_name=options.pipeline_name,
        database=options.database,
        steal_lock=options.steal_lock,
        wait=options.wait,
    )
    try:
        with stopping(lambda: f"letta-source: {what_is_kept(session)}"):
            loaded = load(what, watched(options), session)
    except LoadFailed as failed:
        if failed.loaded:
            print_outcome(_outcome_text(failed.loaded, options.json))
        raise
    print_outcome(_outcome_text(loaded, options.json))
    if loaded.new_problems:
        print(f"{loaded.new_problems} could not be read: see load_issues", file=sys.stderr)
    return loaded.exit_code


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that are settings, by name; None counts as not given."""
    from letta_source.settings import SETTINGS

    given = {name: value for name, value in vars(options).items() if name in SETTINGS}
    return {**given, "mask": options.mask and ",".join(options.mask)}


def _outcome_text(loaded: Loaded, as_json: bool) -> str:
    if not as_json:
        return loaded.summary()
    resources = {
        name: {
            "skipped": counts.skipped,
            "parents": counts.parents,
            "items": counts.items,
            "new_rows": loaded.new.get(name),
            "requests": counts.requests,
            "seconds": round(counts.seconds, 3),
            "problems": counts.problems,
        }
        for name, counts in loaded.session.counts.items()
    }
    totals = {"problems": loaded.problems, "new_problems": loaded.new_problems}
    return json.dumps({"resources": resources, **totals}, indent=2)
