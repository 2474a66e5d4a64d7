"""The outcome of a load: rows, exit code, and the reason why it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import dlt

from letta_source.errors import ExitCode, LettaError
from letta_source.state.counts import Counts
from letta_source.state.session import Session


@dataclass(frozen=True)
class Loaded:
    """The result of a load.

    Attributes:
        pipeline: dlt's, to read the tables with.
        session: counts and problems by resource.
        new: rows added by table, where the destination can count them within a second or so.
    """

    pipeline: dlt.Pipeline
    session: Session
    new: Mapping[str, int]

    @property
    def problems(self) -> int:
        """The number of parents and messages that could not be read: `load_issues` names them."""
        return self.session.problems

    @property
    def new_problems(self) -> int:
        """The number of problems that no earlier load had; of all if `strict`."""
        return new_problems(self.session)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of `letta-source run`: issues that an earlier run named count if `strict`."""
        return exit_code(self.session)

    def summary(self) -> str:
        """Return a table for people: resource, parents, new items, requests, seconds, problems."""
        rows: list[Sequence[str]] = []
        for name, counts in self.session.counts.items():
            if counts.skipped:
                rows.append((name, "", counts.skipped, "", "", ""))
                continue
            parents = f"{counts.parents:,}" if counts.parents else "-"
            added = f"{self.new.get(name, counts.items):,}"
            seconds = f"{counts.seconds:.1f}"
            rows.append((name, parents, added, f"{counts.requests:,}", seconds, f"{counts.problems:,}"))
        return aligned(("resource", "parents", "new items", "requests", "seconds", "problems"), rows)


class LoadFailed(LettaError):
    """The load began and failed; the next one continues from the last package that was loaded.

    Attributes:
        loaded: the result, if everything that was read was loaded nevertheless.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, why: str, loaded: Loaded | None = None) -> None:
        super().__init__(why)
        self.loaded = loaded


def exit_code(session: Session) -> ExitCode:
    """Return the exit code of a load that did not fail."""
    return ExitCode.INCOMPLETE if new_problems(session) else ExitCode.OK


def new_problems(session: Session) -> int:
    """Return how many issues no earlier load had; all of them if `strict`."""
    return session.problems - (0 if session.settings.strict else session.known_problems)


def installed_version() -> str | None:
    """Return the version of this program; None if its files are used without being installed."""
    with suppress(PackageNotFoundError):
        return version("dlt-source-letta")
    return None


def why_failed(session: Session) -> str | None:
    """Return why a completed load counts as failed, or None."""
    if session.packages.fatal:
        return session.packages.fatal
    for name, counts in session.counts.items():
        if counts.mostly_failed:
            return f"{name}: {counts.failed:,} of {counts.parents:,} could not be read: see load_issues"
        if counts.vanished:
            return f"{name}: {_vanished(counts)}: is it the same server and project?"
    every = list(session.counts.values())
    lists, failed = sum(one.lists for one in every), sum(one.failed_lists for one in every)
    if lists and lists == failed:
        return "none of the lists could be read: see load_issues"
    was_read = any(one.done > one.failed + one.gone for one in every)
    if lists and not was_read and lists == failed + sum(one.missing_lists for one in every):
        return (
            f"{session.settings.base_url} has none of the requested resources, or could not return them:"
            " see the log above"
        )
    return None


def _vanished(counts: Counts) -> str:
    if counts.gone:
        return f"all {counts.gone:,} were gone from the server when they were read"
    return "nothing is left of what was read before"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table for people: the first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
