"""Other implementations of the models' rules agree with them: the report, and the query of tool calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pytest

from letta_source.export import tool_calls_sql
from letta_source.export.pairing import TOOL_CALLS
from letta_source.export.readers import open_reader
from letta_source.loading.dataset import reading
from letta_source.loading.target import Target
from letta_source.report.model import build, read_prices
from letta_source.report.period import parse_period
from letta_source.report.store import open_store
from letta_source.report.warehouse import fill_store, health
from tests.support.dbt_built import Built
from tests.support.dbt_warehouses import DATASET
from tests.support.report_marts import SAME, comparable, of_model, of_report

_ONLY_OURS = ("sequence", "return_message_id", "return_position", "return_idx")


@contextmanager
def reported(built: Built) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield the report's store, made of all that was loaded."""
    destination = built.warehouse.options[-1] if built.warehouse.options else "duckdb"
    with pytest.MonkeyPatch.context() as patch, open_store() as (store, folder):
        patch.chdir(built.warehouse.folder)
        for name, value in built.warehouse.load_environment.items():
            patch.setenv(name, value)
        target = Target("letta", destination, DATASET).resolved()
        with reading(target) as pipeline, open_reader(pipeline, folder) as reader:
            fill_store(reader, store, parse_period("2000-01-01", None, None), health(reader))
        build(store, read_prices())
        yield store


class ReportTests:
    @pytest.mark.parametrize("model", SAME)
    def test_the_report_counts_like_the_marts(
        self, built: Built, store: duckdb.DuckDBPyConnection, model: str
    ) -> None:
        counted = of_report(model, store)
        assert counted
        assert counted == of_model(model, built.project.rows)

    def test_the_export_pairs_tool_calls_like_dbt(self, built: Built) -> None:
        # All columns except the place of the return, which the model lacks.
        names = ", ".join(c.name for c in TOOL_CALLS.columns if c.name not in _ONLY_OURS)
        ours, theirs = (
            comparable(rows(f"SELECT {names} FROM {source}"))
            for rows, source in (
                (built.warehouse.rows, f"({tool_calls_sql(DATASET)}) AS called"),
                (built.project.rows, "int_letta__tool_calls"),
            )
        )
        assert ours == theirs
        assert ours
