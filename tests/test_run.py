"""A load from the command line: what it prints, where it goes, how it ends, and how the next one goes on."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from letta_source.demo import Letta, Server, serve
from letta_source.demo.api import Answer, answer

from .command import Command, Said, letta_source
from .warehouse import quiet_agent

__all__ = ["letta_source"]

SOME = ("--resources", "agents,agent_messages")
ROOT = Path(__file__).parent.parent


def ago(**span: int) -> datetime:
    return datetime.now(timezone.utc) - timedelta(**span)


def one_of(letta: Letta) -> str:
    return next(iter(letta.tables["agents"].rows))


@pytest.fixture
def letta() -> Letta:
    """Two agents, one turn each, long enough ago to lie before what the next run reads again."""
    letta = Letta()
    for _ in range(2):
        letta.talk(quiet_agent(letta), "hello", tools=["roll_dice"], date=ago(hours=2))
    return letta


@pytest.fixture
def server(letta: Letta) -> Iterator[Server]:
    with serve(letta) as server:
        yield server


def run(letta_source: Command, server: Server, *options: str) -> Said:
    return letta_source("run", "--base-url", server.base_url, *SOME, *options)


def messages(letta: Letta) -> int:
    """Items of all messages, as agent_messages holds them."""
    return sum(len(message.items) for message in letta.messages.rows.values())


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process has the DuckDB file open."""
    code = f"import duckdb, sys; held = duckdb.connect({str(file)!r}); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        yield
        other.communicate()


