"""Turns, tool calls, costs and errors: models of the dbt package, run in the report's store.

The rules stand in dbt/ alone: `models.sql` is what dbt compiles from them for DuckDB. See dbt/README.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

import duckdb

from letta_source.report.prices import COLUMNS, Price


def build(store: duckdb.DuckDBPyConnection, prices: Iterable[Price]) -> None:
    """Add the models to a filled store; call it once."""
    store.execute(
        "CREATE TABLE letta_model_prices (model VARCHAR, input_price DOUBLE, cached_input_price DOUBLE,"
        " cache_write_price DOUBLE, output_price DOUBLE)"
    )
    for price in prices:
        values = [getattr(price, column) for column in COLUMNS]
        store.execute("INSERT INTO letta_model_prices VALUES (?, ?, ?, ?, ?)", values)
    store.execute((files("letta_source.report") / "models.sql").read_text("utf-8"))
