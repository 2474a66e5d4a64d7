"""What a worklist keeps of a run, step or batch that is not finished."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from letta_source.state.worklist import Worklist
from letta_source.times import Overlap

EDGE = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
OLD = EDGE - timedelta(hours=1)
OVERLAP = Overlap(EDGE, timedelta(0), now=lambda: EDGE + timedelta(minutes=10))


def run(name: str, status: object = "running", created: datetime | None = OLD, **more: Any) -> Any:
    return {"id": name, "status": status, "created_at": created and created.isoformat(), **more}


def closed(state: dict[str, Any], *runs: dict[str, Any], **how: bool) -> Worklist:
    """Complete a load that reads these runs; return the worklist of the next load."""
    load = Worklist(state, "", OVERLAP)
    for one in runs:
        load.close(one, **how)
    load.commit()
    return Worklist(state, "", OVERLAP)


def test_a_run_has_moved_once_its_status_is_another() -> None:
    state: dict[str, Any] = {}
    worklist = closed(state, run("run-1"), run("run-2", None))
    assert not worklist.has_moved(run("run-1"))
    assert not worklist.has_moved(run("run-2", None))
    assert worklist.has_moved(run("run-1", "completed"))
    assert worklist.has_moved(run("never read"))
    # A run that was not read whole is read again, whatever its status.
    assert closed(state, run("run-1"), complete=False).has_moved(run("run-1"))


def test_nothing_is_kept_of_a_finished_run() -> None:
    state: dict[str, Any] = {}
    assert closed(state, run("step-1", run_id="run-1"), run("step-2", run_id=5)).run_of("step-1") == "run-1"
    assert state["run_of"] == {"": {"step-1": "run-1"}}
    closed(state, run("step-1", "completed"), run("step-2", "completed"))
    assert (state["unsettled"], state["seen"], state["run_of"]) == ({"": {}}, {"": {}}, {"": {}})


@pytest.mark.parametrize(
    ("status", "how", "waits"),
    [
        ("completed", {"complete": False, "waits": True}, True),
        ("completed", {"complete": False}, False),
        ("running", {"complete": False, "waits": True}, False),
    ],
)
def test_only_a_finished_run_waits_for_known_issues(status: str, how: dict[str, bool], waits: bool) -> None:
    worklist = closed({}, run("run-1", status), **how)
    assert worklist.unfinished == ("run-1",)
    assert worklist.waits("run-1") == waits


def test_unfinished_runs_up_to_the_cursor_are_read_by_their_ids() -> None:
    state: dict[str, Any] = {}
    load = Worklist(state, "", OVERLAP)
    # Read before the list was, or without a date.
    load.close(run("by its id", created=OLD - timedelta(days=1)))
    load.close(run("undated", created=None))
    for one in (run("run-1", created=OLD), run("run-2", "completed", OLD + timedelta(minutes=1))):
        load.add(one)
        load.close(one)
    later = run("later", created=OLD + timedelta(minutes=9))
    load.close(later)
    load.commit()
    worklist = Worklist(state, "", OVERLAP)
    # Those read by their ids do not move it.
    assert worklist.cursor == ((OLD + timedelta(minutes=1)).isoformat(), "run-2")
    # The list itself names the later one.
    assert worklist.beyond_list() == ("by its id", "undated", "run-1")
    state["cursors"][""] = [None, "run-2"]
    assert Worklist(state, "", OVERLAP).beyond_list() == ("by its id", "undated", "run-1", "later")
    state["cursors"][""] = [None, None]
    assert Worklist(state, "", OVERLAP).beyond_list() == ()


def test_the_cursor_takes_the_date_that_reading_a_run_tells() -> None:
    state: dict[str, Any] = {}
    load = Worklist(state, "", OVERLAP)
    load.add({"id": "step-1"})
    load.close(run("step-1", "completed"))
    load.commit()
    assert state["cursors"] == {"": [OLD.isoformat(), "step-1"]}
