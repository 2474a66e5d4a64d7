"""`letta-source export` and `transcript`: their output, where it goes, and their errors."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from letta_source.demo import Server, serve
from letta_source.errors import ConfigError
from letta_source.export import agents, write
from letta_source.export.output import Terminal, written_whole
from letta_source.export.write import _without_formulas
from tests.support.command import Command, Said, two_agents


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which two agents were loaded; the load's working folder is gone."""
    from letta_source import Load, load

    folder = tmp_path_factory.mktemp("loaded")
    letta = two_agents()
    agent_id = next(iter(letta.tables["agents"].rows))
    letta.replace_row("agents", agent_id, name="", description=None, metadata={"a": [1, None, "ä\n"]})
    with pytest.MonkeyPatch.context() as patch, serve(letta) as server:
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        load(Load({"base_url": server.base_url}, resources=["agents", "agent_messages", "runs"]))
    return folder


@pytest.fixture
def there(letta_source: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return the command line, configured for the database of the folder."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(folder / "letta_db.duckdb"))
    return letta_source


def expected(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "letta_db.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_the_file_name_chooses_parquet(there: Command, folder: Path) -> None:
    said = there("export", "agent_messages", "--output", "m.parquet", "--children", "tool_calls")
    found = pq.read_table("m.parquet")
    assert (said.code, said.out) == (0, "")
    where, rows = said.errors
    assert where.startswith(f"from duckdb ({folder / 'letta_db.duckdb'}), dataset letta")
    assert rows == f"{found.num_rows} rows of agent_messages in m.parquet"
    assert found.num_rows == expected(folder, "SELECT count(*) FROM letta.agent_messages")[0][0]
    assert sum(map(len, found["tool_calls"].to_pylist())) == 2
    assert not found.schema.names.count("content")
    # Only the requested file is there, and dlt leaves nothing.
    assert there.files() == ["m.parquet"]


def test_json_lines_hold_json_objects_not_json_texts(there: Command, folder: Path) -> None:
    said = there("export", "agents", "--columns", "name,metadata,created_at,description")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [list(line) for line in lines] == [["name", "metadata", "created_at", "description"]] * 2
    by_name = {line["name"]: line for line in lines}
    assert by_name[""]["metadata"] == {"a": [1, None, "ä\n"]}
    assert by_name[""]["description"] is None
    created = dict(
        expected(folder, "SELECT name, strftime(created_at, '%Y-%m-%dT%H:%M:%S.%fZ') FROM letta.agents")
    )
    assert {name: line["created_at"] for name, line in by_name.items()} == created
    assert said.errors[1:] == ["2 rows of agents"]


def test_json_of_several_lines_is_one_line() -> None:
    assert orjson.dumps([write._fragment('{\n "a\\n":\r\n 1}')]) == b'[{  "a\\n":   1}]'


def test_csv_distinguishes_an_empty_text_from_null(there: Command) -> None:
    said = there("export", "agents", "--columns", "name,description", "--format", "csv")
    assert said.out.splitlines()[0] == '"name","description"'
    assert '"",' in said.out.splitlines()


WIDE = [unicodedata.lookup(f"FULLWIDTH {sign}") for sign in ("EQUALS SIGN", "PLUS SIGN", "HYPHEN-MINUS")]
# What is not seen stands before these, or they are small ones.
UNSEEN = [
    "\u200b=1",
    "\u3164=1",
    "\u2800=1",
    "\ufe0f\u115f=1",
    "\ufeff+1",
    "\xa0-1",
    "\u3000@A1",
    "\u2060\u202e=1",
    "\x1b=1",
    "\ufe66cmd",
    "\u22121",
]
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1",
    "=cmd|' /C calc'!A0",
    *WIDE,
    *UNSEEN,
]
OPTIONS: tuple[tuple[str, ...], ...] = ((), ("--csv-safe",), ("--no-csv-safe",))


def test_csv_for_spreadsheets_has_no_formulas() -> None:
    texts = [*FORMULAS, "a=1", "1-1", "", None, "'=1"]
    batch = pa.RecordBatch.from_pydict({"text": texts, "count": [-1] * len(texts)})
    assert _without_formulas(batch["text"]).to_pylist() == [
        *(f"'{text}" for text in FORMULAS),
        "a=1",
        "1-1",
        "",
        None,
        "'=1",
    ]
    assert _without_formulas(batch["count"]).equals(batch["count"])


def test_csv_is_safe_for_spreadsheets_by_default(there: Command, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("letta_source.export.write._FORMULA", "^agent")
        ways = [
            there("export", "agents", "--columns", "name", "--format=csv", *option).out for option in OPTIONS
        ]
    assert ways == [
        '"name"\n""\n"\'agent 2"\n',
        '"name"\n""\n"\'agent 2"\n',
        '"name"\n""\n"agent 2"\n',
    ]
    said = there("export", "agents", "--csv-safe")
    assert (said.code, said.err) == (2, "letta-source: --csv-safe is for CSV: --format csv\n")


def test_on_a_terminal_control_characters_are_made_visible() -> None:
    out = io.BytesIO()
    terminal = Terminal(out)
    for byte in 'a,"\x1b[2J ä \x9b\u202e👋"\n\tb\r\n'.encode():
        terminal.write(bytes([byte]))
    assert out.getvalue().decode() == 'a,"\\x1b[2J ä \\x9b\\u202e👋"\n\tb\\x0d\n'


def test_csv_has_children_as_json(there: Command) -> None:
    said = there("export", "agent_messages", "--format=csv", "--children", "--type", "tool_call_message")
    found = list(csv.DictReader(said.out.splitlines(keepends=True)))
    assert [len(json.loads(row["tool_calls"])) for row in found] == [1, 1]
    assert {row["message_type"] for row in found} == {"tool_call_message"}


def test_filters_by_window_and_agent(there: Command, folder: Path) -> None:
    agent_id, date = expected(
        folder, "SELECT agent_id, max(created_at) FROM letta.agent_messages GROUP BY 1"
    )[0]
    options = ("--agent-id", agent_id, "--end-date", date.isoformat(), "--columns", "agent_id,created_at")
    rows = [json.loads(line) for line in there("export", "agent_messages", *options).out.splitlines()]
    assert {row["agent_id"] for row in rows} <= {agent_id}
    count = "SELECT count(*) FROM letta.agent_messages WHERE agent_id = '{}' AND created_at < '{}'"
    assert len(rows) == expected(folder, count.format(agent_id, date))[0][0]


def test_a_file_is_replaced_only_by_a_whole_one(there: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    there("export", "agents", "--output", "a.csv")
    before = Path("a.csv").read_bytes()

    def fails(self: write.CSV, batch: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(write.CSV, "write", fails)
        said = there("export", "agents", "--output", "a.csv", "--columns", "id")
    assert (said.code, said.errors) == (1, ["letta-source: OSError: disk full"])
    assert (there.files(), Path("a.csv").read_bytes()) == (["a.csv"], before)
    assert there("export", "agents", "--output", "a.csv", "--columns", "id").code == 0
    assert Path("a.csv").read_bytes() != before


def test_a_pipe_of_another_user_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shared folder somebody may have planted one, to read along."""
    pipe = tmp_path / "messages.jsonl"
    os.mkfifo(pipe)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr("letta_source.export.output._is_own", lambda state: state.st_uid == os.geteuid())
    with pytest.raises(ConfigError, match="is a pipe or device of another user"), written_whole(pipe):
        pass


def test_a_link_is_followed(there: Command) -> None:
    Path("link.csv").symlink_to("real.csv")
    there("export", "agents", "--output", "link.csv")
    assert Path("link.csv").is_symlink()
    assert Path("real.csv").read_text().startswith('"id",')


@pytest.mark.parametrize("output", ["loop.csv", "loop.csv/agents.csv"])
def test_a_link_that_leads_to_itself_is_refused(there: Command, output: str) -> None:
    Path("loop.csv").symlink_to("loop.csv")
    said = there("export", "agents", "--output", output)
    assert (said.code, Path("loop.csv").is_symlink()) == (2, True)
    assert said.errors == [f"letta-source: {output} cannot be written: Too many levels of symbolic links"]


def in_a_process(there: Command, program: str, **streams: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=there.folder, env={**os.environ}, text=True, **streams
    )


_SLOW = """
import sys, time
from letta_source.export import write
was = write.CSV.write
def slow(self, batch):
    was(self, batch)
    print("begun", flush=True)
    time.sleep(60)
write.CSV.write = slow
from letta_source.cli import command
sys.argv[1:] = ["export", "agents", "--output", "a.csv"]
command()
"""


@pytest.mark.whole
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_export_leaves_no_partial_file(
    there: Command, number: signal.Signals, tmp_path: Path
) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    os.environ["TMPDIR"] = str(spill)
    try:
        process = in_a_process(there, _SLOW, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        del os.environ["TMPDIR"]
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (128 + number, "\nletta-source: stopped; nothing was exported\n")
    assert not list(there.folder.glob("*.csv")) + list(there.folder.glob(".*.part"))
    assert not list(spill.glob("letta-export-*"))


@pytest.mark.whole
def test_a_closed_pipe_is_not_an_error(there: Command) -> None:
    program = (
        "import sys; from letta_source.cli import command\nsys.argv[1:] = ['export', 'agents']; command()"
    )
    process = in_a_process(there, program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert "Error" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("agent_mesages", "unknown table 'agent_mesages': did you mean agent_messages?"),
        ("agents --format parquet", "Parquet needs a file: --output FILE"),
        ("agents --output .", ". is a folder: name a file"),
        ("agents --output none/a.csv", "{cwd}/none/a.csv cannot be written: No such file or directory"),
        ("agents --columns nam", "unknown column of agents 'nam': did you mean name?"),
        ("agents --start-date soon", "start_date: must be a date such as "),
        ("agent_messages --children tool_call", "unknown child of agent_messages 'tool_call': did you mean "),
        ("agents --dataset-name other", "nothing was loaded into the dataset other yet: `letta-source run` "),
        ("groups", "groups was not loaded: `letta-source run --resources groups` loads it"),
        ("agents --destination postgrs", "unknown destination 'postgrs': did you mean postgres?"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(there: Command, options: str, line: str) -> None:
    said = there("export", *options.split())
    assert (said.code, said.out, there.files()) == (2, "", [])
    assert len(said.errors) == 1
    assert said.err.startswith(f"letta-source: {line.format(cwd=there.folder)}")


@pytest.mark.parametrize("command", [("export", "agents"), ("transcript", "agent-1")])
def test_a_missing_database_is_not_created(letta_source: Command, command: tuple[str, str]) -> None:
    said = letta_source(*command)
    file = letta_source.folder / "letta_db.duckdb"
    assert (said.code, said.err) == (
        2,
        f"letta-source: {file} does not exist yet: `letta-source run` creates it\n",
    )
    assert letta_source.files() == []


def test_it_reads_the_file_of_the_load(letta_source: Command, server: Server) -> None:
    letta_source.load(server, "--pipeline-name", "mine", "--dataset-name", "letta")
    said = letta_source("export", "agents", "--pipeline-name", "mine", "--columns", "id")
    assert (said.code, len(said.out.splitlines())) == (0, 2)


def test_help_lists_the_options(letta_source: Command) -> None:
    said: Said = letta_source("export", "--help")
    for option in (
        *("--output", "--format", "--agent-id", "--type", "--start-date", "--end-date", "--columns"),
        *("--children", "--destination", "--dataset-name", "--pipeline-name"),
    ):
        assert option in said.out
    assert "\n  2  wrong usage" in said.out


def test_transcript(there: Command, folder: Path) -> None:
    agent_id = expected(folder, "SELECT id FROM letta.agents WHERE name <> ''")[0][0]
    said = there("transcript", agent_id)
    assert said.code == 0
    assert said.out.startswith(f"# agent 2 ({agent_id})\n\n**User** · ")
    assert "\n\n> hello\n\n" in said.out
    assert "`roll_dice`" in said.out
    nobody = there("transcript", "agent-nobody")
    assert nobody.code == 2
    assert nobody.err.startswith("letta-source: no agent agent-nobody was loaded: it is none of the 2 in ")


@pytest.mark.whole
def test_an_agent_can_be_given_by_a_unique_name(there: Command, folder: Path) -> None:
    agent_id = expected(folder, "SELECT id FROM letta.agents WHERE name <> ''")[0][0]
    said = there("transcript", "agent 2")
    assert (said.code, said.out) == (0, there("transcript", agent_id).out)
    for options in ((), ("--format", "chat")):
        by_id = there("export", "agent_messages", "--agent-id", agent_id, *options)
        by_name = there("export", "agent_messages", "--agent-id", "agent 2", *options)
        assert (by_name.code, by_name.out) == (0, by_id.out), by_name.err
        assert by_id.out
    for command in (("transcript",), ("export", "agent_messages", "--agent-id")):
        said = there(*command, "agent 3")
        assert (said.code, said.out) == (2, "")
        assert "no agent has the id or the name 'agent 3': the table agents lists them" in said.err


def test_an_ambiguous_agent_name_lists_the_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": f"agent-{number}", "name": "twin"} for number in range(12)] + [
        {"id": "twin", "name": None}
    ]
    pipeline: Any = None
    monkeypatch.setattr(agents, "arrow", lambda *of: pa.Table.from_pylist(rows[:12]))
    with pytest.raises(ConfigError, match=r"12 agents are called 'twin': .* agent-0, .* agent-9 and 2 more"):
        agents.agent_ids(pipeline, ["twin"])
    # An id takes precedence over names; an unknown id is kept, because it may have rows.
    monkeypatch.setattr(agents, "arrow", lambda *of: pa.Table.from_pylist(rows))
    assert agents.agent_ids(pipeline, ["twin", "agent-3", "agent-99"]) == ["twin", "agent-3", "agent-99"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "agent_messages", "--children", "--output", "messages.jsonl"],
        ["transcript", "agent-1"],
        ["report", "--output", "report.html"],
    ],
)
def test_a_failed_export_leaves_no_file(
    there: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def fail(*_: object) -> None:
        raise duckdb.IOException("the disk is gone")

    monkeypatch.setattr("letta_source.export.readers.DuckDB.stream", fail)
    before = there.files()
    said = there(*arguments)
    assert (said.code, said.errors) == (1, ["letta-source: IOException: the disk is gone"])
    assert there.files() == before


def test_a_load_during_the_export_fails_it(there: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([(1, 0), (1, 5)])
    monkeypatch.setattr("letta_source.export.readers.DuckDB.row", lambda *_: next(seen))
    said = there("export", "agent_messages", "--children")
    assert (said.code, "try again" in said.err) == (1, True)
