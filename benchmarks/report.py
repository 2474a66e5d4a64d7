"""The results as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.compare import Comparison, Run
from benchmarks.contenders import PEERS
from benchmarks.fleet import Fleet, ShardRun
from benchmarks.rows import PagesToRows

_LETTA_SERVER = Path(__file__).parent.parent / "tests" / "live" / "letta-server.txt"
_FLEET_HEAD = (
    "", "shard", "seconds", "wall s", "CPU s", "peak MB", "requests", "requests/s", "state MB",
    "local state MB", "load packages", "MB of them",
)  # fmt: skip
_TIMED_HEAD = ("CPU µs an item", "orjson.loads", "parsed", "tables", "times orjson.loads", "items/s")
_HEAD = ("", "seconds (least to most)", "ours = 1", "wall s", "peak MB", "items/s", "requests", "rows")


def machine() -> str:
    """Return the machine and the versions, one per line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    ours = [f"{name} {version(name)}" for name in ("dlt", "duckdb", "httpx", "pyarrow")]
    peers = [_pins(file) for file in sorted(PEERS.glob("*.txt"))]
    letta = next(pin for pin in _pins(_LETTA_SERVER) if pin.startswith("letta "))
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release()}.\n"
        f"Python {platform.python_version()}, {', '.join(ours)}; for the others"
        f" {', '.join(pin for pins in peers for pin in pins)}; the real server is {letta}."
    )


def _pins(requirements: Path) -> list[str]:
    return [line.replace("==", " ") for line in requirements.read_text().splitlines() if "==" in line]


def table(result: Comparison | Fleet | PagesToRows) -> str:
    """Return a title, a row for each entry, and notes."""
    if isinstance(result, PagesToRows):
        rows = _timed_rows(result)
    else:
        rows = _fleet_rows(result) if isinstance(result, Fleet) else _compared_rows(result)
    lines = [f"### {result.title}", "", *map(_line, rows)]
    for note in result.notes:
        lines += ["", note]
    return "\n".join(lines)


def _compared_rows(comparison: Comparison) -> list[Sequence[str]]:
    labels = list(dict.fromkeys(run.label for run in sorted(comparison.runs, key=lambda run: run.round)))
    by_label = {label: [run for run in comparison.runs if run.label == label] for label in labels}
    ours = comparison.median("ours")
    lines = [(label, *_figures(runs, ours)) for label, runs in by_label.items()]
    return [_HEAD, ("---", *["---:"] * (len(_HEAD) - 1)), *lines]


def _timed_rows(result: PagesToRows) -> list[Sequence[str]]:
    lines = [
        (
            one.kind,
            *(f"{seconds / one.items * 1e6:.2f}" for seconds in (one.orjson, one.parsing, one.tables)),
            f"{one.ratio:.2f}",
            f"{one.items / one.tables:,.0f}",
        )
        for one in result.timed
    ]
    return [_TIMED_HEAD, ("---", *["---:"] * (len(_TIMED_HEAD) - 1)), *lines]


def _fleet_rows(fleet: Fleet) -> list[Sequence[str]]:
    rule = ("---", *["---:"] * (len(_FLEET_HEAD) - 1))
    return [_FLEET_HEAD, rule, *map(_shard_figures, fleet.runs)]


def _shard_figures(run: ShardRun) -> Sequence[str]:
    requests = run.requests or 0
    return (
        run.case,
        run.shard,
        f"{run.seconds:.1f}",
        f"{run.wall:.1f}",
        f"{run.cpu:.1f}",
        f"{run.peak:,.0f}",
        f"{requests:,}",
        f"{requests / run.seconds:,.0f}",
        f"{run.state / 1e6:.2f}",
        f"{run.local / 1e6:.2f}",
        f"{run.packages}",
        f"{run.package_bytes / 1e6:.2f}",
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figures(runs: Sequence[Run], ours: float | None) -> Sequence[str]:
    problems = [run.problem for run in runs if run.problem]
    if problems:
        return ("**failed**: " + problems[0].strip().splitlines()[-1][:80], *[""] * (len(_HEAD) - 2))
    seconds = sorted(run.seconds for run in runs)
    middle = median(seconds)
    items = runs[0].items
    requests = runs[0].requests
    return (
        f"{middle:.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})",
        f"{middle / ours:.2f}" if ours else "",
        f"{median(run.wall for run in runs):.2f}",
        f"{median(run.peak for run in runs):,.0f}",
        f"{items / middle:,.0f}" if items else "-",
        "-" if requests is None else f"{requests:,}",
        _rows(runs),
    )


def _rows(runs: Sequence[Run]) -> str:
    wrong = [run.missing for run in runs if run.missing]
    if wrong:
        return f"**{abs(wrong[0]):,} {'missing' if wrong[0] > 0 else 'too many'}**"
    return "-" if runs[0].missing is None else "all"
