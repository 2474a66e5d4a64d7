"""Whatever happens to a Letta and to its loads, the warehouse is as it must be.

Every run draws the same steps: hundreds of them; with `-m proof` thousands, and more against dlt itself and
DuckDB. For other steps, and more of them:

    pytest tests/loads/test_machine.py -m proof --hypothesis-profile=long
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.extract.extractors import ArrowExtractor
from dlt.load.load import Load
from dlt.normalize.normalize import Normalize
from hypothesis import settings

from letta_source.loading.run import Load as LoadOrder
from letta_source.state.session import Session
from tests.support.library_loads import Row, columns_of, in_order
from tests.support.living_letta import LettaMachine
from tests.support.played_dlt import PlayedPipeline

_IN_CI = settings.get_current_profile_name() != "long"


class Played(LettaMachine):
    """Loads as the command line does, into the simulation of dlt and its destination."""

    def open(self) -> None:
        self._pipeline = PlayedPipeline(self.faults)

    def run(self, what: LoadOrder, session: Session) -> None:
        self._pipeline.run(what, session)

    def rows(self, table: str) -> list[Row]:
        return self._pipeline.rows(table)

    def lose_folder(self) -> None:
        self._pipeline.lose_folder()


class PlayedOn(Played):
    """The same with more steps."""


# Methods that dlt calls repeatedly in each of its phases.
_CALLED = (
    ("extract", ArrowExtractor, "write_items"),
    ("normalize", Normalize, "spool_files"),
    ("load", Load, "start_new_jobs"),
    ("load", Load, "complete_jobs"),
    ("load", Load, "complete_package"),
)


class Real(LettaMachine):
    """Loads with dlt into DuckDB."""

    def open(self) -> None:
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self._data, self._file = folder / "dlt", folder / "warehouse.duckdb"
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("DLT_DATA_DIR", str(self._data))
        patch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(self._file))
        for phase, owner, name in _CALLED:
            patch.setattr(owner, name, self._before(phase, getattr(owner, name)))

    def _before(self, phase: str, called: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.faults.step(phase)
            return called(*arguments, **named)

        return call

    def rows(self, table: str) -> list[Row]:
        columns = ", ".join(f'"{name}"' for name in columns_of(table))
        with duckdb.connect(str(self._file)) as connection:
            try:
                return in_order(connection.sql(f"SELECT {columns} FROM letta.{table}").fetchall())
            except duckdb.CatalogException:
                return []

    def lose_folder(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)


TestPlayed = Played.TestCase
TestPlayed.settings = settings(max_examples=8, stateful_step_count=50)
TestPlayedOn = pytest.mark.proof(PlayedOn.TestCase)
TestPlayedOn.settings = settings(max_examples=50 if _IN_CI else 2000, stateful_step_count=50)
TestReal = pytest.mark.proof(Real.TestCase)
TestReal.settings = settings(max_examples=4 if _IN_CI else 100, stateful_step_count=40)
