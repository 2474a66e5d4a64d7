"""Options: names separated by commas or repeated; none may be empty, abbreviated or without effect."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pytest

from letta_source.demo import Letta, serve
from letta_source.errors import ConfigError
from letta_source.export.selection import select
from letta_source.export.write import Form, form_of
from tests.support.command import Command
from tests.support.paths import ROOT


@pytest.fixture
def loaded(letta_source: Command) -> Command:
    """Return the command line after a load of two agents with two messages each."""
    letta = Letta()
    for _ in range(2):
        letta.talk(letta.add_agent(), "hi")
    with serve(letta) as server:
        options = ("--resources", "agents,runs", "--resources", "agent_messages")
        assert letta_source("run", "--base-url", server.base_url, *options).code == 0
    return letta_source


@pytest.mark.whole
def test_names_may_be_separated_by_commas_or_repeated(loaded: Command) -> None:
    ids = [str(row[0]) for row in loaded.rows("SELECT id FROM letta.agents ORDER BY id")]
    both = loaded("export", "agent_messages", "--agent-id", ",".join(ids)).out.splitlines()
    repeated = loaded("export", "agent_messages", "--agent-id", ids[0], "--agent-id", ids[1]).out.splitlines()
    assert both == repeated
    assert {json.loads(line)["agent_id"] for line in both} == set(ids)
    assert loaded.rows("SELECT count(*) FROM letta.runs") == [(2,)]


@pytest.mark.parametrize("option", ["--resources", "--agent-id", "--batch-id"])
@pytest.mark.parametrize("value", ["", " ", ",", "a,,b", "a,"])
def test_an_empty_name_is_refused(letta_source: Command, option: str, value: str) -> None:
    said = letta_source("run", option, value)
    assert said.code == 2
    assert f"argument {option}: must not be empty" in said.err


@pytest.mark.parametrize(
    "words", [["run", "--resource", "agents"], ["run", "--page", "9"], ["report", "--day", "3"]]
)
def test_options_cannot_be_abbreviated(letta_source: Command, words: list[str]) -> None:
    said = letta_source(*words)
    assert said.code == 2
    assert "unrecognized arguments" in said.err


def test_the_version_is_that_of_the_distribution(letta_source: Command) -> None:
    said = letta_source("--version")
    assert (said.code, said.out) == (0, f"letta-source {version('dlt-source-letta')}\n")


@pytest.mark.parametrize(
    ("name", "wanted", "form"),
    [
        ("a.parquet", None, Form("parquet")),
        ("a.CSV", None, Form("csv", None, True)),
        ("a.csv.gz", None, Form("csv", "gzip", True)),
        ("a.b.jsonl.zst", None, Form("jsonl", "zstd")),
        ("a.txt", "csv", Form("csv", None, True)),
        ("a.gz", "jsonl", Form("jsonl", "gzip")),
    ],
)
def test_the_file_name_chooses_the_format(name: str, wanted: str | None, form: Form) -> None:
    assert form_of(Path(name), wanted) == form


@pytest.mark.parametrize("name", ["a", "a.xlsx", "a.gz", "a.csv.bz2", "a.json"])
def test_a_file_name_without_a_known_format_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"format of \S+ is unknown: name it \.parquet, \.csv"):
        form_of(Path(name), None)


def test_parquet_is_not_compressed_again() -> None:
    with pytest.raises(ConfigError, match="Parquet is compressed already"):
        form_of(Path("a.parquet.gz"), None)


@pytest.mark.whole
def test_compressed_files_have_the_same_content(loaded: Command) -> None:
    for name in ("plain.csv", "packed.csv.gz", "packed.csv.zst"):
        assert loaded("export", "agent_messages", "--output", name).code == 0
    plain = (loaded.folder / "plain.csv").read_bytes()
    assert plain.count(b"\n") > 2
    assert gzip.decompress((loaded.folder / "packed.csv.gz").read_bytes()) == plain
    with pa.input_stream(str(loaded.folder / "packed.csv.zst"), compression="zstd") as stream:
        assert stream.read() == plain


@pytest.mark.parametrize(
    ("name", "meant"),
    [("user", "user_message"), ("tool_call", "tool_call_message"), ("asistant_message", "assistant_message")],
)
def test_a_misspelt_message_type_is_refused(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown message type '{name}': did you mean {meant}\\?"):
        select("agent_messages", message_types=[name])


@pytest.mark.parametrize("name", ["user_message", "summary", "event", "a_type_of_tomorrow"])
def test_unknown_message_types_are_accepted(name: str) -> None:
    assert select("agent_messages", message_types=[name]).filters.message_types == (name,)


def test_the_package_runs_as_a_module() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "letta_source", "--version"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    assert said.stdout.startswith("letta-source ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--search-query", "x", "--resources", "agents"], "no effect without message_search"),
        (["run", "--batch-id", "job-1", "--resources", "runs,agents"], "no effect without batches"),
        (["export", "tool_calls", "--sql", "--output", "calls.sql"], "--output is for rows"),
        (["export", "tool_calls", "--sql", "--agent-id", "agent-1"], "--agent-id is for rows"),
        (["export", "agents", "--turns", "3"], "--turns is for chats"),
        (["verify", "--yes"], "--yes needs --repair"),
    ],
)
def test_options_without_effect_are_refused(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", "http://localhost:1")
    said = letta_source(*words)
    assert (said.code, said.out, letta_source.files()) == (2, "", [])
    assert says in said.err


def test_configured_settings_without_effect_are_accepted(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__LETTA__SEARCH_QUERY", "x")
    with serve(Letta()) as server:
        assert letta_source.load(server, "--resources", "agents").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["transcript", "agent-1", "--conversation-id", ""],
        ["report", "--prices", ""],
        ["report", "--output", " "],
        ["export", "agents", "--output", ""],
        ["status", "--database", ""],
    ],
)
def test_an_empty_value_is_refused(letta_source: Command, words: list[str]) -> None:
    said = letta_source(*words)
    assert (said.code, letta_source.files()) == (2, [])
    assert "must not be empty" in said.err


def test_erase_takes_ids_only(letta_source: Command) -> None:
    for option in ("--agent-id", "--conversation-id", "--identity-id"):
        said = letta_source("erase", option, "support desk", "--yes")
        assert (said.code, said.out, letta_source.files()) == (2, "", [])
        assert "'support desk' is not an id: erase takes ids, not names" in said.err


@pytest.mark.whole
def test_the_outcome_of_a_load_or_an_erasure_can_be_json(loaded: Command) -> None:
    letta = Letta()
    letta.talk(letta.add_agent(), "hi")
    with serve(letta) as server:
        said = loaded.load(server, "--resources", "agents,groups", "--json", "--same-server")
    ran = json.loads(said.out)
    assert (said.code, ran["problems"], ran["new_problems"]) == (0, 0, 0)
    assert ran["resources"]["agents"]["new_rows"] == 1
    (agent,) = letta.tables["agents"].rows
    told = json.loads(loaded("erase", "--agent-id", agent, "--dry-run", "--json").out)
    assert (told["removed"], told["rows"]["agents"]) == (False, 1)
    assert str(loaded.folder / "letta_db.duckdb") in told["where"]
