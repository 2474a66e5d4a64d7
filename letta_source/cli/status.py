"""The command `letta-source status`, without heavy imports until it runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from letta_source.cli.arguments import add_command, add_place, reading_exit_codes, target_of
from letta_source.errors import ExitCode

if TYPE_CHECKING:
    from letta_source.operate.status import Run, Status

# Runs of the journal, one a line.
_MOST = 5
CODES = reading_exit_codes(
    "the status was printed, good or bad",
    "reading the warehouse failed",
    "Reads the warehouse only, not Letta. ",
)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "show where the data is, how fresh it is, and how the last loads went"
    command = add_command(commands, "status", status, summary, CODES)
    command.add_argument("--json", action="store_true", help="print JSON")
    add_place(command.add_argument_group("where"))


def status(options: argparse.Namespace) -> int:
    """Print the status of a dataset."""
    from letta_source.operate.status import as_json, find_status
    from letta_source.safe_text import visible

    target = target_of(options)
    found = find_status(target)
    if options.json:
        print(json.dumps(as_json(found), indent=2))
    else:
        print("\n".join(visible(line) for line in lines(found)))
    return ExitCode.OK


def lines(found: Status) -> Iterator[str]:
    """Yield the status as lines for people."""
    from letta_source.loading.outcome import aligned

    version = f", schema version {found.schema_version}" if found.schema_version else ""
    yield f"{found.where}{version}"
    yield f"Running now, on this machine: {', '.join(found.running) or 'nothing'}."
    for package in found.pending:
        rows = ", ".join(f"{table} {count:,}" for table, count in package.rows.items()) or "no rows"
        package_id = f"{package.pipeline}: {package.load_id} ({package.stage})"
        yield f"Pending in {package_id}, {rows}; the next run loads it."
    if earlier := found.not_written[:-_MOST]:
        yield f"Not yet in load_log: {len(earlier):,} runs since {_time(earlier[0].began_at)}, and the next:"
    for run in found.not_written[-_MOST:]:
        yield f"Not yet in load_log: the run of {_time(run.began_at)}, {run.outcome}{_because(run) or '.'}"
    if found.unreadable:
        yield f"The tables cannot be read now: {found.unreadable}"
        return
    yield ""
    if not found.has_log:
        yield "Loaded by a version without load_log: only the start of older loads is known."
    head = ("last runs (UTC)", "seconds", "mode", "outcome", "exit code", "rows", "problems")
    yield from aligned(head, [_run(run) for run in found.runs]).splitlines()
    yield from (f"{_time(run.began_at)}{_because(run)}" for run in found.runs if run.reason)
    yield ""
    there = [one for one in found.resources if one.rows is not None or one.read_at]
    rows_of = [(one.resource, f"{one.rows or 0:,}", _time(one.newest), _time(one.read_at)) for one in there]
    yield from aligned(("resource", "rows", "newest (UTC)", "last read (UTC)"), rows_of).splitlines()
    yield ""
    yield f"Unreadable when last tried: {len(found.issues) or 'nothing'}{':' if found.issues else '.'}"
    for issue in found.issues:
        between = "".join(
            f" {side} {one}" for side, one in (("after", issue.after_id), ("before", issue.before_id)) if one
        )
        yield (
            f"  {issue.resource}: {issue.parent_id or 'the list'} {issue.kind}{between}, since"
            f" {_time(issue.first_seen_at)}, {issue.tries:,} tries, the last {_time(issue.last_tried_at)}"
        )


def _run(run: Run) -> tuple[str, ...]:
    took = f"{(run.ended_at - run.began_at).total_seconds():,.0f}" if run.ended_at else "-"
    mode = f"{run.mode or '-'}{f' {run.shard}' if run.shard else ''}"
    code = "-" if run.exit_code is None or run.mode is None else str(run.exit_code)
    counts = ("-" if count is None else f"{count:,}" for count in (run.rows, run.problems))
    return (_time(run.began_at), took, mode, run.outcome, code, *counts)


def _because(run: Run) -> str:
    return f": {run.reason}" if run.reason else ""


def _time(time: datetime | None) -> str:
    from letta_source.times import written

    return written(time) if time else "-"
