"""The stored warehouses: how each was left, and how loads continue from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from letta_source.demo import Request, Server
from tests.oracle import kept
from tests.oracle.dumps import plain
from tests.support import places

Killed = Literal["", "extracted", "normalized", "begun"]
Rows = dict[str, list[list[Any]]]
Asked = list[list[str]]

# The working folder, wherever it is. State is bound to a place, and this one lets it be unpacked anywhere.
_HERE = "/proc/self/cwd"
ENVIRONMENT = {
    "DLT_DATA_DIR": f"{_HERE}/dlt",
    "DESTINATION__DUCKDB__CREDENTIALS": f"{_HERE}/letta_db.duckdb",
    "DESTINATION__FILESYSTEM__BUCKET_URL": f"file://{_HERE}/lake",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "SOURCES__LETTA__MASK_KEY": "0123456789abcdef",
    "SOURCES__LETTA__RETRIES": "0",
}
_WHOLE = ("",)
_SHARDS = tuple(f"--shard {index}/4" for index in range(4))
_FILES = ("--destination filesystem",)
_DELTA = ("--destination filesystem --table-format delta",)
_MASKED = ("--mask content=hash --mask name=drop --images hash",)


@dataclass(frozen=True)
class Case:
    """One warehouse.

    Attributes:
        runs: The options of each load; together they load everything.
        place: The reader of its destination.
        rows: The name of the rows that it must hold in the end.
        killed: What dlt had done when the last load was killed: extracted, normalized, or begun to load.
        days: The number of days on the server when it was left.
        poisoned: Set if a message of the first day is unreadable; "cured" if later loads can read it.
        left: The name of the case whose archive it starts from, if not its own.
    """

    runs: tuple[str, ...] = _WHOLE
    place: type[places.Place] = places.DuckDB
    rows: str = "whole"
    killed: Killed = ""
    days: int = 1
    poisoned: Literal["", "cured", "still"] = ""
    left: str = ""


CASES = {
    "whole": Case(),
    "shards": Case(_SHARDS),
    "files": Case(_FILES, places.Parquet, rows="files"),
    "delta": Case(_DELTA, places.Delta),
    "masked": Case(_MASKED, rows="masked"),
    "unreadable": Case(poisoned="still", rows="unreadable"),
    "unreadable, then cured": Case(poisoned="cured", rows="cured", left="unreadable"),
    "first extracted": Case(killed="extracted"),
    "first normalized": Case(killed="normalized"),
    "first begun": Case(killed="begun"),
    "extracted": Case(killed="extracted", days=2),
    "normalized": Case(killed="normalized", days=2),
    "begun": Case(killed="begun", days=2),
    "files begun": Case(_FILES, places.Parquet, rows="files begun", killed="begun", days=2),
}
_OF_THE_LOAD = ("_dlt_load_id", "sequence", "load_started_at")


def rows_of(case: Case, folder: Path) -> Rows:
    """Return rows by table, in the columns of commit cc101f0, with times as texts."""
    place = case.place(folder)
    held = {table: place.rows(table, *columns) for table, columns in columns_of_then().items()}
    return {table: [[plain(value) for value in row] for row in rows] for table, rows in held.items() if rows}


def columns_of_then() -> dict[str, list[str]]:
    """Return the columns by table, except those that differ in every load."""
    return {
        table: [name for name in described["columns"] if name not in _OF_THE_LOAD]
        for table, described in kept.schema()["tables"].items()
    }


def asked_of(server: Server) -> Asked:
    """Return path and cursors of requests for single parents, runs, …, sorted; lists are read each time.

    Requests that the commit of the oracle did not send are left out: for a batch's newest message, which
    checks its end, and for the last message in a gap.
    """
    return sorted(
        [request.path, request.params.get("after", ""), request.params.get("before", "")]
        for request in server.requests
        if "-" in request.path and not _is_newer(request)
    )


def _is_newer(request: Request) -> bool:
    params = request.params
    last_in_gap = params.get("order") == "desc" and {"after", "before"} <= params.keys()
    return params.get("limit") == "1" and ("/batches/" in request.path or last_in_gap)


def asked_too_much(asked: Iterable[list[str]], before: Iterable[list[str]]) -> list[tuple[str, ...]]:
    """Return requests that were not sent before, or less often."""
    return sorted((Counter(map(tuple, asked)) - Counter(map(tuple, before))).elements())
