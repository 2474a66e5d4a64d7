"""Runs contenders against one server, in turn, several times."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import measure
from benchmarks.contenders import Call, Contender
from benchmarks.server import Server


@dataclass(frozen=True)
class Entry:
    """One line of a comparison: a contender, its number of parallel requests, and the delay of each."""

    label: str
    contender: Contender
    workers: int = 8
    delay: float = 0.0

    @property
    def name(self) -> str:
        return self.contender.__name__


@dataclass(frozen=True)
class Run:
    """One run of a contender.

    Attributes:
        label: the entry's label.
        items: number of items to load.
        seconds: from the first request that the server received until the last process ended.
        wall: seconds including everything before the first request.
        peak: memory in MB.
        requests: number that the server received; None if it does not count.
        missing: number of items not loaded, negative if too many; None if none are stored.
        problem: why there is no result.
    """

    label: str
    round: int
    items: int
    seconds: float = 0.0
    wall: float = 0.0
    peak: float = 0.0
    requests: int | None = None
    missing: int | None = None
    problem: str = ""


@dataclass
class Comparison:
    """The outcome of a comparison.

    Attributes:
        title: what was compared.
        notes: what follows from the figures.
    """

    title: str
    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def median(self, label: str, figure: str = "seconds") -> float | None:
        """Return the median over an entry's runs; None without a result."""
        figures = [getattr(run, figure) for run in self.runs if run.label == label and not run.problem]
        return median(figures) if figures else None

    def note_ratio(self, over: str, *under: str) -> None:
        """Note the ratio of one entry to the sum of others, if all have a result."""
        medians = [self.median(label) for label in (over, *under)]
        seconds = [one for one in medians if one]
        if len(seconds) == len(medians):
            text = " + ".join(under)
            shown = f"({text})" if len(under) > 1 else text
            self.notes.append(f"{over} / {shown} = {seconds[0] / sum(seconds[1:]):.2f}")


def compare(
    title: str,
    server: Server,
    entries: Sequence[Entry],
    folder: Path,
    rounds: int,
    loaded: float | None = None,
) -> Comparison:
    """Run each entry in each round.

    Args:
        folder: where the entries load to; it is deleted at the end.
        loaded: the share of the messages that each entry loads before it is measured.
    """
    result = Comparison(title)
    failed: dict[str, str] = {}
    before = 0
    if loaded is not None:
        server.show(loaded)
        before = server.items()
        for entry in entries:
            try:
                _keep(server, entry, folder / entry.name)
            except RuntimeError as error:
                failed[entry.label] = str(error)
        server.show(1.0)
    items = server.items()
    for number in range(rounds):
        # The order rotates, so that none always runs after the same one.
        turned = number % max(len(entries), 1)
        for entry in (*entries[turned:], *entries[:turned]):
            try:
                if entry.label in failed:
                    raise measure.Failed(failed[entry.label])
                _restore(folder / entry.name)
                run = _run(server, entry, folder / entry.name, number, items, before)
            except RuntimeError as error:
                run = Run(entry.label, number, items - before, problem=str(error))
            print(f"{title}: {_said(run)}", file=sys.stderr, flush=True)
            result.runs.append(run)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _said(run: Run) -> str:
    return f"round {run.round + 1}, {run.label}: {run.problem or f'{run.seconds:.2f} s'}"


def _run(server: Server, entry: Entry, folder: Path, number: int, items: int, before: int) -> Run:
    call = _prepared(server, entry, folder)
    measure.touch_memory()
    if entry.delay:
        server.delay(entry.delay)
    server.reset()
    try:
        measured = measure.run(call.pipe, folder, call.environment())
    finally:
        if entry.delay:
            server.delay(0)
    begun, requests = server.asked()
    if begun is None:
        raise measure.Failed("it made no request")
    return Run(
        entry.label,
        number,
        items - before,
        seconds=measured.ended - begun,
        wall=measured.ended - measured.started,
        peak=measured.peak / 1e6,
        requests=requests,
        missing=items - call.rows(measured.said) if call.rows else None,
    )


def _keep(server: Server, entry: Entry, folder: Path) -> None:
    """Load what is there, and set the folder aside."""
    _restore(folder)
    call = _prepared(server, entry, folder)
    measured = measure.run(call.pipe, folder, call.environment())
    if call.keep:
        call.keep(measured.said)
    folder.rename(_kept(folder))


def _restore(folder: Path) -> None:
    """Restore the folder set aside, or an empty one, in the same place, which pipelines' states hold."""
    shutil.rmtree(folder, ignore_errors=True)
    if _kept(folder).exists():
        shutil.copytree(_kept(folder), folder)
    else:
        folder.mkdir(parents=True)


def _kept(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.kept")


def _prepared(server: Server, entry: Entry, folder: Path) -> Call:
    call = entry.contender(server.url, folder, entry.workers)
    if call.before:
        measure.run([call.before], folder, call.environment(), "before")
    return call
