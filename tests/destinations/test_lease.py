"""A lease in the database: its holder, who may take it, and who may still write."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import dlt
import duckdb
import pytest
from dlt.common.destination.exceptions import (
    DestinationException,
    DestinationTerminalException,
    DestinationUndefinedEntity,
)
from dlt.common.schema import Schema
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from letta_source.destinations import lease as leases
from letta_source.destinations.dlt_guard import guard
from letta_source.destinations.lease import SECONDS, Lease, LeaseLost
from letta_source.destinations.lease_holder import Holder
from letta_source.destinations.lease_sql import LONGEST_NAME, TABLE
from letta_source.errors import ConfigError
from tests.support.leased import Database, may_write


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database()
    database.lease().make_table()
    yield database
    database.close()


def test_the_table_is_created_if_missing() -> None:
    database = Database()
    lease = database.lease()
    with pytest.raises(DestinationUndefinedEntity):
        lease.take()
    for _ in range(2):
        lease.make_table()
    lease.take()
    assert lease.generation == 1
    database.close()


def test_long_names_of_pipelines_are_told_apart(database: Database) -> None:
    """MySQL's keys have a limit, so longer names are hashed."""
    longest, longer = "p" * LONGEST_NAME, "p" * (LONGEST_NAME + 1)
    leases = [database.lease(name) for name in (longest, longer, f"{longer}2")]
    for one in leases:
        one.take()
        assert one.generation == 1
    keys = [key for (key,) in database.execute(f"SELECT pipeline FROM {TABLE} ORDER BY pipeline", ()) or ()]
    assert sorted(map(len, keys)) == [64, 64, LONGEST_NAME]
    assert longest in keys


def test_a_released_lease_is_not_renewed_by_later_reads(database: Database) -> None:
    first, second = database.lease(), database.lease()
    first.take()
    first.release()
    # A notebook reads the tables by the pipeline of its load.
    first.check()
    second.take()
    assert second.generation == 2
    first.check()


def test_a_held_lease_is_refused_and_its_holder_named(database: Database) -> None:
    living(database, database.lease(host="crane-7 5f1e pid:[4]", pid=4711))
    with pytest.raises(ConfigError) as refused:
        database.lease().take()
    said = str(refused.value)
    assert "crane-7, process 4711, since 2023-11-14 22:13:20 UTC" in said
    assert "at 2023-11-14 22:18:22 UTC" in said
    assert "--steal-lock" in said


def test_taking_a_released_lease_takes_few_statements(database: Database) -> None:
    with taken(database.lease()).kept():
        pass
    before = database.statements
    lease = taken(database.lease())
    assert (database.statements - before, lease.generation) == (3, 2)
    lease.check_often()
    assert database.statements - before == 3
    lease.release()
    assert database.statements - before == 4


@pytest.mark.parametrize("waits", [0, 1, SECONDS - 1, SECONDS, SECONDS + 1])
def test_a_lease_that_is_not_renewed_is_waited_for_until_it_expires(database: Database, waits: float) -> None:
    first, second = taken(database.lease()), database.lease()
    began = database.now
    database.now += waits
    second.take()
    assert max(waits, SECONDS) <= database.now - began < SECONDS + 3
    assert (may_write(first, database), may_write(second, database)) == (False, True)


