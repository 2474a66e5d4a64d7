"""`python -m benchmarks`: runs the cases and prints the results as Markdown."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.cases import CASES, CONTENDERS, ON_REQUEST, Bench
from benchmarks.data import KINDS
from benchmarks.report import machine, table


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    results = []
    # Requests stay on this machine, whatever proxy is configured.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="letta-benchmarks-") as name:
        bench = Bench(
            options.items,
            options.agents,
            options.rounds,
            options.contenders,
            Path(name),
            options.data,
            options.postgres,
            options.earlier,
        )
        for case in options.cases:
            for result in CASES[case](bench):
                print(f"\n{table(result)}", flush=True)
                results.append({"case": case, **asdict(result)})
                if options.results:
                    options.results.write_text(json.dumps(results, indent=2, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--cases",
        type=_names(CASES),
        default=[case for case in CASES if case not in ON_REQUEST],
        metavar="A,B",
        help=f"cases to run: {', '.join(CASES)} (default: all but {', '.join(ON_REQUEST)})",
    )
    parser.add_argument(
        "--contenders",
        type=_names(CONTENDERS),
        default=CONTENDERS,
        metavar="A,B",
        help=f"contenders to run: {', '.join(CONTENDERS)} (default: all)",
    )
    parser.add_argument("--rounds", type=_count, default=3, metavar="N", help="number of rounds (default: 3)")
    parser.add_argument(
        "--items",
        type=_count,
        default=200_000,
        metavar="N",
        help="number of messages' items in the usual data; other cases scale with it (default: 200000)",
    )
    parser.add_argument(
        "--agents", type=_count, default=200, metavar="N", help="number of agents (default: 200)"
    )
    parser.add_argument(
        "--data",
        choices=KINDS,
        default=KINDS[0],
        help="mixed items as in real conversations, or plain items only (default: mixed)",
    )
    parser.add_argument(
        "--postgres",
        metavar="URL",
        help="PostgreSQL for the parallel shards of `fleet`, which create schemas scale_N",
    )
    parser.add_argument(
        "--earlier",
        type=_checkout,
        metavar="FOLDER",
        help="another checkout of this project, with a `.venv`, to compare with",
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="write every run to this file as JSON")
    return parser


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return chosen

    return names


def _checkout(text: str) -> Path:
    root = Path(text).resolve()
    if not (root / ".venv" / "bin" / "letta-source").exists():
        raise argparse.ArgumentTypeError(f"{text} has no .venv with letta-source: install it there")
    return root


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    main()
