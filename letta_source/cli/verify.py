"""The command `letta-source verify`, without heavy imports until it runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from letta_source.cli.arguments import (
    add_command,
    add_names,
    add_place,
    exit_codes,
    session_of,
    target_of,
    text,
)
from letta_source.cli.run import add_base_url
from letta_source.cli.streams import print_outcome
from letta_source.errors import ConfigError, ExitCode
from letta_source.operate import DIFFERENCES, KINDS

if TYPE_CHECKING:
    from letta_source.loading.target import Target
    from letta_source.operate.verify import Agent, Totals, Verification
    from letta_source.state.session import Session

CODES = exit_codes(
    {
        ExitCode.OK: "server and warehouse agree, or the difference was repaired",
        ExitCode.FAILED: "reading the warehouse failed, or the repair",
        ExitCode.USAGE: "wrong usage or configuration, or over 10 % of the rows are gone without --yes",
        ExitCode.INCOMPLETE: "they differ",
    },
    "Tables that cannot be compared, such as search results, are named.\n",
)


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "compare the warehouse with the server, and repair what differs"
    command = add_command(commands, "verify", verify, summary, CODES, prints=False)
    add_base_url(command)
    what = command.add_argument_group("what")
    add_names(what, "--agent-id", "ID", "compare only this agent")
    what.add_argument("--sample", type=_number, metavar="N", help="compare N agents, chosen at random")
    add_names(what, "--resources", "A,B", "compare only these")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument(
        "--repair",
        action="store_true",
        help="read agents that differ again, and set _letta_deleted_at in rows that the server no longer has",
    )
    command.add_argument(
        "--yes", action="store_true", help="repair even if more than 10 %% of the rows are gone"
    )
    where = command.add_argument_group("where")
    add_place(where)
    where.add_argument("--table-format", type=text, metavar="FORMAT", help="for files: delta or iceberg")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the loads of a repair are given, too."""
    return {"base_url": options.base_url, "table_format": options.table_format}


