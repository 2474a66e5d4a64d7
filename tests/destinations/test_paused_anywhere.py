"""A load is paused at a random moment while another takes over; `--hypothesis-profile=long` pauses more."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest
from hypothesis import settings

from tests.support.processes import resume
from tests.support.two_machines import OF_MYSQL, SHORT, STOPS, Machines, check_who_stands_still

pytestmark = pytest.mark.proof

TRIALS = 8 if settings.get_current_profile_name() != "long" else 30


@pytest.mark.parametrize("stops", [one for one in STOPS if one not in OF_MYSQL])
def test_a_holder_on_mysql_paused_at_other_points(of_mysql: Machines, stops: str) -> None:
    check_who_stands_still(of_mysql, stops, begins=True)


def test_holders_that_are_paused_anywhere(machines: Machines) -> None:
    check_trials(machines, TRIALS)


def test_holders_that_are_paused_anywhere_on_mysql(of_mysql: Machines) -> None:
    check_trials(of_mysql, TRIALS // 2)


def check_trials(machines: Machines, count: int) -> None:
    """Repeatedly stop a load after some time, let another take over, and continue the first."""
    chance = random.Random(20)
    for _ in range(count):
        first = machines.start("crane")
        time.sleep(chance.uniform(0, 4))
        with suppress(ProcessLookupError):
            os.kill(first.pid or 0, signal.SIGSTOP)
        time.sleep(SHORT)
        machines.talk()
        assert machines.run("heron") == 0, machines.said("heron")
        machines.check()
        if first.is_alive():
            resume(first)
        assert machines.ended(first) in (0, 1), machines.said("crane")
        machines.check()
        machines.talk()
        assert machines.run("crane") == 0, machines.said("crane")
        machines.check()
