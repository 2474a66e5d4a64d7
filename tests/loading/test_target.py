"""The target of a load: the DuckDB file, what is refused before anything changes, and the state."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dlt
import pyarrow.parquet as pq
import pytest
from dlt.common.destination.exceptions import DestinationTransientException
from filelock import FileLock

from letta_source.demo import Letta, Server
from letta_source.destinations.tables import make_tables
from letta_source.loading.target import Target
from letta_source.shards import WHOLE, Shard
from tests.support.command import Command, ago, messages, one_of
from tests.support.first_loads import Loaded

pytestmark = pytest.mark.whole


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Have another process hold the DuckDB file open."""
    code = f"import duckdb, sys; held = duckdb.connect({str(file)!r}); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        yield
        other.communicate()


@pytest.mark.parametrize(
    ("options", "file", "dataset"),
    [
        ([], "letta_db.duckdb", "letta"),
        (["--dataset-name", "chats"], "letta_db.duckdb", "chats"),
        (["--pipeline-name", "mine"], "mine_db.duckdb", "letta"),
        (["--database", "./other.duckdb"], "other.duckdb", "letta"),
        # DuckDB's names are case-insensitive.
        (["--dataset-name", "Letta"], "letta_db.duckdb", "letta"),
    ],
)
def test_file_and_schema_of_duckdb(
    letta_source: Command, server: Server, options: list[str], file: str, dataset: str
) -> None:
    assert letta_source.load(server, "--resources", "agents", *options).code == 0
    assert [one for one in letta_source.files() if "duckdb" in one] == [file]
    assert letta_source.count("agents", file, dataset) == 2


