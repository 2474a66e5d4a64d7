"""The journal of load_log: rows that are not in the destination yet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt

from letta_source.destinations.dlt_internals import local_value
from letta_source.loading.target import PLACE
from letta_source.schema.tables import LOAD_LOG

Row = dict[str, Any]
"""Values by column name of `LOAD_LOG`."""
_TIMES = [column.name for column in LOAD_LOG.columns if column.type == "timestamp"]


class Journal:
    """Rows that are not in the destination yet, in a private file beside the pipeline's working folder.

    The file is not inside that folder, as dlt may drop it.

    Args:
        place: location id of the destination; rows of others are left alone.
    """

    def __init__(self, file: Path, place: str) -> None:
        self.file = file
        self._place = place

    @classmethod
    def of(cls, pipeline: dlt.Pipeline) -> Journal:
        """Return the journal of a pipeline, for the location that it loads into."""
        folder = Path(pipeline.working_dir)
        return cls(journal_file(folder.parent, folder.name), local_value(pipeline, PLACE))

    def rows(self) -> list[Row]:
        """Return the rows kept for this location."""
        return [_parsed(row) for place, row in self._lines() if place == self._place]

    def keep(self, rows: Sequence[Row]) -> None:
        """Keep these rows, in place of all others of this location."""
        lines = [(place, row) for place, row in self._lines() if place != self._place]
        lines += [(self._place, _plain(row)) for row in rows]
        if not lines:
            self.file.unlink(missing_ok=True)
            return
        part = self.file.with_suffix(".part")
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in lines)
        part.replace(self.file)

    def _lines(self) -> list[tuple[str, Row]]:
        if not self.file.exists():
            return []
        lines = map(json.loads, self.file.read_text("utf-8").splitlines())
        return [(place, row) for place, row in lines]


def journal_file(folder: Path, pipeline_name: str) -> Path:
    """Return the path of a pipeline's journal, below dlt's folder of pipelines."""
    return folder / f"{pipeline_name}.load_log.jsonl"


def by_run(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of each run, by its run_id."""
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row["run_id"], []).append(row)
    return runs


def _plain(row: Row) -> Row:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _parsed(row: Row) -> Row:
    times = {name: datetime.fromisoformat(row[name]) for name in _TIMES if row.get(name)}
    return {**row, **times}
