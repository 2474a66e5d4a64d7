"""Two machines load one pipeline into one PostgreSQL or MariaDB: only one succeeds, and no row is doubled."""

from __future__ import annotations

import time

import pytest

from tests.support.processes import resume
from tests.support.two_machines import (
    OF_MYSQL,
    STOPS,
    Machines,
    check_who_stands_still,
    wait_until_stopped,
)

pytestmark = pytest.mark.destinations


def test_the_second_of_two_loads_is_refused_and_the_first_named(machines: Machines) -> None:
    first = machines.start("crane", "--requests-per-second", "2")
    time.sleep(2)
    assert machines.run("heron") == 2
    assert f"crane, process {first.pid}, since" in machines.said("heron")
    assert machines.ended(first) == 0
    machines.check()
    assert machines.run("heron") == 0
    machines.check()


# A first load also creates the tables; after that it goes through the same steps as a later one.
@pytest.mark.parametrize(
    ("stops", "begins"),
    [*((stops, True) for stops in STOPS), ("before copies", False), ("in a merge", False)],
)
def test_a_paused_holder_writes_nothing_when_it_resumes(machines: Machines, stops: str, begins: bool) -> None:
    check_who_stands_still(machines, stops, begins)


@pytest.mark.parametrize("stops", OF_MYSQL)
def test_a_paused_holder_on_mysql_writes_nothing_when_it_resumes(of_mysql: Machines, stops: str) -> None:
    check_who_stands_still(of_mysql, stops, begins=True)


def test_steal_lock_takes_the_lease(machines: Machines) -> None:
    first = machines.start("crane", stops="in a merge")
    wait_until_stopped(first)
    assert machines.run("heron", "--steal-lock") == 0, machines.said("heron")
    resume(first)
    assert machines.ended(first) == 1
    machines.check()


def test_the_lease_of_a_killed_machine_delays_others_until_it_expires(machines: Machines) -> None:
    first = machines.start("crane", stops="before a merge")
    wait_until_stopped(first)
    first.kill()
    first.join()
    assert machines.run("heron") == 0, machines.said("heron")
    machines.check()


def test_the_same_machine_continues_at_once_after_a_kill(machines: Machines) -> None:
    first = machines.start("crane", stops="before a merge")
    wait_until_stopped(first)
    first.kill()
    first.join()
    assert machines.run("crane") == 0, machines.said("crane")
    assert "left unfinished: finishing it first" in machines.said("crane")
    machines.check()
