"""`letta-source run`."""

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
    joined,
    text,
    watched,
)
from letta_source.cli.streams import tell
from letta_source.errors import ExitCode

if TYPE_CHECKING:
    from letta_source.loading.outcome import Loaded

WHENCE = (
    "The key is taken from LETTA_API_KEY, the server from LETTA_BASE_URL (default\n"
    "https://api.letta.com), the project from LETTA_PROJECT, or all three from dlt's config and secrets.\n"
)
CODES = exit_codes(
    {
        ExitCode.OK: "everything was loaded",
        ExitCode.FAILED: "the load failed",
        ExitCode.USAGE: "wrong usage or configuration; nothing was touched",
        ExitCode.INCOMPLETE: "loaded, but something could not be read: the log and the table load_issues"
        " name it",
    },
    WHENCE,
)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    add_options(
        add_command(commands, "run", run, "load; run again, it adds what is new", CODES, prints=False)
    )


def add_base_url(command: argparse.ArgumentParser) -> None:
    """Add `--base-url`."""
    command.add_argument(
        "--base-url", metavar="URL", help="where Letta answers, such as http://localhost:8283"
    )


def add_options(run: argparse.ArgumentParser) -> None:
    """Add the options of `run`, most of them settings."""
    add_base_url(run)
    to = run.add_argument_group("where to")
    add_place(to)
    to.add_argument(
        "--table-format", metavar="FORMAT", help="of files: delta or iceberg, which can change rows"
    )
    to.add_argument(
        "--shard",
        metavar="I/N",
        help="load only this part of the agents, as 0/4; the N parts load side by side",
    )
    what = run.add_argument_group("what")
    add_names(what, "--resources", "A,B", "only these; `discover` lists them")
    add_names(what, "--agent-id", "ID", "only this agent")
    add_names(what, "--batch-id", "ID", "also this batch, which the server's list forgot")
    what.add_argument(
        "--start-date", metavar="DATE", help="only what was created then or later; leaves the state alone"
    )
    what.add_argument(
        "--end-date", metavar="DATE", help="only what was created before it; leaves the state alone"
    )
    what.add_argument("--refresh", action="store_true", default=None, help="read everything again")
    what.add_argument(
        "--search-query",
        type=text,
        metavar="TEXT",
        help="Cloud: load what a search for it finds, as message_search",
    )
    what.add_argument(
        "--mask",
        type=text,
        action="append",
        metavar="COLUMN=HOW",
        help="drop, hash or redact a column, or `content`, all that was said; may be repeated",
    )
    what.add_argument("--images", metavar="HOW", help="keep, drop or hash those in messages (default: keep)")
    how = run.add_argument_group("how")
    how.add_argument(
        "--strict",
        action="store_true",
        default=None,
        help="exit code 3 also for what an earlier run could not read either",
    )
    how.add_argument(
        "--same-server",
        action="store_true",
        default=None,
        help="the server has another address than when it filled the dataset",
    )
    how.add_argument(
        "--steal-lock",
        action="store_true",
        help="load though another machine does by the destination's _letta_lease: end that load first",
    )
    how.add_argument(
        "--lag", metavar="TIME", help="how far a run overlaps the last one, such as 10m (default: 10m)"
    )
    how.add_argument(
        "--changes",
        metavar="HOW",
        help="ask the server which agents have news: auto, on or off (default: auto, with many agents)",
    )
    how.add_argument(
        "--sweep-interval",
        metavar="TIME",
        help="how often every agent is asked nevertheless; 0 for this run (default: 1d)",
    )
    how.add_argument(
        "--reread-window",
        metavar="TIME",
        help="how far back such a sweep reads messages again, for edits (default: 7d)",
    )
    how.add_argument(
        "--page-size", type=int, metavar="N", help="messages a request, 1 to 1000 (default: 1000)"
    )
    how.add_argument("--max-workers", type=int, metavar="N", help="requests in flight (default: 8)")
    add_logging(run)
    run.add_argument("--json", action="store_true", help="what came of it as JSON, on standard output")
    how.add_argument(
        "--requests-per-second", type=float, metavar="N", help="at most, all together (default: no cap)"
    )


def run(options: argparse.Namespace) -> int:
    """Load, and print what came of it."""
    from letta_source.cli.signals import stopping, what_is_kept
    from letta_source.loading.outcome import LoadFailed
    from letta_source.loading.run import Load, load
    from letta_source.state.session import Session

    session = Session()
    what = Load(
        settings={
            "base_url": options.base_url,
            "agent_ids": options.agent_id,
            "batch_ids": options.batch_id,
            "start_date": options.start_date,
            "end_date": options.end_date,
            "lag": options.lag,
            "changes": options.changes,
            "sweep_interval": options.sweep_interval,
            "reread_window": options.reread_window,
            "page_size": options.page_size,
            "max_workers": options.max_workers,
            "requests_per_second": options.requests_per_second,
            "refresh": options.refresh,
            "search_query": options.search_query,
            "shard": options.shard,
            "table_format": options.table_format,
            "mask": joined(options.mask),
            "images": options.images,
            "strict": options.strict,
            "same_server": options.same_server,
        },
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
            tell(_told(failed.loaded, options.json))
        raise
    tell(_told(loaded, options.json))
    if loaded.new_problems:
        print(f"{loaded.new_problems} could not be read: see load_issues", file=sys.stderr)
    return loaded.exit_code


def _told(loaded: Loaded, as_json: bool) -> str:
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