def before_answers(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], Answer | None]) -> None:
    """Calls `act` with each path that is asked for; what it returns, if anything, is the answer."""

    def acting(letta: Letta, dialect: Any, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        return act(path) or answer(letta, dialect, method, path, *args, **kwargs)

    monkeypatch.setattr("letta_source.demo.server.answer", acting)


def test_the_table_counts_what_was_added(letta_source: Command, letta: Letta, server: Server) -> None:
    first = run(letta_source, server)
    assert (first.code, first.err) == (0, "")
    head, *rows = first.out.splitlines()
    assert head.split("  ")[0] == "resource"
    assert head.split() == ["resource", "parents", "new", "items", "requests", "seconds", "problems"]
    assert [row.split()[0] for row in rows] == ["agents", "agent_messages"]
    agents, of_messages = (row.split() for row in rows)
    assert agents[1:3] == ["-", "2"]
    assert of_messages[1:3] == ["2", str(messages(letta))]
    assert int(agents[3]) + int(of_messages[3]) == len(server.requests) - 1
    assert (agents[5], of_messages[5]) == ("0", "0")
    # The overlap is read again, but nothing is added.
    assert run(letta_source, server).column("new") == {"agents": "0", "agent_messages": "0"}
    letta.add_message(one_of(letta))
    assert run(letta_source, server).column("new") == {"agents": "0", "agent_messages": "1"}
    assert letta_source.count("agent_messages") == messages(letta)


def test_state_comes_back_from_the_warehouse(letta_source: Command, letta: Letta, server: Server) -> None:
    run(letta_source, server)
    letta.add_message(one_of(letta))
    shutil.rmtree(letta_source.folder / "dlt")
    server.requests.clear()
    assert run(letta_source, server).column("new") == {"agents": "0", "agent_messages": "1"}
    first = next(
        request for request in server.requests if request.path == f"/v1/agents/{one_of(letta)}/messages"
    )
    assert "after" in first.params


def test_a_deleted_warehouse_is_filled_again(letta_source: Command, letta: Letta, server: Server) -> None:
    for _ in range(2):
        run(letta_source, server)
        assert letta_source.count("agent_messages") == messages(letta)
        (letta_source.folder / "letta_db.duckdb").unlink()


def test_what_cannot_be_read_is_named(letta_source: Command, letta: Letta, server: Server) -> None:
    agent_id, bad = one_of(letta), next(reversed(letta.messages.rows))
    letta.poison(bad)
    said = run(letta_source, server)
    assert said.code == 3
    assert said.column("problems") == {"agents": "0", "agent_messages": "1"}
    assert said.errors[-1] == "1 could not be read: see load_issues"
    warnings = [line for line in said.errors if line.startswith("warning: ")]
    rows = letta_source.rows("SELECT resource, parent_id, kind, detail, after_id FROM letta.load_issues")
    assert [tuple(row[:3]) for row in rows] == [
        ("agent_messages", letta.messages.rows[bad].agent_id, "unreadable")
    ]
    assert len(warnings) == 1
    for value in rows[0]:
        assert str(value) in warnings[0]
    assert agent_id not in warnings[0]
    letta.cure(bad)
    said = run(letta_source, server)
    assert (said.code, said.column("problems")) == (0, {"agents": "0", "agent_messages": "0"})
    assert letta_source.count("agent_messages") == messages(letta)


def test_a_key_revoked_in_the_middle_ends_the_load(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        before_answers(patch, lambda path: Answer(401, {"detail": "revoked"}) if "messages" in path else None)
        said = run(letta_source, server)
    assert (said.code, said.out) == (1, "")
    assert said.errors == [
        "letta-source: 127.0.0.1 refuses the key (401): set LETTA_API_KEY to a key that may read. "
        "It says: revoked"
    ]
    assert run(letta_source, server).code == 0
    assert letta_source.count("agent_messages") == messages(letta)


def test_a_server_that_goes_away_ends_the_load(
    letta_source: Command, letta: Letta, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    with monkeypatch.context() as patch, ExitStack() as stack:
        server = stack.enter_context(serve(letta))

        def leave() -> None:
            asked.wait()
            stack.close()

        leaving = threading.Thread(target=leave)
        leaving.start()

        def slow(path: str) -> None:
            if "/messages" in path:
                asked.set()
                leaving.join(timeout=5)

        before_answers(patch, slow)
        said = run(letta_source, server, "--max-workers", "1")
    assert (said.code, said.out) == (1, "")
    assert said.errors[-1] == (
        f"letta-source: {server.base_url} cannot be reached: is the URL right, is the server up?"
    )
    assert "Traceback" not in said.err


def test_what_a_failed_load_left_is_finished_first(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "import sys; from letta_source.cli import main; sys.exit(main())"
    arguments = ["run", "--base-url", server.base_url, *SOME]
    with monkeypatch.context() as patch, ExitStack() as held:

        def lock(path: str) -> None:
            # The load has begun: this process keeps the other one out of the file.
            if path.endswith("/messages"):
                held.enter_context(duckdb.connect(str(letta_source.folder / "letta_db.duckdb")))

        before_answers(patch, lock)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.delenv("RUNTIME__LOG_LEVEL")
        failed = subprocess.run(
            [sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=False
        )
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-1].startswith(
        "letta-source: IOException: IO Error: Could not set lock on "
    )
    assert "Traceback" not in failed.stderr
    server.requests.clear()
    letta.add_message(one_of(letta))
    said = run(letta_source, server)
    assert (said.code, said.errors) == (0, ["info: an earlier load was left unfinished: finishing it first"])
    # All but the new one were in what was left.
    assert said.column("new") == {"agents": "0", "agent_messages": "1"}
    assert letta_source.count("agent_messages") == messages(letta)


@pytest.mark.parametrize(
    ("options", "file", "dataset"),
    [
        ([], "letta_db.duckdb", "letta"),
        (["--dataset-name", "chats"], "letta.duckdb", "chats"),
        (["--pipeline-name", "mine"], "mine.duckdb", "letta"),
        # DuckDB's names know no case.
        (["--dataset-name", "Letta"], "letta_db.duckdb", "letta"),
    ],
)
def test_file_and_schema_of_duckdb(
    letta_source: Command, server: Server, options: list[str], file: str, dataset: str
) -> None:
    assert run(letta_source, server, "--resources", "agents", *options).code == 0
    assert [one for one in letta_source.files() if "duckdb" in one] == [file]
    assert letta_source.count("agents", file, dataset) == 2


def test_credentials_choose_the_file(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letta_source.folder / "sub").mkdir()
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "sub/warehouse.duckdb")
    assert run(letta_source, server, "--resources", "agents").code == 0
    assert [one for one in letta_source.files() if "duckdb" in one] == ["sub/warehouse.duckdb"]


@pytest.mark.parametrize("file", ["letta.duckdb", "sub/letta.duckdb", "LETTA.db"])
def test_a_configured_file_called_as_the_dataset_is_refused(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", file)
    said = run(letta_source, server)
    path = letta_source.folder / file
    assert (said.code, letta_source.files(), server.requests) == (2, [], [])
    assert said.errors == [
        f"letta-source: DuckDB cannot tell the file {path} from the dataset {path.stem}: rename one"
    ]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("none/x.duckdb", None, "No such file or directory"),
        ("text.duckdb", b"no database " * 999, "not a valid DuckDB database"),
        ("locked.duckdb", None, "Could not set lock on file"),
    ],
)
def test_a_database_that_cannot_be_opened_is_refused(
    letta_source: Command,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    content: bytes | None,
    said: str,
) -> None:
    path = letta_source.folder / file
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(path))
    with ExitStack() as stack:
        if content:
            path.write_bytes(content)
        if file.startswith("locked"):
            stack.enter_context(locked(path))
        before = letta_source.files()
        refused = run(letta_source, server)
        assert letta_source.files() == before
    assert (refused.code, refused.out, len(refused.errors)) == (2, "", 1)
    assert refused.err.startswith("letta-source: duckdb cannot be opened: ")
    assert said in refused.err
    # Whether the server is there was asked before.
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://me:s3cret@127.0.0.1:9/x", "Connection refused"),
        ("postgresql+other://me:s3cret@127.0.0.1:9/x", "://***@"),
        ("me:s3cret@127.0.0.1:9/x", "set DESTINATION__POSTGRES__CREDENTIALS"),
    ],
)
def test_a_database_server_that_cannot_be_reached_is_refused(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
    refused = run(letta_source, server, "--destination", "postgres")
    assert (refused.code, refused.out, letta_source.files(), len(refused.errors)) == (2, "", [], 1)
    assert refused.err.startswith("letta-source: postgres cannot be opened: ")
    assert said in refused.err
    assert "s3cret" not in refused.err


def test_a_refused_load_moves_no_state(letta_source: Command, letta: Letta, server: Server) -> None:
    run(letta_source, server)
    kept = {
        file: (letta_source.folder / file).read_bytes()
        for file in letta_source.files()
        if file.startswith("dlt")
    }
    for options in (["--destination", "postgres"], ["--pipeline-name", "a/b"], ["--start-date", "x"]):
        assert run(letta_source, server, *options).code == 2
    assert {file: (letta_source.folder / file).read_bytes() for file in kept} == kept
    assert [file for file in letta_source.files() if file.startswith("dlt") and file not in kept] == []
    attached = dlt.attach("letta").dataset()("SELECT id FROM agents").df()
    assert attached is not None
    assert len(attached) == 2


def test_cursors_belong_to_one_place(letta_source: Command, letta: Letta, server: Server) -> None:
    """dlt keeps one state a pipeline: what only another place got would never come here."""
    run(letta_source, server)
    for _ in range(2):
        letta.add_message(one_of(letta), date=ago(hours=1))
        assert run(letta_source, server, "--dataset-name", "other").code == 0
    assert letta_source.count("agent_messages", "letta.duckdb", "other") == messages(letta)
    assert run(letta_source, server).column("new")["agent_messages"] == "2"
    assert letta_source.count("agent_messages") == messages(letta)


def test_the_file_lies_in_the_current_folder(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "there"):
        (letta_source.folder / folder).mkdir()
        monkeypatch.chdir(letta_source.folder / folder)
        assert run(letta_source, server, "--resources", "agents").code == 0
        assert letta_source.count("agents", f"{folder}/letta_db.duckdb") == 2


def test_resources_and_destination_are_chosen(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "bucket").as_uri())
    said = run(letta_source, server, "--resources", " agents , ", "--destination", "filesystem")
    assert (said.code, said.err) == (0, "")
    assert said.column("new") == {"agents": "2"}
    assert list((letta_source.folder / "bucket" / "letta" / "agents").iterdir())


def test_missing_families_stand_in_the_table(letta_source: Command, letta: Letta) -> None:
    with serve(letta, missing=["groups"]) as server:
        said = run(letta_source, server, "--resources", "agents,groups")
    assert said.code == 0
    assert said.out.splitlines()[-1].split() == ["groups", "groups", "missing"]


def test_the_scheduled_load_ends_with_the_same_codes(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", server.base_url)
    bad = letta.add_message(one_of(letta))
    for change, code in ((letta.poison, 3), (letta.cure, 0)):
        change(bad)
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "pipelines" / "letta_pipeline.py"), run_name="__main__")
        assert left.value.code == code
    assert letta_source.count("agent_messages") == messages(letta)


def test_stopped_by_hand(letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(sent: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("letta_source.extract.split_page", stop)
    said = run(letta_source, server)
    assert (said.code, said.out) == (1, "")
    assert said.errors == ["letta-source: stopped; the next run goes on from the last finished load"]
