"""Processor time from the body of a page to Arrow tables, as a multiple of that of `orjson.loads`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import orjson

from benchmarks.data import KINDS, Kind, make_agents
from letta_source.items import split_page
from letta_source.rows.flatten import Rows
from letta_source.safe_text import parse_json
from letta_source.schema.resources import RESOURCES

# Messages per page, as in a load.
_LIMIT = 1000
# Rows of the root table that a load collects before it makes tables of them.
_ROWS_TAKEN = 20_000


@dataclass(frozen=True)
class Timed:
    """Processor time of all pages of one kind of data; medians of the rounds.

    Attributes:
        items: number of items.
        orjson, parsing, tables: seconds; `tables` includes the parsing.
        ratio: the median of the rounds' own ratios of `tables` to `orjson`.
    """

    kind: Kind
    items: int
    orjson: float
    parsing: float
    tables: float
    ratio: float


@dataclass
class PagesToRows:
    """The outcome of the measurement."""

    title: str
    timed: list[Timed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def pages_to_rows(items: int, rounds: int) -> PagesToRows:
    """Time each kind of data; the steps take turns."""
    result = PagesToRows(f"From bodies to Arrow tables: {items:,} items, pages of {_LIMIT:,} messages")
    for kind in KINDS:
        bodies = _bodies(kind, items)
        figures = []
        for _ in range(rounds):
            steps: Sequence[Callable[[Sequence[bytes]], None]] = (_loads, _parse, _to_tables)
            figures.append([_processor_time(step, bodies) for step in steps])
        loads, parsing, tables = (median(seconds) for seconds in zip(*figures, strict=True))
        ratio = median(one[2] / one[0] for one in figures)
        result.timed.append(Timed(kind, items, loads, parsing, tables, ratio))
    return result


def _bodies(kind: Kind, items: int) -> list[bytes]:
    bodies = []
    for agent in make_agents(max(1, items // 4000), min(items, 4000), kind=kind):
        for begin in range(0, agent.messages, _LIMIT):
            page = agent.page(begin, min(begin + _LIMIT, agent.messages))
            bodies.append(b"[" + bytes(page) + b"]")
    return bodies


def _processor_time(step: Callable[[Sequence[bytes]], None], bodies: Sequence[bytes]) -> float:
    begun = time.process_time()
    step(bodies)
    return time.process_time() - begun


def _loads(bodies: Sequence[bytes]) -> None:
    for body in bodies:
        orjson.loads(body)


def _parse(bodies: Sequence[bytes]) -> None:
    for body in bodies:
        parse_json(body)


def _to_tables(bodies: Sequence[bytes]) -> None:
    rows = Rows(RESOURCES["agent_messages"], tombstones=True)
    for body in bodies:
        rows.add(split_page(parse_json(body))[0], "agent-1")
        if rows.count >= _ROWS_TAKEN:
            rows.tables("1")
    rows.tables("1")