def test_a_lease_released_meanwhile_is_taken(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    first = taken(database.lease())
    second = Lease(first._client, "letta", Holder("second", "here", 3), lambda seconds: first.release())
    second.take()
    assert may_write(second, database)


def test_a_lease_that_another_took_first_is_refused(database: Database) -> None:
    first, third = taken(database.lease()), database.lease(host="heron")
    second = Lease(
        first._client, "letta", Holder("second", "here", 3), lambda seconds: third.take(steal=True)
    )
    with pytest.raises(ConfigError, match="heron"):
        second.take()


def test_a_renewed_lease_is_not_taken_over(database: Database) -> None:
    first = taken(database.lease())
    for _ in range(5):
        database.now += SECONDS - 1
        first.check()
    assert may_write(first, database)


def test_a_holder_that_paused_keeps_its_lease_if_nobody_took_it(database: Database) -> None:
    first = taken(database.lease())
    database.now += 10 * SECONDS
    assert may_write(first, database)
    first.check()
    database.alive.append(first)
    with pytest.raises(ConfigError):
        database.lease().take()


def test_a_holder_that_lost_the_lease_gets_an_error_and_releases_nothing(database: Database) -> None:
    first, second = taken(database.lease()), database.lease(host="heron", pid=12)
    second.take(steal=True)
    with pytest.raises(LeaseLost, match="heron, process 12"):
        first.check()
    assert isinstance(first.loss(), LeaseLost)
    first.release()
    assert may_write(second, database)
    assert second.loss() is None
    database.alive.append(second)
    with pytest.raises(ConfigError, match="heron"):
        database.lease().take()


def test_a_deleted_row_is_a_lost_lease(database: Database) -> None:
    first = taken(database.lease())
    database.execute(f"DELETE FROM {TABLE}", ())
    with pytest.raises(LeaseLost):
        first.check()
    assert not may_write(first, database)


def test_sessions_of_the_former_holder_are_ended(database: Database) -> None:
    first = taken(database.lease())
    others = database.lease("another")
    for name in (first.session, f"{first.session}0", others.session, "psql"):
        database.add_session(name)
    database.add_session(first.session, user="somebody else")
    database.lease().take(steal=True)
    assert database.ended == [first.session]


@pytest.mark.parametrize("name", ["letta_shard_0_of_2", "x" * 300, "é" * 100, "it's"])
def test_other_pipelines_and_shards_have_leases_of_their_own(database: Database, name: str) -> None:
    taken(database.lease())
    lease = living(database, database.lease(name))
    assert may_write(lease, database)
    with pytest.raises(ConfigError):
        database.lease(name).take()


def test_a_dead_process_of_this_machine_holds_nothing(database: Database) -> None:
    me = Holder.me()
    living(database, database.lease(host=me.machine, pid=os.getpid()))
    with pytest.raises(ConfigError):
        database.lease().take()
    database.alive.clear()
    began = database.now
    database.lease(host=me.machine, pid=_dead()).take(steal=True)
    database.lease().take()
    assert database.now == began


def test_a_process_of_another_machine_never_counts_as_dead(database: Database) -> None:
    taken(database.lease(host=f"{Holder.me().machine}x", pid=_dead()))
    began = database.now
    database.lease().take()
    assert database.now - began >= SECONDS


def _dead() -> int:
    """Return the PID of a process that has ended."""
    if not (pid := os.fork()):
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_the_lease_is_renewed_in_the_background(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_RENEWALS", SECONDS / 0.001)
    renewed = threading.Event()
    lease = taken(database.lease())
    with lease.kept():
        database.before = renewed.set
        assert renewed.wait(5)
        database.before = None
    database.lease().take()


def taken(lease: Lease) -> Lease:
    lease.take()
    return lease


def living(database: Database, lease: Lease) -> Lease:
    """Take the lease, and keep it renewed while others wait for it."""
    database.alive.append(taken(lease))
    return lease


ACTIONS = ["wait", "expire", "renew", "give back", "take", "steal"]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(ACTIONS)), max_size=4), st.booleans())
def test_at_most_one_holder_may_write_whatever_happens_between_two_statements(
    meanwhile: list[tuple[int, str]], steal: bool
) -> None:
    database = Database()
    old, new, third = database.lease(), database.lease(), database.lease()
    old.make_table()
    old.take()
    statements = 0

    def happens() -> None:
        nonlocal statements
        statements += 1
        number, database.before = statements, None
        for _, action in [one for one in meanwhile if one[0] == number]:
            act(database, old, third, action)
        database.before = happens

    database.before = happens
    try:
        new.take(steal)
        has_it = True
    except ConfigError:
        has_it = False
    database.before = None
    writers = [lease for lease in (old, new, third) if may_write(lease, database)]
    assert len(writers) == 1
    if has_it:
        # The third may have taken it right after.
        assert new in writers or third in writers
    else:
        assert new not in writers
    database.close()


def act(database: Database, old: Lease, third: Lease, action: str) -> None:
    try:
        if action == "renew":
            old.check()
        elif action == "give back":
            old.release()
        elif action in ("take", "steal"):
            third.take(action == "steal")
        else:
            database.now += SECONDS if action == "expire" else 1
    except (ConfigError, LeaseLost):
        pass


