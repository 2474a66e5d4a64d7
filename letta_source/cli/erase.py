"""The command `letta-source erase`, without heavy imports until it runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from letta_source.cli.arguments import add_command, add_names, add_place, exit_codes, target_of
from letta_source.cli.streams import print_outcome
from letta_source.errors import ExitCode

if TYPE_CHECKING:
    from letta_source.operate.erase import Erasure

CODES = exit_codes(
    {
        ExitCode.OK: "the rows were erased, or, with --dry-run, counted",
        ExitCode.FAILED: "the destination or the disk failed; erase again, to be sure that nothing is left",
        ExitCode.USAGE: "wrong usage or configuration, or --yes was not given; nothing was erased",
    }
)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "remove everything of an agent, a conversation or a person from the warehouse"
    command = add_command(commands, "erase", erase, summary, CODES, prints=False)
    what = command.add_argument_group("what")
    add_names(what, "--agent-id", "ID", "everything of this agent")
    add_names(what, "--conversation-id", "ID", "everything of this conversation")
    person = "the agents of this identity, its messages to other agents, and the runs that answer them"
    add_names(what, "--identity-id", "ID", person)
    command.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    command.add_argument("--yes", action="store_true", help="remove it")
    command.add_argument("--json", action="store_true", help="print JSON")
    add_place(command.add_argument_group("where from"))


def erase(options: argparse.Namespace) -> int:
    """Print what would be removed, and remove it with `--yes`.

    Raises:
        ConfigError: nothing is named, `--yes` is not given, or nothing can be removed there.
    """
    from letta_source.errors import ConfigError
    from letta_source.items import is_id

    if options.dry_run and options.yes:
        raise ConfigError("--dry-run and --yes contradict each other: give one")
    named = [options.agent_id, options.conversation_id, options.identity_id]
    if not any(named):
        raise ConfigError("name what to erase: --agent-id, --conversation-id or --identity-id")
    for one in (one for ids in named for one in ids or ()):
        if not is_id(one):
            raise ConfigError(f"{one!r} is not an id: erase takes ids, not names")
    from letta_source.cli.signals import stopping
    from letta_source.loading.dataset import reading
    from letta_source.operate.erase import erase as erase_from
    from letta_source.operate.erase import planned
    from letta_source.operate.row_search import Whom

    target = target_of(options)
    only_told = options.dry_run or not options.yes
    whom = Whom(*(tuple(dict.fromkeys(ids or ())) for ids in named))
    if only_told:
        done = planned(target, whom)
    else:
        # It must exist: opening a missing DuckDB file would create it.
        with reading(target):
            pass
        with stopping(lambda: "letta-source: stopped; erase again, to be sure that nothing is left"):
            done = erase_from(target, whom)
    removed = not (only_told or done.refused)
    where = target.where()
    if options.json:
        told = {
            "where": where,
            "removed": removed,
            "agent_ids": list(done.agents),
            "rows": done.rows,
            "unknown": list(done.unknown),
            "masked": list(done.masked),
        }
        print_outcome(json.dumps(told, indent=2))
    else:
        print_outcome("\n".join(_lines(done, where, removed)))
    if done.refused:
        raise ConfigError(done.refused)
    if only_told and not options.dry_run:
        raise ConfigError("nothing was removed: add --yes to remove these rows")
    return ExitCode.OK


def _lines(done: Erasure, where: str, removed: bool) -> Iterator[str]:
    were = "were" if removed else "would be"
    for table, rows in done.rows.items():
        if rows:
            yield f"{table}: {rows:,} rows {were} removed"
    yield f"{sum(done.rows.values()):,} rows in all, from {where}"
    if not any(done.rows.values()) and not done.masked:
        yield "Nothing has this id: erase takes ids, not names; the tables agents and identities list them."
    if done.unknown:
        yield (
            f"Check {', '.join(done.unknown)} yourself: not all of their rows name an owner, so there may be"
            " more."
        )
    if done.masked:
        yield f"Masks hid {', '.join(done.masked)}: rows that only these columns would name may be left."
    yield "The column extra of other rows, and exports, may still name them."
