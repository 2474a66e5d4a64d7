"""Hourly loads for days or a month: exit codes, log, status and verify report each event once."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from statistics import median

import httpx
import pytest

from letta_source.operate import DIFFERENCES
from tests.support.command import Command
from tests.support.long_run import Foreseen, LongRun

# 720 is a month with a load every hour; the default is some days with a load every other hour.
HOURS = int(os.environ.get("SIMULATED_HOURS", "60"))
EVERY = 1 if HOURS > 100 else 2

GATEWAY = httpx.Response(503, html="<html>Bad gateway</html>")
REFUSED = httpx.ConnectError("refused")
UNREADABLE = "conversations: the list unreadable"
NO_ROUTE = httpx.Response(404, json={"detail": "Not Found"})


def timetable(run: LongRun) -> dict[int, Callable[[], Foreseen | None]]:
    """Return the events before loads, by number of the load; their moments are shares of the whole time."""
    loads = run.hours // EVERY
    agent = run.agents()[0]
    during: list[tuple[float, Callable[[], Foreseen | None]]] = [
        (0.00, run.use_older_version),
        (0.06, partial(run.fail, ".", GATEWAY, 2)),
        (0.09, run.recover),
        (0.14, run.reset),
        (0.20, partial(run.become_unreadable, 0)),
        (0.26, run.delete_message),
        (0.31, partial(run.become_unreadable, 1)),
        (0.36, run.delete_agent),
        (0.40, run.crash),
        (0.45, run.lose_folder),
        (0.50, run.upgrade),
        (0.55, run.become_readable),
        (0.64, partial(run.fail, "/(conversations|messages)/", GATEWAY, 3, UNREADABLE)),
        (0.67, run.recover),
        (0.70, partial(run.fail, ".", REFUSED, 2)),
        (0.73, run.recover),
        (0.76, partial(run.refuse, agent)),
        (0.80, run.recover),
        (0.84, partial(run.fail, "/conversations/", NO_ROUTE, 3, "conversations: the list missing")),
        (0.88, run.recover),
        (0.92, run.reset),
    ]
    return {round(part * loads): happens for part, happens in during}


@pytest.mark.proof
def test_a_month_of_loads(
    letta_source: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOURCES__LETTA__RETRIES", "1")
    loads = HOURS // EVERY
    run = LongRun(letta_source, HOURS, EVERY)
    kept: list[dict[str, int]] = []
    calm: dict[bool, list[int]] = {True: [], False: []}
    with run.served():
        events = timetable(run)
        for load in range(loads):
            run.pass_hour(events.get(load))
            if load not in events:
                calm[bool(run.open)].append(run.requests[-1])
            if load % (loads // 6) == loads // 6 - 1:
                run.status()
                counts = run.verify()
                kept.append(run.kept())
                with capsys.disabled():
                    # A month takes long, so show the progress.
                    print(run.hour, run.surprises[-3:], counts, kept[-1], flush=True)
        # A repair that reads an agent again is a run of its own.
        logged = run.logged()
        counts = run.verify("--repair", "--yes")
    assert run.surprises == []
    # Outages too, each load once.
    assert logged == run.codes
    # Everything deleted is marked, and everything else is there.
    assert {kind: count for kind, count in counts.items() if count and kind in DIFFERENCES} == {}
    assert run.lost() == []
    # One alarm each for two messages, an outage of lists, an agent, and a family that went missing.
    assert run.codes.count(3) == 5
    # Unreadable messages at most double the requests.
    assert median(calm[True]) <= 2 * median(calm[False])
    # The loads' own tables do not grow with the number of loads.
    assert kept[-1]["_dlt_pipeline_state"] <= 15
    assert kept[-1]["_dlt_version"] <= 12
    assert kept[-1]["files"] <= kept[0]["files"] + 10
    assert kept[-1]["load_issues"] < 40 + loads // 10