class Machines(RuleBasedStateMachine):
    """Three machines that take, renew, steal and give back a lease or stand still, and the expected owner."""

    numbers = st.integers(0, 2)

    @initialize()
    def start(self) -> None:
        self.database = Database()
        self.leases = [self.database.lease() for _ in range(3)]
        self.leases[0].make_table()
        self.owner: int | None = None
        self.until = 0.0
        self.takes = 0
        self.released: set[int] = set()

    @rule(number=numbers, steal=st.booleans(), is_alive=st.booleans())
    def take(self, number: int, steal: bool, is_alive: bool) -> None:
        if self.owner == number and self.until:
            return
        is_free = self.owner is None or self.until <= self.database.now
        if not (is_free or steal) and is_alive and self.owner is not None:
            self.database.alive = [self.leases[self.owner]]
            with pytest.raises(ConfigError):
                self.leases[number].take(steal)
            self.until = self.database.now + SECONDS
        else:
            self.leases[number].take(steal)
            assert is_free or steal or self.until <= self.database.now
            self.owner, self.until = number, self.database.now + SECONDS
            self.takes += 1
            self.released.discard(number)
            assert self.leases[number].generation == self.takes
        self.database.alive = []

    @rule(number=numbers)
    def renew(self, number: int) -> None:
        if number in self.released:
            self.leases[number].check()
        elif self.owner == number:
            self.leases[number].check()
            self.until = self.database.now + SECONDS
        elif self.takes:
            with pytest.raises(LeaseLost):
                self.leases[number].check()

    @rule(number=numbers)
    def give_back(self, number: int) -> None:
        if self.takes:
            self.leases[number].release()
            self.released.add(number)
            self.until = 0.0 if self.owner == number else self.until

    @rule(seconds=st.sampled_from([1.0, SECONDS - 1, SECONDS, 10 * SECONDS]))
    def stand_still(self, seconds: float) -> None:
        self.database.now += seconds

    @invariant()
    def only_the_owner_may_write(self) -> None:
        if self.takes:
            writers = [n for n, lease in enumerate(self.leases) if may_write(lease, self.database)]
            assert writers == [self.owner]

    def teardown(self) -> None:
        self.database.close()


TestMachines = Machines.TestCase
TestMachines.settings = settings(deadline=None, max_examples=40, stateful_step_count=20)


def test_a_guarded_client_checks_before_it_connects() -> None:
    allowed = True

    def check() -> None:
        if not allowed:
            raise LeaseLost("taken over")

    destination = dlt.destinations.duckdb(duckdb.connect(":memory:"))
    guard(destination, "letta_source.1", check, ())
    client = made_by(destination)
    with client:
        client.sql_client.execute_sql("SELECT 1")
    allowed = False
    with pytest.raises(DestinationTerminalException, match="taken over"), client:
        pass


def test_a_guarded_client_writes_behind_the_fence() -> None:
    destination = dlt.destinations.duckdb(duckdb.connect(":memory:"))
    guard(destination, "letta_source.1", lambda: None, ["SELECT error('fenced out')"])
    with made_by(destination) as client:
        with pytest.raises(DestinationException, match="fenced out"):
            client.sql_client.execute_many(["CREATE TABLE t (a INT)"])
        with pytest.raises(DestinationException, match="fenced out"):
            client.complete_load("1.0")
        assert not client.sql_client.execute_sql("SELECT 1 FROM duckdb_tables() WHERE table_name = 't'")


@pytest.mark.parametrize("more", ["", "?sslmode=disable", "?application_name=mine&sslmode=disable"])
def test_sessions_of_postgresql_have_the_holders_name(more: str) -> None:
    destination = dlt.destinations.postgres(f"postgresql://me:secret@127.0.0.1:1/db{more}")
    guard(destination, "letta_source.0123456789abcdef", lambda: None, ["SELECT 1"])
    for _ in range(2):
        address = made_by(destination).config.credentials.to_native_representation()
        assert address.count("application_name") == 1
        assert "application_name=letta_source.0123456789abcdef" in address
        assert ("sslmode=disable" in address) is ("sslmode" in more)


def made_by(destination: Any) -> Any:
    """Return a client of a dataset."""
    config = destination.spec()._bind_dataset_name(dataset_name="letta")
    return destination.client(Schema("letta"), config)
