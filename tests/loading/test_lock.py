"""Each pipeline has one load at a time, also from two working folders; pending packages are checked."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.exceptions import DatabaseTerminalException, DatabaseTransientException

from letta_source.demo import Server
from letta_source.destinations import lease_sql
from letta_source.destinations.dlt_internals import sql_client_of
from letta_source.destinations.lease import Lease, LeaseLost
from letta_source.destinations.lease_holder import Holder
from letta_source.errors import ConfigError, InUse, LettaError
from letta_source.loading import lock
from letta_source.loading.lock import pipeline_lock
from letta_source.loading.outcome import LoadFailed
from letta_source.loading.run import Load, Parts, _drivers_errors, load
from letta_source.loading.target import Target
from letta_source.loading.workspace import Workspace
from letta_source.shards import Shard
from tests.support.command import Command
from tests.support.leased import Database


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database()
    yield database
    database.close()


PLACES = {
    "duckdb": ("duckdb", {}),
    "sqlite": ("sqlalchemy", {"DESTINATION__SQLALCHEMY__CREDENTIALS": "sqlite:///warehouse.db"}),
    "files": ("filesystem", {"DESTINATION__FILESYSTEM__BUCKET_URL": "lake"}),
}


@pytest.mark.parametrize("place", PLACES)
def test_loads_from_two_working_folders_do_not_overlap(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    destination, environment = PLACES[place]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    targets = [
        Target(name, destination, "letta", shard=shard).resolved()
        for name, shard in (("letta", Shard(0, 1)), ("other", Shard(0, 1)), ("letta", Shard(1, 2)))
    ]
    at(monkeypatch, tmp_path / "one")
    with pipeline_lock(targets[0]):
        at(monkeypatch, tmp_path / "two")
        with (
            pytest.raises(ConfigError, match="the pipeline letta is being loaded into "),
            pipeline_lock(targets[0]),
        ):
            pass
        with pipeline_lock(targets[1]), pipeline_lock(targets[2]):
            pass
    with pipeline_lock(targets[0]) as leased:
        assert leased.lease is None


def at(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(lock, "pipelines_folder", lambda: str(folder))


@pytest.mark.parametrize("name", ["letta", "p" * 240, "é" * 124])
def test_the_lock_files_name_is_never_too_long(tmp_path: Path, name: str) -> None:
    for file in ("warehouse.duckdb", f"{'w' * 230}.duckdb"):
        place = tmp_path / file
        with (
            lock._locked_beside(place, name),
            pytest.raises(ConfigError, match="by another process"),
            lock._locked_beside(place, name),
        ):
            pass
        with lock._locked_beside(place, name), lock._locked_beside(place, f"{name}2"):
            pass


def test_without_a_lock_the_load_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # A folder has the lock file's name.
    (tmp_path / ".warehouse.letta.lock").mkdir()
    with caplog.at_level(logging.WARNING), lock._locked_beside(tmp_path / "warehouse.duckdb", "letta"):
        pass
    assert "letta could be loaded from another working folder at the same time, because" in caplog.text


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: Database) -> Target:
    """Return a target in a database that has leases."""
    at(monkeypatch, tmp_path)
    monkeypatch.setattr(Target, "destination_client", lambda self: None)
    monkeypatch.setattr(lock, "local_place", lambda client: None)
    monkeypatch.setattr(lock, "sql_client_of", lambda client: database.lease()._client)
    return Target("letta", "postgres", "letta")


def test_a_database_keeps_a_lease_while_the_block_runs(target: Target, database: Database) -> None:
    for takes in (1, 2):
        with pipeline_lock(target) as leased:
            assert leased.lease
            assert leased.lease.generation == takes
            database.alive.append(leased.lease)
            with pytest.raises(ConfigError, match="is being loaded into this dataset by"):
                database.lease().take()
            database.alive.clear()
    database.lease().take()


def test_without_the_right_to_create_the_table_there_is_no_lease(
    target: Target, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: Lease) -> None:
        raise DatabaseTerminalException(PermissionError("permission denied for schema letta"))

    monkeypatch.setattr(Lease, "make_table", refused)
    with caplog.at_level(logging.WARNING), pipeline_lock(target) as leased:
        assert leased.lease is None
    assert "_letta_lease cannot be created" in caplog.text
    assert "permission denied" in caplog.text


def test_a_lease_that_cannot_be_taken_is_one_line(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Lease, steal: bool) -> None:
        raise DatabaseTransientException(TimeoutError("canceling statement due to lock timeout"))

    monkeypatch.setattr(Lease, "take", broken)
    with pytest.raises(ConfigError, match="lock timeout"), pipeline_lock(target):
        pass


def test_a_lease_that_cannot_be_released_is_logged(
    target: Target, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Lease) -> None:
        raise DatabaseTransientException(ConnectionError("gone"))

    with caplog.at_level(logging.WARNING), pipeline_lock(target):
        monkeypatch.setattr(Lease, "release", broken)
    assert "could not be released" in caplog.text


def test_dlts_sqlalchemy_client_runs_the_statements(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lease_sql._CLOCKS, "sqlite", "(julianday('now') - 2440587.5) * 86400.0")
    destination, environment = PLACES["sqlite"]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    leases: list[Lease] = []
    for _ in range(3):
        client = sql_client_of(Target("letta", destination, "letta").resolved().destination_client())
        leases.append(Lease(client, "letta", Holder(f"of {len(leases)}", "elsewhere", 1)))
    first, second, third = leases
    with pytest.raises(DestinationUndefinedEntity):
        first.take()
    first.make_table()
    first.take()
    first.check()
    second.take(steal=True)
    assert isinstance(first.loss(), LeaseLost)
    second.release()
    third.take()
    assert (second.generation, third.generation) == (2, 3)


@pytest.mark.parametrize(
    ("generation", "kept", "is_dropped"),
    [
        # The first lease ever: an older version left the package.
        (1, None, False),
        (2, 1, False),
        (17, 16, False),
        (3, 1, True),
        (2, None, True),
        (9, 9, True),
    ],
)
def test_a_pending_package_is_loaded_only_if_nobody_loaded_since(
    generation: int, kept: int | None, is_dropped: bool
) -> None:
    state = {} if kept is None else {"letta_source_lease_generation": kept}
    workspace = Workspace.__new__(Workspace)
    workspace.lease = Lease.__new__(Lease)
    workspace.lease.generation = generation
    workspace.pipeline = SimpleNamespace(get_local_state_val=state.__getitem__)  # type: ignore[assignment]
    assert workspace._was_leased_to_others() is is_dropped
    workspace.lease = None
    assert not workspace._was_leased_to_others()


def test_another_process_that_opens_the_file_during_a_load_is_named() -> None:
    with (
        pytest.raises(LoadFailed, match=r"^/srv/w\.duckdb is in use by python \(PID 17\): wait until"),
        _drivers_errors(None),
    ):
        raise RuntimeError(
            'IO Error: Could not set lock on file "/srv/w.duckdb": Conflicting lock is held in python'
            " (PID 17). See also https://duckdb.org"
        )


@pytest.mark.parametrize("error", [RuntimeError("division by zero"), ConfigError("cannot be opened")])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_failed_load_reports_a_lost_lease(database: Database, is_lost: bool, error: Exception) -> None:
    lease = database.lease()
    lease.make_table()
    lease.take()
    if is_lost:
        database.lease(host="heron").take(steal=True)
    said = "heron" if is_lost else str(error)
    with pytest.raises(LettaError, match=said) as failed, _drivers_errors(lease):
        raise error
    assert isinstance(failed.value, LoadFailed) is (is_lost or isinstance(error, RuntimeError))


def test_a_package_is_not_loaded_without_the_lease(database: Database) -> None:
    workspace = Workspace.__new__(Workspace)
    workspace.load_ids = []
    workspace.lease = database.lease()
    workspace.lease.make_table()
    workspace.lease.take()
    database.lease().take(steal=True)
    workspace.lease._checked = 0
    workspace.pipeline = SimpleNamespace()  # type: ignore[assignment]
    with pytest.raises(LeaseLost):
        workspace._load()


@pytest.mark.parametrize("steal", [False, True])
def test_the_option_reaches_the_lock(steal: bool, letta_source: Command) -> None:
    asked = []

    def asking(target: Target, steals: bool) -> Any:
        asked.append(steals)
        raise ConfigError("enough")

    parts = Parts(check_server=lambda settings, server: None, pipeline_lock=asking)
    with pytest.raises(ConfigError, match="enough"):
        load(Load({"base_url": "http://127.0.0.1:1"}, steal_lock=steal), parts=parts)
    assert asked == [steal]


def test_a_link_in_place_of_a_lock_is_refused(tmp_path: Path) -> None:
    """Older versions of filelock would empty the file that it names."""
    victim, link = tmp_path / "victim", tmp_path / "letta.lock"
    victim.write_text("precious")
    link.symlink_to(victim)
    with pytest.raises(ConfigError, match="is a link"), lock._locked(link, InUse("taken"), 0o600, 0.0):
        pass
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("of_file", "of_lock"), [(0o664, 0o664), (0o600, 0o600), (0o777, 0o666), (None, 0o644)]
)
def test_the_lock_has_the_permissions_of_its_file(tmp_path: Path, of_file: int | None, of_lock: int) -> None:
    """Others who may write a shared file have to be able to lock it, too."""
    place = tmp_path / "warehouse.duckdb"
    if of_file is not None:
        place.touch()
        place.chmod(of_file)
    before = os.umask(0)
    try:
        with lock._locked_beside(place, "letta"):
            (file,) = tmp_path.glob(".*.lock")
            assert stat.S_IMODE(file.stat().st_mode) == of_lock
    finally:
        os.umask(before)


def test_pipelines_take_turns_in_iceberg_tables(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dlt's catalog in memory would lose one of two simultaneous commits."""
    pytest.importorskip("pyiceberg")
    lake = letta_source.folder / "lake"
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", lake.as_uri())
    to = ("--destination", "filesystem", "--resources", "agents")
    with lock._locked_beside(lake / "letta", None):
        refused = letta_source.load(server, *to, "--table-format", "iceberg")
        assert refused.code == 2
        assert f"another pipeline is being loaded into {lake / 'letta'} by another" in refused.errors[-1]
        # Their catalog is in the files.
        assert letta_source.load(server, *to, "--table-format", "delta", "--dataset-name", "d").code == 0
    again = letta_source.load(server, *to, "--table-format", "iceberg", "--pipeline-name", "second")
    assert again.code == 0
