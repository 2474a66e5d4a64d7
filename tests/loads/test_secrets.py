"""The key and other secrets appear in nothing that a run leaves behind, at DEBUG, whatever fails."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
import traceback
import zlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dlt
import duckdb
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from pydantic import ValidationError

from letta_source import letta
from letta_source.api.client import Client
from letta_source.demo import Letta, Server, serve
from letta_source.demo.api import Answer, answer
from letta_source.errors import ConfigError
from letta_source.settings import Settings
from letta_source.state.session import Session
from tests.support.canary import CANARY, KEY, Canary, every_line
from tests.support.command import Command
from tests.support.paths import ROOT
from tests.support.wire import answering as answering_all
from tests.support.wire import settings

PASSWORD = "hunter2-Canary-of-a-database"


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    with every_line() as lines:
        yield lines


@pytest.fixture
def own(letta_source: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return the command line, with dlt's log at DEBUG too."""
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    return letta_source


@pytest.fixture
def telltale(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a Letta that lists agents, and answers requests for messages with the request itself."""

    def tell(letta: Letta, dialect: Any, method: str, path: str, *rest: Any, **given: Any) -> Answer:
        if path.endswith("/messages"):
            return Answer(400, {"detail": f"you sent {rest[1]}"})
        return answer(letta, dialect, method, path, *rest, **given)

    monkeypatch.setattr("letta_source.demo.server.answer", tell)
    letta = Letta()
    letta.add_agent()
    with serve(letta, api_key=KEY) as server:
        yield server


LOADED = ("--resources", "agents,agent_messages")


@pytest.mark.whole
@pytest.mark.parametrize(
    ("variable", "destination"), [("LETTA_API_KEY", "duckdb"), ("SOURCES__LETTA__API_KEY", "filesystem")]
)
def test_a_key_from_the_environment(
    own: Command,
    telltale: Server,
    log: list[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    destination: str,
) -> None:
    monkeypatch.setenv(variable, KEY)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(own.folder / "lake"))
    said = own("run", "--base-url", telltale.base_url, *LOADED, "--destination", destination)
    assert (said.code, "you sent" in said.err) == (1, True)
    assert {request.headers["authorization"] for request in telltale.requests} == {f"Bearer {KEY}"}
    assert _shown(own.folder, [said.out, said.err, *log]) == []
    assert [file for file in own.files() if "load_issues" in file or file == "letta_db.duckdb"]


def _shown(folder: Path, lines: list[str], canary: Canary = CANARY) -> list[str]:
    return [*(line for line in lines if canary.is_in(line)), *canary.files(folder)]


@pytest.mark.whole
def test_a_key_from_a_file(own: Command, telltale: Server) -> None:
    """Run in a subprocess, with nothing of the tests between the program and its output."""
    file = own.folder / ".dlt" / "secrets.toml"
    file.parent.mkdir()
    file.write_text(f"[sources.letta]\napi_key = {json.dumps(KEY)}\n")
    program = "import logging, sys; logging.basicConfig(level=0); from letta_source.cli import main; "
    command = [sys.executable, "-c", f"{program}sys.exit(main())", "run", *LOADED]
    environ = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONFAULTHANDLER"},
        "LETTA_BASE_URL": telltale.base_url,
        "PYTHONPATH": str(ROOT),
    }
    said = subprocess.run(command, env=environ, cwd=own.folder, capture_output=True, text=True)
    assert (said.returncode, "DEBUG:httpcore" in said.stderr) == (1, True)
    file.unlink()
    assert _shown(own.folder, [said.stdout, said.stderr]) == []


@pytest.mark.parametrize(
    ("step", "where"),
    [
        ("extract", "letta_source.extract.resources.extract"),
        ("normalize", "dlt.normalize.normalize.Normalize.run"),
        ("load", "dlt.load.load.Load.run"),
    ],
)
def test_a_crash_in_the_middle_of_a_library_load(
    own: Command, log: list[str], monkeypatch: pytest.MonkeyPatch, step: str, where: str
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("crashed")

    monkeypatch.setattr(where, crash)
    pipeline = dlt.pipeline("mine", destination="duckdb", dataset_name="letta")
    session = Session()
    served = Letta()
    served.add_agent()
    with serve(served, api_key=KEY) as server:
        source = letta(base_url=server.base_url, api_key=KEY, session=session)
        with pytest.raises(PipelineStepFailed, match="crashed") as caught:
            pipeline.run(source.with_resources("agents"))
    assert caught.value.step == step
    trace = pipeline.last_trace
    assert trace is not None
    resources = [show(one) for one in source.resources.values() for show in (repr, str)]
    shown = [
        *traceback.format_exception(caught.value),
        *(repr(caught.value), str(caught.value), trace.asstr(2), repr(trace), str(trace.asdict())),
        *(repr(source), str(source), *resources, repr(session), repr(vars(session))),
    ]
    assert _shown(own.folder, [*shown, *log]) == []
    assert CANARY.is_in(str(session.settings.api_key and session.settings.api_key.get_secret_value()))


def test_nothing_that_holds_the_key_shows_it() -> None:
    given = settings(api_key=KEY)
    shown = [repr(given), str(given), given.model_dump_json(), str(given.model_dump()), f"{given!r}"]
    client = Client(given)
    shown += [repr(client), str(client), str(vars(client))]
    assert [text for text in shown if CANARY.is_in(text)] == []


def test_ctrl_c(own: Command, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("letta_source.extract.resources.extract", stop)
    monkeypatch.setenv("LETTA_API_KEY", KEY)
    with serve(Letta(), api_key=KEY) as server:
        said = own.load(server)
    assert (said.code, said.errors[-1].startswith("letta-source: stopped")) == (130, True)
    assert _shown(own.folder, [said.out, said.err, *log]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"LETTA_API_KEY": f"{KEY}\n{KEY}"},
        {"LETTA_API_KEY": f"{KEY}\u00e9"},
        {"LETTA_API_KEY": KEY, "SOURCES__LETTA__LAG": "-1s"},
        {"LETTA_API_KEY": KEY, "SOURCES__LETTA__PAGE_SIZE": "0"},
        {"LETTA_API_KEY": KEY, "SOURCES__LETTA__TIMEOUT": "soon"},
        {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": f"http://me:{KEY}@letta.test"},
        {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": KEY},
        {"LETTA_API_KEY": "x", "LETTA_PROJECT": f"{KEY}\nx"},
    ],
    ids=str,
)
def test_wrong_settings(
    own: Command, log: list[str], monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    for name, value in {"LETTA_BASE_URL": "http://letta.test", **wrong}.items():
        monkeypatch.setenv(name, value)
    said = own("run")
    assert said.code == 2
    with pytest.raises(ConfigError) as caught:
        letta()
    assert _shown(own.folder, [said.err, *traceback.format_exception(caught.value), *log]) == []


def test_wrong_settings_made_by_hand() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"api_key": KEY, "lag": -1})
    assert not CANARY.is_in("".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize(
    ("base_url", "key", "warns"),
    [
        ("http://10.0.0.5:8283", KEY, True),
        ("http://example.com", KEY, True),
        ("http://127.example.com", KEY, True),
        ("http://localhost.example.com", KEY, True),
        ("http://[2001:db8::1]", KEY, True),
        ("http://localhost:8283", KEY, False),
        ("http://127.0.0.1", KEY, False),
        ("http://127.1.2.3", KEY, False),
        ("http://[::1]:8283", KEY, False),
        ("https://example.com", KEY, False),
        ("http://example.com", None, False),
    ],
)
def test_an_unencrypted_key_is_a_warning(log: list[str], base_url: str, key: str | None, warns: bool) -> None:
    letta(base_url=base_url, api_key=key)
    said = [line for line in log if "unencrypted" in line]
    assert said == [f"{base_url}: the key goes over the network unencrypted; use https"] * warns


@pytest.mark.parametrize("command", ["check", "run"])
def test_the_warning_comes_before_the_key_is_sent(
    own: Command, log: list[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("LETTA_API_KEY", KEY)
    with answering_all(lambda _: httpx.Response(401, json={"detail": "No."})):
        said = own(command, "--base-url", "http://letta.test")
    assert (said.code, len([line for line in log if "unencrypted" in line])) == (2, 1)
    assert not CANARY.is_in(said.err)


def test_the_warning_uses_the_log_format(own: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is logged before the first request goes through the log's handler, too."""
    monkeypatch.setenv("LETTA_API_KEY", KEY)
    with answering_all(lambda _: httpx.Response(401, json={"detail": "No."})):
        said = own("run", "--base-url", "http://letta.test", "--log-format", "json")
    *lines, why = said.err.splitlines()
    warned = [json.loads(line)["message"] for line in lines]
    assert "http://letta.test: the key goes over the network unencrypted; use https" in warned
    assert why.startswith("letta-source: ")


CREDENTIALS = {
    "list": [{"id": "1", "key": "TOKEN", "value": KEY, "value_enc": KEY, "description": None}],
    "by name": {"TOKEN": KEY},
    "one": {"key": "TOKEN", "value": KEY},
    "text": KEY,
}


def test_the_credentials_of_agents(own: Command, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__LETTA__VALIDATE", "true")
    served = Letta()
    for sent in CREDENTIALS.values():
        row = served.tables["agents"].rows[served.add_agent()]
        row.update(secrets=sent, tool_exec_environment_variables=sent)
    with serve(served) as server:
        said = own("run", "--base-url", server.base_url, "--resources", "agents")
    # Not all of them are valid by the API's documentation.
    assert (said.code, own.count("agents")) == (3, len(CREDENTIALS))
    assert _shown(own.folder, [said.out, said.err, *log]) == []


@pytest.mark.parametrize(
    "credentials",
    [
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://me:{PASSWORD}@127.0.0.1:port/db",
        f"postgresql://me@127.0.0.1:1/db?password={PASSWORD}",
        f"host=127.0.0.1 password={PASSWORD}",
        PASSWORD,
    ],
)
def test_the_password_of_the_destination(
    own: Command, log: list[str], monkeypatch: pytest.MonkeyPatch, credentials: str
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", credentials)
    with serve(Letta()) as server:
        said = own.load(server, "--destination", "postgres")
    assert (said.code, "cannot be opened" in said.err) == (2, True)
    assert _shown(own.folder, [said.out, said.err, *log], Canary(PASSWORD)) == []


def test_the_search_finds_a_planted_secret(tmp_path: Path) -> None:
    """The search that found nothing would find a secret."""
    piece = KEY[9:21]
    packed = b64encode(zlib.compress(json.dumps({"state": "a long one " * 9, "key": KEY}).encode())).decode()
    planted: dict[str, bytes] = {
        "plain.log": f"x {KEY} x".encode(),
        "piece.log": piece.encode(),
        "quoted.log": quote(KEY, safe="").encode(),
        **{f"base64-{at}.log": b64encode(b"x" * at + KEY.encode() + b"x") for at in range(3)},
        "lines.jsonl.gz": gzip.compress(f'{{"key": "{piece}"}}\n'.encode()),
        "trace.pickle": pickle.dumps({"key": KEY}),
        "state.txt": packed.encode(),
        f"{KEY[16:28]}.name": b"",
    }
    for name, data in planted.items():
        (tmp_path / name).write_bytes(data)
    pq.write_table(pa.table({"a": [KEY] * 9}), tmp_path / "rows.parquet", compression="gzip")
    for name, value in {"cell": KEY, "state": packed}.items():
        with duckdb.connect(str(tmp_path / f"{name}.duckdb")) as connection:
            connection.execute("CREATE SCHEMA s; CREATE TABLE s.t (a VARCHAR)")
            connection.execute("INSERT INTO s.t VALUES (?)", [value])
    (tmp_path / "innocent.log").write_text(KEY[:11] + "…")
    assert set(CANARY.files(tmp_path)) == {*planted, "rows.parquet", "cell.duckdb", "state.duckdb"}
