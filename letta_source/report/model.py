"""Prices; and turns, tool calls, costs and errors: models of the dbt package, run in the report's store.

The rules stand in dbt/ alone: `models.sql` is what dbt compiles from them for DuckDB. See dbt/README.md.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import duckdb

from letta_source.errors import ConfigError

# The column of the agent, by table. Runs and steps stay: the models are already limited to agents.
_OF_AGENTS = {
    "agents": "id",
    "int_letta__messages": "agent_id",
    "int_letta__tool_calls": "agent_id",
    "letta__step_costs": "agent_id",
    "letta__turns": "agent_id",
    "letta__errors": "agent_id",
}
PRICES = ("input_price", "cached_input_price", "cache_write_price", "output_price")
COLUMNS = ("model", *PRICES)


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


def keep_only(store: duckdb.DuckDBPyConnection, agents: Sequence[str]) -> None:
    """Delete rows of all agents except these ids, and rows without an agent."""
    for table, column in _OF_AGENTS.items():
        others = f"{column} IS NULL OR {column} NOT IN (SELECT unnest($agents::VARCHAR[]))"
        store.execute(f"DELETE FROM {table} WHERE {others}", {"agents": list(agents)})


@dataclass(frozen=True)
class Price:
    """Prices of one model; if a cache price is None, such tokens cost the same as others."""

    model: str
    input_price: float
    cached_input_price: float | None
    cache_write_price: float | None
    output_price: float


def read_prices(file: str | None = None) -> list[Price]:
    """Read the prices from a CSV file with the columns of the package's own file, which is the default.

    Raises:
        ConfigError: the file cannot be read, a column is missing, a price is invalid, a model comes twice.
    """
    name = file or "model_prices.csv"
    try:
        own = files("letta_source.report") / "model_prices.csv"
        text = Path(file).read_text("utf-8-sig") if file else own.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--prices {name} cannot be read: {error}") from error
    reader = csv.DictReader(text.splitlines())
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(f"--prices {name} lacks the columns {', '.join(missing)}")
    prices = {}
    for row in reader:
        model = (row["model"] or "").strip()
        if not model or model in prices:
            raise ConfigError(
                f"--prices {name}, line {reader.line_num}: the model is missing, or there twice"
            )
        values = {column: _price(name, reader.line_num, column, row[column]) for column in PRICES}
        prices[model] = Price(model, **values)  # type: ignore[arg-type]  # _price checked what may be None
    return list(prices.values())


def _price(name: str, line: int, column: str, text: str | None) -> float | None:
    if not (text or "").strip() and column in ("cached_input_price", "cache_write_price"):
        return None
    try:
        price = float(text or "")
    except ValueError:
        price = -1.0
    if not 0 <= price < float("inf"):
        raise ConfigError(f"--prices {name}, line {line}: {column} must be dollars, 0 or more, not {text!r}")
    return price
