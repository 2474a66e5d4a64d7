"""A dataset belongs to one server: another host is refused before anything is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from letta_source.demo import Letta, Server, serve
from letta_source.loading import load_log, preflight
from letta_source.loading.preflight import _address
from tests.support.command import SOME, Command, messages, one_of, two_agents
from tests.support.first_loads import Loaded

HOSTS = "SELECT DISTINCT host FROM letta.load_log"
REFUSED = "SELECT DISTINCT host, outcome, rows_written FROM letta.load_log WHERE exit_code = 2"


@pytest.fixture
def other() -> Iterator[Server]:
    """Yield another server, with agents of its own."""
    with serve(two_agents()) as server:
        yield server


@pytest.mark.parametrize(
    ("one", "another", "is_same"),
    [
        ("http://letta.example", "https://letta.example/", True),
        ("http://localhost:8283", "http://127.0.0.1:8283", True),
        ("http://[::1]:8283", "http://localhost:8283", True),
        ("https://letta.example:443", "https://LETTA.example", True),
        ("http://localhost:8283", "http://localhost:8284", False),
        ("https://gateway.example/a", "https://gateway.example/b", False),
        ("https://a.letta.example", "https://b.letta.example", False),
    ],
)
def test_addresses_of_one_server(one: str, another: str, is_same: bool) -> None:
    assert (_address(one) == _address(another)) == is_same


@pytest.mark.parametrize(
    ("logged", "host", "other"),
    [
        # Of each host: its last run, and the rows it wrote. The order of a GROUP BY is any.
        ([("2026-01-02", "http://b", 5), ("2026-01-01", "http://a", 5)], "http://b", None),
        ([("2026-01-01", "http://a", 5), ("2026-01-02", "http://b", 5)], "http://a", "http://b"),
        ([("2026-01-02", "http://b", 5), ("2026-01-01", "http://a", 5)], "http://a", "http://b"),
        # None of them had anything, perhaps because the address was wrong.
        ([("2026-01-01", "http://a", 0), ("2026-01-02", "http://b", None)], "http://c", None),
        ([("2026-01-01", "http://a", 3), ("2026-01-02", "http://b", 0)], "http://c", "http://b"),
        ([], "http://a", None),
        (None, "http://a", None),
    ],
)
def test_the_last_run_decides_the_server(
    logged: Any, host: str, other: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = SimpleNamespace(
        make_qualified_table_name=str, escape_column_name=str, execute_sql=lambda sql: logged
    )
    pipeline: Any = SimpleNamespace(sql_client=lambda: nullcontext(client))
    monkeypatch.setattr(preflight, "is_kind", lambda kind, of: False)
    assert preflight._other_host(pipeline, host) == other


@pytest.mark.parametrize(
    ("run", "other"),
    [
        # It read something, perhaps with issues, and nothing was new.
        (("2", "http://b", 0, 0), "http://b"),
        (("2", "http://b", 3, None), "http://b"),
        # It failed, or was killed, before it had written anything.
        (("2", "http://b", 1, 0), "http://a"),
        (("2", "http://b", 2, None), "http://a"),
        (("2", "http://b", None, None), "http://a"),
        # It failed afterwards.
        (("2", "http://b", 1, 7), "http://b"),
    ],
)
def test_only_runs_that_read_or_wrote_decide_the_server(
    run: tuple[object, ...], other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE load_log (run_id TEXT, host TEXT, exit_code INT, rows_written INT)")
    connection.executemany("INSERT INTO load_log VALUES (?, ?, ?, ?)", [("1", "http://a", 0, 5), run])
    client = SimpleNamespace(
        make_qualified_table_name=str,
        escape_column_name=str,
        execute_sql=lambda sql: connection.execute(sql).fetchall(),
    )
    pipeline: Any = SimpleNamespace(sql_client=lambda: nullcontext(client))
    monkeypatch.setattr(preflight, "is_kind", lambda kind, of: False)
    assert preflight._other_host(pipeline, "http://c") == other


@pytest.mark.whole
def test_another_host_is_refused_before_it_is_read(loaded: Loaded, other: Server) -> None:
    letta_source, letta, server = loaded
    said = letta_source.load(other)
    assert (said.code, said.out) == (2, "")
    (line,) = [line for line in said.err.splitlines() if line.startswith("letta-source: ")]
    assert server.base_url in line
    assert other.base_url in line
    assert "--dataset-name" in line
    assert "--same-server" in line
    # The one request checks that the server is reachable.
    assert len(other.requests) == 1
    assert letta_source.rows(HOSTS) == [(server.base_url,)]
    assert letta_source.count("agent_messages") == messages(letta)
    # Into another dataset it is loaded.
    assert letta_source.load(other, "--dataset-name", "other").code == 0
    assert letta_source.load(server).code == 0
    # The refused load is in the log, too.
    assert letta_source.rows(REFUSED) == [(other.base_url, "failed", None)]


@pytest.mark.whole
@pytest.mark.parametrize("how", ["option", "setting"])
def test_same_server_accepts_a_new_address(loaded: Loaded, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    letta_source, letta, server = loaded
    letta.add_message(one_of(letta))
    if how == "setting":
        monkeypatch.setenv("SOURCES__LETTA__SAME_SERVER", "true")
    with serve(letta) as moved:
        assert letta_source.load(moved, *(["--same-server"] if how == "option" else [])).code == 0
        # From now on its new address is known, even if nothing was new.
        monkeypatch.delenv("SOURCES__LETTA__SAME_SERVER", raising=False)
        assert letta_source.load(moved).code == 0
    assert letta_source.count("agent_messages") == messages(letta)
    assert letta_source.load(server).code == 2


@pytest.mark.whole
@pytest.mark.parametrize(
    "options",
    [("--shard", "0/2"), ("--pipeline-name", "another", "--refresh")],
    ids=" ".join,
)
def test_every_kind_of_load_is_refused(
    letta_source: Command,
    server: Server,
    other: Server,
    options: tuple[str, ...],
) -> None:
    """The dataset knows its server, also for shards, other pipelines, and folders without a state."""
    database = ("--database", "letta_db.duckdb")
    letta_source.load(server, *database)
    (letta_source.folder / "dlt").rename(letta_source.folder / "lost")
    assert letta_source.load(other, *database, *options).code == 2
    assert letta_source.load(server, *database, *options).code == 0


@pytest.mark.whole
def test_a_first_run_with_a_wrong_address_does_not_bind_the_dataset(
    letta_source: Command, server: Server
) -> None:
    with serve(Letta()) as empty:
        assert letta_source.load(empty).code == 0
    assert letta_source.load(server).code == 0


@pytest.mark.whole
def test_warehouses_without_load_log_accept_any_server(
    letta_source: Command, server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(load_log, "write", lambda *of_run: None)
        letta_source.load(server)
    said = letta_source.load(other)
    assert "was filled from" not in said.err


@pytest.mark.whole
def test_files_record_their_host_too(
    letta_source: Command, server: Server, other: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())

    def load(server: Server, *options: str) -> int:
        files = ("--destination", "filesystem", *options)
        return letta_source("run", "--base-url", server.base_url, *SOME, *files).code

    with serve(Letta()) as empty:
        assert load(empty) == 0
    assert [load(server), load(server), load(other)] == [0, 0, 2]
    (letta_source.folder / "dlt").rename(letta_source.folder / "lost")
    assert [load(other), load(server)] == [2, 0]
