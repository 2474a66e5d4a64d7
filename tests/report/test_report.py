"""`letta-source report`, made from a real load, and the errors it raises before it opens anything."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path

import duckdb
import pytest

from letta_source.demo import Letta, Server
from letta_source.errors import ConfigError
from letta_source.report.model import PRICES, read_prices
from tests.report.test_page import Parsed
from tests.support.command import Command, one_of
from tests.support.paths import ROOT

HEAD = ",".join(("model", *PRICES))


@pytest.mark.whole
def test_a_report_of_what_was_loaded(server: Server, letta_source: Command) -> None:
    assert letta_source.load(server, "--resources", "agents,runs,steps,agent_messages").code == 0
    said = letta_source("report", "--prices", _prices(letta_source.folder, "gpt-4o-mini,0.15,0.075,,0.6"))
    assert (said.code, said.err) == (0, "")
    assert "letta-report.html: " in said.out
    html = (letta_source.folder / "letta-report.html").read_text("utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert "Dataset letta (duckdb)" in Parsed(html).text
    # The report must not contain texts of messages.
    with duckdb.connect(str(letta_source.folder / "letta_db.duckdb"), read_only=True) as db:
        texts = db.sql("SELECT DISTINCT text FROM letta.agent_messages WHERE length(text) > 8").fetchall()
        ((count,),) = db.sql("SELECT count(*) FROM letta.agent_messages").fetchall()
    assert texts
    assert not [text for (text,) in texts if text in html]
    assert f"agent_messages{count:,}" in "".join(Parsed(html).text.split())
    said = letta_source(
        "report", "--start-date", "2001-01-01", "--end-date", "2001-02-01", "--output", "old.html"
    )
    assert (said.code, "2001-01-01 to 2001-01-31 (UTC)" in said.out) == (0, True)
    assert "No messages in this period." in (letta_source.folder / "old.html").read_text("utf-8")


def test_one_message_of_another_century_changes_no_period(
    letta: Letta, server: Server, letta_source: Command
) -> None:
    for year in (1, 1970, 2099, 9999):
        letta.add_message(one_of(letta), date=datetime(year, 12, 31, 23, 59, 59, tzinfo=timezone.utc))
    # Shortly after midnight, all others are of the day before.
    today = datetime.now(timezone.utc)
    letta.add_message(one_of(letta), date=today)
    assert letta_source.load(server).code == 0
    said = letta_source("report")
    assert (said.code, f" to {today:%Y-%m-%d} (UTC)" in said.out) == (0, True)
    html = (letta_source.folder / "letta-report.html").read_text("utf-8")
    assert "2 items of messages are dated in the future" in html
    assert letta_source("report", "--start-date", "0001-01-01", "--end-date", "9999-12-31").code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--days", "0"], "--days must be 1 or more, not 0"),
        (["--days", "2", "--start-date", "2026-01-01"], "leave out --days or --start-date"),
        (["--start-date", "soon"], "--start-date must be a date such as 2026-01-31, not 'soon'"),
        (
            ["--start-date", "2026-02-01", "--end-date", "2026-01-01"],
            "there is nothing to report from 2026-02-01",
        ),
        (["--output", "no/such/folder.html"], "name a file in an existing folder"),
        (["--prices", "none.csv"], "--prices none.csv cannot be read"),
        ([], "does not exist yet"),
    ],
)
def test_invalid_options_are_refused(letta_source: Command, options: list[str], said: str) -> None:
    answer = letta_source("report", *options)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.errors) == 1
    assert not list(letta_source.folder.glob("*.html"))


def test_help(letta_source: Command) -> None:
    said = letta_source("report", "--help")
    assert (said.code, said.err) == (0, "")
    for option in (
        "--output",
        "--days",
        "--start-date",
        "--end-date",
        "--prices",
        "--destination",
        "\n  2  ",
    ):
        assert option in said.out


@pytest.mark.parametrize("missing", ["jinja2", "vl_convert"])
def test_without_the_extra(letta_source: Command, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    answer = letta_source("report")
    assert answer.code == 2
    assert answer.errors == [f'letta-source: the report needs {missing}: pip install ".[report]"']


def test_a_temporary_folder_that_is_full_is_one_line(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "report.duckdb")

    monkeypatch.setattr("letta_source.report.store.open_store", full)
    monkeypatch.setattr("letta_source.cli.report.target_of", lambda options: None)
    answer = letta_source("report")
    assert answer.code == 1
    assert answer.errors == [
        "letta-source: OSError: [Errno 28] No space left on device: 'report.duckdb': no report was written"
    ]


def test_nothing_loaded_yet_but_agents(server: Server, letta_source: Command) -> None:
    assert letta_source("run", "--base-url", server.base_url, "--resources", "agents").code == 0
    answer = letta_source("report")
    assert answer.code == 2
    assert "agent_messages was not loaded" in answer.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gpt,1,,,-1", "line 2: output_price must be dollars, 0 or more, not '-1'"),
        ("gpt,,,,1", "line 2: input_price must be dollars"),
        ("gpt,1,x,,1", "line 2: cached_input_price must be dollars"),
        ("gpt,1", "line 2: output_price must be dollars"),
        ("gpt,1,,,nan", "output_price must be dollars"),
        (",1,,,1", "line 2: the model is missing"),
        ("gpt,1,,,1\ngpt,1,,,1", "line 3: the model is missing, or there twice"),
    ],
)
def test_invalid_prices_are_refused(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_prices(_prices(tmp_path, line))


def test_a_missing_price_column_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("model,input_price\n")
    with pytest.raises(
        ConfigError, match="lacks the columns cached_input_price, cache_write_price, output_price"
    ):
        read_prices(str(file))


def test_the_default_prices_are_those_of_the_dbt_package() -> None:
    ours = resources.files("letta_source.report") / "model_prices.csv"
    seed = ROOT / "dbt" / "seeds" / "letta_model_prices.csv"
    assert ours.read_bytes() == seed.read_bytes()


def test_the_default_prices_are_valid() -> None:
    prices = {price.model: price for price in read_prices()}
    assert prices["gpt-4o-mini"].input_price < prices["gpt-4o-mini"].output_price


def _prices(folder: Path, lines: str) -> str:
    file = folder / "prices.csv"
    file.write_text(f"{HEAD}\n{lines}\n")
    return str(file)