@pytest.mark.parametrize("options", [[], ["--database", "other.duckdb"]], ids=["default", "database"])
def test_duckdb_settings_apply_whatever_the_file_name(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """The default file belongs to a destination with a name of its own: dlt looks under no other name."""
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__PRAGMAS", '["no_such_thing=1"]')
    refused = letta_source.load(server, *options)
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert "no_such_thing" in refused.err
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS__PRAGMAS", '["threads=1"]')
    monkeypatch.setenv("DESTINATION__DUCKDB__CREATE_INDEXES", "true")
    config = Target("letta", "duckdb", "letta").resolved().destination_client().config
    assert (config.credentials.pragmas, config.create_indexes) == (["threads=1"], True)


def test_a_file_of_an_earlier_version_stays_in_use(letta_source: Command, server: Server) -> None:
    """Its name was that of the pipeline alone, unless a dataset had the same name."""
    chats = ("--dataset-name", "chats")
    letta_source.load(server, "--resources", "agents", *chats, "--database", "letta.duckdb")
    letta_source.load(server, "--resources", "agents")
    for _ in range(2):
        said = letta_source.load(server, "--resources", "agents", *chats)
        assert said.column("new")["agents"] == "0"
        assert str(letta_source.folder / "letta.duckdb") in said.err
    assert [one for one in letta_source.files() if "duckdb" in one] == ["letta.duckdb", "letta_db.duckdb"]


def test_a_dataset_with_the_files_name_is_refused(letta_source: Command, server: Server) -> None:
    said = letta_source.load(server, "--dataset-name", "letta_db")
    assert (said.code, letta_source.files()) == (2, [])
    assert "DuckDB cannot tell the file" in said.err


@pytest.mark.parametrize(
    ("options", "variable"),
    [
        ((), None),
        (("--database", "sub/w.duckdb"), None),
        ((), "sub/w.duckdb"),
        (("--dataset-name", "chats"), None),
    ],
)
def test_every_command_prints_where_the_tables_are(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    variable: str | None,
) -> None:
    (letta_source.folder / "sub").mkdir()
    if variable:
        monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", variable)
    chosen = variable or ("sub/w.duckdb" if "--database" in options else "letta_db.duckdb")
    file = str(letta_source.folder / chosen)
    url, agent = ("--base-url", server.base_url), one_of(letta)
    for command in (
        ("check", *url),
        ("run", *url, "--resources", "agents,agent_messages"),
        ("status",),
        ("verify", *url),
        ("export", "agents"),
        ("transcript", agent),
        ("erase", "--agent-id", agent, "--dry-run"),
    ):
        said = letta_source(*command, *options)
        assert said.code == 0, said
        assert file in said.out + said.err, command
    assert letta_source(*url, "run", "--database", "x", "--destination", "filesystem").code == 2


def test_open_dataset_finds_what_this_folder_loaded(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dlt.attach` would open what was loaded last, in any folder."""
    from letta_source import ConfigError, open_dataset
    from letta_source.export import to_arrow, to_pandas

    with pytest.raises(ConfigError, match="`letta-source run` creates it"):
        open_dataset()
    letta_source.load(server)
    letta_source.load(server, "--dataset-name", "chats", "--database", "b.duckdb")
    elsewhere = letta_source.folder / "elsewhere"
    elsewhere.mkdir()
    own = open_dataset()
    monkeypatch.chdir(elsewhere)
    letta.add_agent()
    letta_source.load(server)
    assert len(to_pandas(own, "agents")) == 2
    assert to_arrow(open_dataset(), "agents").num_rows == 3
    monkeypatch.chdir(letta_source.folder)
    assert to_arrow(open_dataset(), "agents").num_rows == 2
    chats = open_dataset(Path("b.duckdb"), dataset_name="chats")
    assert to_arrow(chats, "agents").num_rows == 2
    with chats.sql_client() as client:
        assert client.execute_sql("SELECT count(*) FROM agents") == [(2,)]
    assert chats.dataset()("SELECT id FROM agents").fetchall() is not None
    # dlt's files for reading go to a folder of their own, not to that of the loads.
    assert letta_source.folder not in Path(chats.working_dir).parents


def test_credentials_name_the_file(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letta_source.folder / "sub").mkdir()
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "sub/warehouse.duckdb")
    assert letta_source.load(server, "--resources", "agents").code == 0
    assert [one for one in letta_source.files() if "duckdb" in one] == ["sub/warehouse.duckdb"]


@pytest.mark.parametrize("file", ["letta.duckdb", "sub/letta.duckdb", "LETTA.db"])
def test_a_configured_file_with_the_datasets_name_is_refused(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", file)
    said = letta_source.load(server)
    path = letta_source.folder / file
    assert (said.code, letta_source.files(), server.requests) == (2, [], [])
    assert said.errors == [
        f"letta-source: DuckDB cannot tell the file {path} from the dataset {path.stem}: rename one"
    ]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("none/x.duckdb", None, "none does not exist: create it first"),
        ("text.duckdb", b"no database " * 999, "text.duckdb is not a DuckDB database: "),
        ("locked.duckdb", None, "locked.duckdb is in use by "),
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
        refused = letta_source.load(server)
        assert letta_source.files() == before
    assert (refused.code, refused.out, len(refused.errors)) == (2, "", 1)
    assert said in refused.errors[0]
    # The one request checked that the server is reachable.
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
    refused = letta_source.load(server, "--destination", "postgres")
    assert (refused.code, refused.out, letta_source.files(), len(refused.errors)) == (2, "", [], 1)
    assert refused.errors[0].startswith("letta-source: postgres cannot be opened: ")
    assert said in refused.err
    assert "s3cret" not in refused.err


def test_a_refused_load_changes_no_state(loaded: Loaded) -> None:
    letta_source, _, server = loaded
    kept = {
        file: (letta_source.folder / file).read_bytes()
        for file in letta_source.files()
        if file.startswith("dlt")
    }
    for options in (["--destination", "postgres"], ["--pipeline-name", "a/b"], ["--start-date", "x"]):
        assert letta_source.load(server, *options).code == 2
    assert {file: (letta_source.folder / file).read_bytes() for file in kept} == kept
    assert [file for file in letta_source.files() if file.startswith("dlt") and file not in kept] == []
    attached = dlt.attach("letta").dataset()("SELECT id FROM agents").df()
    assert attached is not None
    assert len(attached) == 2


def test_cursors_belong_to_one_location(loaded: Loaded) -> None:
    """With dlt's single state per pipeline, what another place got would never be loaded here."""
    letta_source, letta, server = loaded
    for _ in range(2):
        letta.add_message(one_of(letta), date=ago(hours=1))
        assert letta_source.load(server, "--dataset-name", "other").code == 0
    assert letta_source.count("agent_messages", dataset="other") == messages(letta)
    assert letta_source.load(server).column("new")["agent_messages"] == "2"
    assert letta_source.count("agent_messages") == messages(letta)


@pytest.mark.parametrize(
    "places",
    [
        (("one.duckdb", "letta"), ("one.duckdb", "other")),
        (("one.duckdb", "letta"), ("two.duckdb", "letta")),
    ],
    ids=["two datasets of one file", "two files with one dataset"],
)
def test_each_dataset_of_each_file_has_its_own_cursors(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    places: tuple[tuple[str, str], ...],
) -> None:
    for file, dataset in places * 2:
        letta.add_message(one_of(letta), date=ago(hours=1))
        monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", file)
        assert letta_source.load(server, "--dataset-name", dataset).code == 0
        assert letta_source.count("agent_messages", file, dataset) == messages(letta)


@pytest.mark.parametrize(
    "places",
    [(("lake", "letta"), ("lake", "other")), (("lake", "letta"), ("sea", "letta"))],
    ids=["two datasets of one bucket", "two buckets with one dataset"],
)
def test_each_dataset_of_each_bucket_has_its_own_cursors(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    places: tuple[tuple[str, str], ...],
) -> None:
    for bucket, dataset in places * 2:
        letta.add_message(one_of(letta), date=ago(hours=1))
        monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / bucket).as_uri())
        options = ("--destination", "filesystem", "--dataset-name", dataset)
        assert letta_source.load(server, *options).code == 0
        files = (letta_source.folder / bucket / dataset / "agent_messages").glob("*.parquet")
        assert sum(pq.read_metadata(file).num_rows for file in files) == messages(letta)


def test_loading_into_the_same_location_keeps_the_working_folder(loaded: Loaded) -> None:
    """The destination has no state, so without the folder everything would be read again."""
    letta_source, _, server = loaded
    letta_source.rows("DELETE FROM letta._dlt_pipeline_state")
    server.requests.clear()
    assert letta_source.load(server).code == 0
    asked = [request.params for request in server.requests if request.path.endswith("/messages")]
    assert all("after" in params for params in asked)
    assert asked


ADDRESS = "postgresql://me:s3cret@one.test:5432/warehouse"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("s3cret", "an0ther", True),
        ("one.test", "two.test", False),
        ("/warehouse", "/archive", False),
    ],
)
def test_the_location_id_has_server_and_database_but_no_password(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch, old: str, new: str, same: bool
) -> None:
    kept = []
    for address in (ADDRESS, ADDRESS.replace(old, new), ADDRESS.replace(old, new)):
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
        pipeline = Target("letta", "postgres", "letta").pipeline()
        kept.append(pipeline.state["_local"].get("seen"))
        pipeline.set_local_state_val("seen", address)
    assert (kept[1] is not None, kept[2] is not None) == (same, True)


class Racing:
    """A pipeline whose tables another shard creates at the same moment: some tries fail."""

    def __init__(self, failing: int, error: Exception) -> None:
        self.tries = 0
        self._failing, self._error = failing, error

    def sync_schema(self) -> None:
        self.tries += 1
        if self.tries <= self._failing:
            raise self._error


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_shards_that_create_tables_at_once_retry(failing: int) -> None:
    pipeline: Any = Racing(failing, DestinationTransientException("made by another"))
    make_tables(pipeline, Shard(0, 2))
    assert pipeline.tries == failing + 1


@pytest.mark.parametrize(
    ("shard", "error"),
    [(WHOLE, DestinationTransientException("no such disk")), (Shard(0, 2), OSError("no such disk"))],
)
def test_tables_that_cannot_be_created_are_an_error_at_once(shard: Shard, error: Exception) -> None:
    """No other shard creates them, or the error is not the destination's."""
    pipeline: Any = Racing(9, error)
    with pytest.raises(type(error)):
        make_tables(pipeline, shard)
    assert pipeline.tries == 1


def test_the_file_lies_in_the_current_folder(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "there"):
        (letta_source.folder / folder).mkdir()
        monkeypatch.chdir(letta_source.folder / folder)
        assert letta_source.load(server, "--resources", "agents").code == 0
        assert letta_source.count("agents", f"{folder}/letta_db.duckdb") == 2


def test_a_running_pipeline_is_not_run_again(loaded: Loaded) -> None:
    letta_source, _, server = loaded
    with FileLock(letta_source.folder / "dlt" / "pipelines" / "letta.lock"):
        refused = letta_source.load(server)
        assert (refused.code, "the pipeline letta is being run already" in refused.err) == (2, True)
        assert letta_source.load(server, "--shard", "0/2").code == 0
    assert letta_source.load(server).code == 0


def test_unsupported_table_formats_are_refused(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = letta_source.load(server, "--table-format", "delta")
    assert (refused.code, "duckdb has no delta tables" in refused.err) == (2, True)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())
    monkeypatch.setenv("DESTINATION__FILESYSTEM__LAYOUT", "{table_name}/{file_id}.{ext}")
    refused = letta_source.load(server, "--destination", "filesystem")
    assert (refused.code, "must hold {load_id}" in refused.err) == (2, True)


@pytest.mark.parametrize("command", ["run", "check"])
def test_shards_into_iceberg_tables_are_refused(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """dlt's catalog in memory does not notice other writers: of four shards, the rows of one stayed."""
    pytest.importorskip("pyiceberg")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())
    monkeypatch.setenv("SOURCES__LETTA__SHARD", "0/4")
    monkeypatch.setenv("SOURCES__LETTA__TABLE_FORMAT", "iceberg")
    to = ("--destination", "filesystem", "--base-url", server.base_url)
    refused = letta_source(command, *to)
    assert (refused.code, refused.out) == (2, "")
    assert "shards that load into Iceberg tables lose each other's rows: leave out" in refused.errors[-1]
    assert letta_source.files() == []
    monkeypatch.setenv("SOURCES__LETTA__TABLE_FORMAT", "delta")
    assert letta_source("check", *to).code == 0
