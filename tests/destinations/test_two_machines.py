"""Of two machines that load one pipeline into one PostgreSQL or MariaDB, one does; no row comes twice."""

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


def test_of_two_at_once_one_is_refused_by_name(machines: Machines) -> None:
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
def test_a_holder_that_stands_still_writes_nothing_when_it_wakes_up(
    machines: Machines, stops: str, begins: bool
) -> None:
    check_who_stands_still(machines, stops, begins)


@pytest.mark.parametrize("stops", OF_MYSQL)
def test_nor_does_it_on_mysql(of_mysql: Machines, stops: str) -> None:
    check_who_stands_still(of_mysql, stops, begins=True)


def test_who_steals_wins(machines: Machines) -> None:
    first = machines.start("crane", stops="in a merge")
    wait_until_stopped(first)
    assert machines.run("heron", "--steal-lock") == 0, machines.said("heron")
    resume(first)
    assert machines.ended(first) == 1
    machines.check()


def test_a_killed_machine_is_waited_for_as_long_as_its_lease_lasts(machines: Machines) -> None:
    first = machines.start("crane", stops="before a merge")
    wait_until_stopped(first)
    first.kill()
    first.join()
    assert machines.run("heron") == 0, machines.said("heron")
    machines.check()


def test_the_same_machine_goes_on_at_once_after_a_kill(machines: Machines) -> None:
    first = machines.start("crane", stops="before a merge")
    wait_until_stopped(first)
    first.kill()
    first.join()
    assert machines.run("crane") == 0, machines.said("crane")
    assert "left unfinished: finishing it first" in machines.said("crane")
    machines.check()
