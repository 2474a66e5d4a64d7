"""`letta-source erase`. Imports nothing heavy before it is run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from letta_source.cli.arguments import add_command, add_names, add_place, exit_codes, target_of
from letta_source.cli.streams import tell
from letta_source.errors import ExitCode

if TYPE_CHECKING:
    from letta_source.operate.erase import Erasure

CODES = exit_codes(
    {
        ExitCode.OK: "it was erased, or, with --dry-run, told",
        ExitCode.FAILED: "the destination failed; nothing was erased",
        ExitCode.USAGE: "wrong usage or configuration, or --yes was not given; nothing was erased",
    }
)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "remove all that is known of an agent or a conversation"
    command = add_command(commands, "erase", erase, summary, CODES, prints=False)
    what = command.add_argument_group("what")
    add_names(what, "--agent-id", "ID", "all of this agent")
    add_names(what, "--conversation-id", "ID", "all of this conversation")
    command.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    command.add_argument("--yes", action="store_true", help="do it")
    command.add_argument("--json", action="store_true", help="as JSON")
    add_place(command.add_argument_group("where from"))


def erase(options: argparse.Namespace) -> int:
    """Print what would be removed, and remove it if that is meant.

    Raises:
        ConfigError: nothing is named, or `--yes` is not given.
    """
    from letta_source.errors import ConfigError

    agents, conversations = options.agent_id or [], options.conversation_id or []
    if not (agents or conversations):
        raise ConfigError("name what to erase: --agent-id or --conversation-id")
    from letta_source.loading.dataset import reading
    from letta_source.operate.erase import erase as erase_from

    target = target_of(options)
    # It must be there: opening a DuckDB file makes it.
    with reading(target):
        pass
    only_told = options.dry_run or not options.yes
    done = erase_from(target, agents, conversations, only_told)
    where = target.where()
    if options.json:
        told = {"where": where, "removed": not only_told, "rows": done.rows, "unknown": list(done.unknown)}
        tell(json.dumps(told, indent=2))
    else:
        tell("\n".join(_lines(done, where, only_told)))
    if only_told and not options.dry_run:
        raise ConfigError("nothing was removed: give --yes to do it")
    return ExitCode.OK


def _lines(done: Erasure, where: str, only_told: bool) -> Iterator[str]:
    for table, rows in done.rows.items():
        if rows:
            yield f"{table}: {rows:,} rows {'would be' if only_told else 'were'} removed"
    yield f"{sum(done.rows.values()):,} rows in all, from {where}"
    if done.unknown:
        yield f"Look for yourself in {', '.join(done.unknown)}: their rows do not say whose they are."
    yield "The column extra of other rows, and what was exported, may still name them."
