"""Contenders against one server, in turn, several times."""

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
    """One line of a comparison: a contender, how many requests at once, and the delay of each."""

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
        label: of the entry.
        items: how many there were to load.
        seconds: from the first request that the server saw until the last process ended.
        wall: with all that came before.
        peak: MB.
        requests: that the server saw, if it counts them.
        missing: items that it has not, or too many if negative; none if it keeps none.
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
    """What came of it.

    Attributes:
        title: says what was compared.
        notes: what follows from the figures.
    """

    title: str
    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def median(self, label: str, figure: str = "seconds") -> float | None:
        """Of an entry's runs; none without a result."""
        figures = [getattr(run, figure) for run in self.runs if run.label == label and not run.problem]
        return median(figures) if figures else None

    def note_ratio(self, over: str, *under: str) -> None:
        """Notes what one takes of what others take together, if all have a result."""
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
    """Runs each in each round.

    Args:
        folder: for what they load; it is emptied.
        loaded: the share of the messages that each has loaded before.
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
        # Whoever was first is last: none always has the same before it.
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
    """Loads what is there, and puts it aside."""
    _restore(folder)
    call = _prepared(server, entry, folder)
    measured = measure.run(call.pipe, folder, call.environment())
    if call.keep:
        call.keep(measured.said)
    folder.rename(_kept(folder))


def _restore(folder: Path) -> None:
    """A folder as it was put aside, or empty; at the same place, which is part of a pipeline's state."""
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
