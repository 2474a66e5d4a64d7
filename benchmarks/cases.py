"""The cases: the contenders and the data of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import contenders
from benchmarks.compare import Comparison, Entry, compare
from benchmarks.data import TURN_ITEMS, Kind
from benchmarks.fleet import Fleet, at_once, by_news, by_turns, in_duckdb, in_postgres
from benchmarks.probe import probe
from benchmarks.rows import PagesToRows, pages_to_rows
from benchmarks.server import Server, serve

OURS = Entry("ours", contenders.ours)
REST_API = Entry("rest_api, tuned", contenders.rest_api)
REST_API_AGAIN = Entry("rest_api, tuned, merge", contenders.rest_api_again)
REST_API_PLAIN = Entry("rest_api, parquet", contenders.rest_api_plain)
SINGER = Entry("Singer tap and target", contenders.singer)
OFFICIAL = Entry("letta-client, pandas", contenders.official)
FETCH = Entry("fetch", contenders.fetch)
READ_JSON = Entry("read_json", contenders.read_json)
POLL = Entry("bare requests", contenders.poll)

CONTENDERS = [
    entry.name
    for entry in (OURS, REST_API, REST_API_AGAIN, REST_API_PLAIN, SINGER, OFFICIAL, FETCH, READ_JSON, POLL)
]

_LATENCY = 0.05
# Characters of an agent in the API's list, without its tools.
_LISTED = 3900


@dataclass(frozen=True)
class Bench:
    """The options of a benchmark.

    Attributes:
        items: number of messages' items in the usual data; other data are multiples or fractions of it.
        agents: number of agents in the usual data.
        contenders: the names of those that take part.
        folder: for everything that is loaded.
        data: the kind of the usual data.
        postgres: URL of a PostgreSQL for parallel shards, or None.
        earlier: another checkout of this project that takes part, or None.
    """

    items: int
    agents: int
    rounds: int
    contenders: Sequence[str]
    folder: Path
    data: Kind = "mixed"
    postgres: str | None = None
    earlier: Path | None = None

    def compare(
        self,
        title: str,
        server: Server,
        entries: Sequence[Entry],
        loaded: float | None = None,
        rounds: int | None = None,
    ) -> Comparison:
        """Compare those of the entries that take part; see `compare`."""
        chosen = [entry for entry in entries if entry.name in self.contenders]
        if self.earlier and OURS in chosen:
            chosen.insert(chosen.index(OURS) + 1, Entry("earlier", contenders.checkout(self.earlier)))
        return compare(title, server, chosen, self.folder / "runs", rounds or self.rounds, loaded)

    def usual(self) -> AbstractContextManager[Server]:
        """Return a server of the usual data."""
        return serve(self.agents, self.items // self.agents, kind=self.data)

    @property
    def what(self) -> str:
        return _what(self.items // self.agents * self.agents, self.agents, self.data)


def _what(items: int, agents: int, kind: Kind) -> str:
    return f"{items:,} {kind} items of {agents:,} agent{'s' if agents > 1 else ''}"


def first(bench: Bench) -> Iterator[Comparison]:
    with bench.usual() as server:
        speed = probe(server.url)
        entries = (OURS, REST_API, REST_API_PLAIN, SINGER, OFFICIAL, FETCH, READ_JSON)
        result = bench.compare(f"First load: {bench.what}", server, entries)
    result.note_ratio("ours", "fetch", "read_json")
    result.notes.append(speed)
    yield result


def hourly(bench: Bench) -> Iterator[Comparison]:
    with bench.usual() as server:
        yield bench.compare(
            f"Hourly run, 1 % new: {bench.what}", server, (OURS, REST_API_AGAIN, SINGER), loaded=0.99
        )


def nothing(bench: Bench) -> Iterator[Comparison]:
    with bench.usual() as server:
        result = bench.compare(f"Nothing new: {bench.what}", server, (OURS, POLL), loaded=1.0)
    result.note_ratio("ours", "bare requests")
    yield result


def latency(bench: Bench) -> Iterator[Comparison]:
    entries = (
        Entry("ours", contenders.ours, 16, _LATENCY),
        Entry("rest_api, tuned", contenders.rest_api, 16, _LATENCY),
        Entry("letta-client, pandas", contenders.official, 1, _LATENCY),
        Entry("fetch", contenders.fetch, 16, _LATENCY),
        Entry("ours without delay", contenders.ours, 16),
    )
    with bench.usual() as server:
        title = f"{_LATENCY * 1000:.0f} ms a request, 16 at once: {bench.what}"
        result = bench.compare(title, server, entries)
    result.note_ratio("ours", "fetch", "ours without delay")
    yield result


def small(bench: Bench) -> Iterator[Comparison]:
    agents = max(1, bench.items // 20)
    what = _what(agents * TURN_ITEMS, agents, "plain")
    with serve(agents, TURN_ITEMS) as server:
        yield bench.compare(f"Small agents, first load: {what}", server, (OURS, FETCH))
        result = bench.compare(f"Small agents, nothing new: {what}", server, (OURS, POLL), loaded=1.0)
    result.note_ratio("ours", "bare requests")
    yield result


def million(bench: Bench) -> Iterator[Comparison]:
    items = bench.items * 5
    with serve(1, items, kind=bench.data) as server:
        yield bench.compare(f"One agent: {_what(items, 1, bench.data)}", server, (OURS,), rounds=1)


def size(bench: Bench) -> Iterator[Comparison]:
    results = []
    for factor, rounds in ((1, bench.rounds), (10, 1)):
        agents, each = bench.agents * factor, bench.items // bench.agents
        with serve(agents, each, kind=bench.data) as server:
            title = f"By size: {_what(agents * each, agents, bench.data)}"
            results.append(bench.compare(title, server, (OURS,), rounds=rounds))
    for figure, said in (("seconds", "the seconds"), ("peak", "the memory")):
        less, more = (result.median("ours", figure) for result in results)
        if less and more:
            results[-1].notes.append(f"Ten times the items take {more / less:.2f} times {said}.")
    yield from results


def letta(bench: Bench) -> Iterator[Comparison]:
    # Imported here, because it needs the tests' dependencies.
    from benchmarks.letta import real_letta

    agents = 20
    messages = max(10, bench.items // agents)
    with real_letta(bench.folder / "letta", agents, messages) as server:
        title = f"The real Letta server: {agents * messages:,} messages of {agents} agents"
        result = bench.compare(title, server, (OURS, FETCH))
    result.note_ratio("fetch", "ours")
    yield result


def fleet(bench: Bench) -> Iterator[Fleet]:
    agents = max(1, bench.items // 2)
    with serve(agents, TURN_ITEMS, _LISTED) as server:
        yield by_turns(server, agents, in_duckdb(bench.folder / "fleet"))
    if not bench.postgres:
        return
    agents = max(1, bench.items // 20)
    for count in (1, 4, 8):
        with serve(agents, TURN_ITEMS, _LISTED) as server:
            server.delay(_LATENCY)
            warehouse = in_postgres(bench.folder / f"fleet_{count}", bench.postgres, f"scale_{count}")
            result = at_once(server, agents, warehouse, count)
        result.title += f", {_LATENCY * 1000:.0f} ms a request"
        yield result


def news(bench: Bench) -> Iterator[Fleet]:
    agents = max(1, bench.items // 2)
    with serve(agents, TURN_ITEMS, _LISTED, has_lists=True) as server:
        yield by_news(server, agents, in_duckdb(bench.folder / "news", ""))


def rows(bench: Bench) -> Iterator[PagesToRows]:
    yield pages_to_rows(bench.items // 5, rounds=bench.rounds * 5)


CASES: dict[str, Callable[[Bench], Iterator[Comparison | Fleet | PagesToRows]]] = {
    case.__name__: case
    for case in (rows, first, hourly, nothing, latency, small, million, size, letta, fleet, news)
}
ON_REQUEST = ("fleet", "news")