def _number(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError("must be a number, 1 or more")
    return int(value)


def verify(options: argparse.Namespace) -> int:
    """Print how the warehouse differs from the server, and repair it with `--repair`.

    Raises:
        LettaError: nothing was repaired.
    """
    from letta_source.cli.signals import stopping

    if options.yes and not options.repair:
        raise ConfigError("--yes needs --repair")
    session = session_of(options, **_given(options), agent_ids=options.agent_id)
    target = target_of(options)
    with stopping(lambda: "letta-source: stopped; what was repaired stays"):
        return _Command(options, target, session).run()


class _Command:
    def __init__(self, options: argparse.Namespace, target: Target, session: Session) -> None:
        self._options = options
        self._target = target
        self._session = session
        self._batch_ids: list[str] = []
        self._result: dict[str, Any] = {"where": target.where(), "host": session.settings.base_url}

    def run(self) -> int:
        from letta_source.operate import repair

        self._show(f"{self._result['host']} and {self._result['where']}")
        now = datetime.now(timezone.utc)
        totals, moment = self._compared("found", now)
        if self._options.repair and totals.differ:
            if not self._options.yes:
                repair.assert_few_gone(totals)
            settings = _given(self._options)
            again = repair.read_again(self._target, settings, totals.differ, self._batch_ids)
            marked = repair.mark_gone(self._target, totals.differ, now, moment)
            self._result["repaired"] = {"read_again": again, "marked": marked}
            self._show(f"Repaired: {len(again):,} agents read again, {marked:,} rows marked as gone. Now:")
            totals, _ = self._compared("left", now, [agent.agent_id for agent in totals.differ])
        if self._options.json:
            print_outcome(json.dumps(self._result, indent=2))
        return ExitCode.INCOMPLETE if totals.differ else ExitCode.OK

    def _compared(self, step: str, now: datetime, agent_ids: list[str] | None = None) -> tuple[Totals, Any]:
        """Compare and print the result; return it, and `now` as the destination takes it."""
        from letta_source.operate.repair import FILES
        from letta_source.operate.verify import Totals, Verification

        totals = Totals()
        options = self._options
        is_limited = bool(options.agent_id or options.sample)
        with Verification(self._target, self._session, options.resources or []) as verification:
            if options.repair and not verification.can_repair:
                raise ConfigError(FILES)
            if options.repair and verification.shown:
                raise ConfigError(_unmasked(verification.shown))
            not_compared = verification.not_compared(is_limited)
            if options.resources:
                for name, reason in not_compared.items():
                    raise ConfigError(f"{name} cannot be compared: {reason}")
            if agent_ids is None:
                chosen, why = verification.agents(options.sample)
            else:
                chosen, why = [one for one in agent_ids if one], None
            if why:
                self._show(f"Not all agents are known: {why}")
            for agent in verification.compare(chosen):
                totals.add(agent)
                if agent.differs or agent.problems:
                    self._show("\n".join(_lines(agent)))
            if not is_limited and (agent_ids is None or "" in agent_ids):
                self._compare_others(verification, totals)
            moment = verification.moment(now)
        self._show(_summary(totals, not_compared))
        self._result[step] = {
            "agents_compared": totals.agents,
            "incomplete": why,
            "counts": {kind: totals.counts[kind] for kind in KINDS},
            "hidden_columns": sorted(totals.hidden),
            "agents": [_as_json(agent) for agent in totals.differ if agent.agent_id],
            "others": _as_json(totals.others) if totals.others else None,
            "not_compared": not_compared,
        }
        return totals, moment

    def _compare_others(self, verification: Verification, totals: Totals) -> None:
        if others := verification.compare_others():
            totals.add(others)
            self._batch_ids = verification.batch_ids()
            if others.differs or others.problems:
                self._show("\n".join(_lines(others)))

    def _show(self, text: str) -> None:
        from letta_source.safe_text import visible

        if not self._options.json:
            # A failed print must not end a repair halfway; the exit code tells the outcome, too.
            print_outcome("\n".join(visible(line) for line in text.splitlines()))


def _unmasked(columns: list[str]) -> str:
    some = ", ".join(columns[:3]) + (f" and {len(columns) - 3:,} more" if columns[3:] else "")
    return (
        f"the last load masked {some}, and the settings do not: a repair would store the values. Set the same"
        " masks in SOURCES__LETTA__MASK or a file; if you no longer want them: `run --refresh` without them"
    )


def _lines(agent: Agent) -> Iterator[str]:
    yield f"{agent.agent_id or 'of no single agent'}{': gone from the server' if agent.is_gone else ''}"
    for name, tally in agent.tables.items():
        for kind in DIFFERENCES:
            if count := tally.counts[kind]:
                shown = ", ".join(tally.examples[kind]) + (", …" if count > len(tally.examples[kind]) else "")
                columns = f" ({', '.join(sorted(tally.edited))})" if kind == "edited" else ""
                yield f"  {name}: {count:,} {kind}{columns}: {shown}"
    for problem in agent.problems:
        yield f"  cannot be read: {problem}"


def _summary(totals: Totals, not_compared: dict[str, str]) -> str:
    counts = totals.counts
    differ = sum(bool(agent.agent_id) for agent in totals.differ)
    differences = ", ".join(f"{counts[kind]:,} {kind}" for kind in DIFFERENCES)
    lines = [f"{totals.agents:,} agents compared, {differ:,} differ: rows {differences}."]
    if counts["newer"]:
        lines.append(f"Changed since the last load, so the next one brings them: {counts['newer']:,} rows.")
    if counts["unreadable"]:
        lines.append(f"In the warehouse, but unreadable on the server: {counts['unreadable']:,} rows.")
    if counts["not_comparable"]:
        columns = ", ".join(sorted(totals.hidden)) or "of messages that changed"
        lines.append(f"Masked or cut, so not comparable: {counts['not_comparable']:,} rows ({columns}).")
    lines += [f"Not compared: {name}, as {reason}." for name, reason in not_compared.items()]
    return "\n".join(lines)


def _as_json(agent: Agent) -> dict[str, Any]:
    return {
        "agent_id": agent.agent_id,
        "gone": agent.is_gone,
        "problems": agent.problems,
        "tables": {
            name: {
                **{kind: tally.counts[kind] for kind in KINDS},
                "examples": tally.examples,
                "edited_columns": sorted(tally.edited),
            }
            for name, tally in agent.tables.items()
            if tally.differences
        },
    }
