"""The warehouses that are kept, and how each was left and is gone on with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Killed = Literal["", "extracted", "normalized", "begun"]

# The working folder, whatever it is called: what is kept can be unpacked anywhere.
_HERE = "/proc/self/cwd"
ENVIRONMENT = {
    "DLT_DATA_DIR": f"{_HERE}/dlt",
    "DESTINATION__DUCKDB__CREDENTIALS": f"{_HERE}/letta_db.duckdb",
    "DESTINATION__FILESYSTEM__BUCKET_URL": f"file://{_HERE}/lake",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "SOURCES__LETTA__MASK_KEY": "0123456789abcdef",
    "SOURCES__LETTA__RETRIES": "0",
}
_FILES = ("--destination", "filesystem")


@dataclass(frozen=True)
class Case:
    """One warehouse.

    Attributes:
        place: Which class of `tests.support.places` reads it.
        runs: The options of each load; one after the other they load everything.
        rows: The name of the rows that it holds in the end.
        killed: The step of dlt after which its last load ended: everything was extracted, or normalized, or
            some of its jobs were loaded. Else it was finished.
        days: How many days were on the server when it was left; the last load was that of the last day.
        poisoned: One message could not be read; "cured" if it can when the load goes on.
    """

    place: Literal["DuckDB", "Parquet", "Delta"] = "DuckDB"
    runs: tuple[tuple[str, ...], ...] = ((),)
    rows: str = "whole"
    killed: Killed = ""
    days: int = 1
    poisoned: Literal["", "cured", "still"] = ""
    environment: dict[str, str] = field(default_factory=dict)


DAYS = 3
CASES = {
    "whole": Case(),
    "shards": Case(runs=tuple(("--shard", f"{index}/4") for index in range(4))),
    "files": Case("Parquet", (_FILES,), rows="files"),
    "delta": Case("Delta", ((*_FILES, "--table-format", "delta"),), rows="delta"),
    "masked": Case(
        runs=(("--mask", "content=hash", "--mask", "name=drop", "--images", "hash"),), rows="masked"
    ),
    "unreadable": Case(poisoned="cured"),
    "unreadable still": Case(poisoned="still", rows="unreadable"),
    "first extracted": Case(killed="extracted"),
    "first normalized": Case(killed="normalized"),
    "first begun": Case(killed="begun"),
    "extracted": Case(killed="extracted", days=2),
    "normalized": Case(killed="normalized", days=2),
    "begun": Case(killed="begun", days=2),
    "files begun": Case("Parquet", (_FILES,), rows="files begun", killed="begun", days=2),
}
