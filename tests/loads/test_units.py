"""Runs, steps and batches, load after load: read until they are finished, and then no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

from letta_source.demo import Letta, Server
from letta_source.state.host import Host
from tests.support.library_loads import Merged, issues, paths
from tests.support.socketless import serve_without_sockets

OLD = datetime(2024, 5, 4, 12, tzinfo=timezone.utc)
RUNS = ("runs", "steps", "step_messages")
BATCHES = ("batches", "batch_messages")


@pytest.fixture
def letta() -> Letta:
    return Letta(seed=0)


@pytest.fixture(params=["self-hosted", "cloud"])
def server(request: pytest.FixtureRequest, letta: Letta) -> Iterator[Server]:
    with serve_without_sockets(letta, request.param) as server:
        yield server


def add_step(letta: Letta, run_id: str) -> tuple[str, str]:
    """Add a step with one message to a run; return their ids."""
    step = letta.tables["steps"].rows[letta.list_of("run steps", run_id).ids()[-1]]
    step_id = f"step-{uuid4()}"
    letta.put("steps", {**step, "id": step_id})
    return step_id, letta.add_message(step["agent_id"], step_id=step_id, run_id=run_id)


def asked_for(server: Server, unit_id: str) -> int:
    return sum(unit_id in path for path, _ in paths(server))


@pytest.mark.parametrize("lag", [0, "10m"])
def test_an_unfinished_run_is_read_until_it_is_finished(letta: Letta, server: Server, lag: Any) -> None:
    run = letta.talk(letta.add_agent(), "hi", date=OLD, finished=False)
    letta.talk(letta.add_agent(), "done", date=OLD + timedelta(hours=1))
    merged = Merged()
    merged.load(server, *RUNS, lag=lag)
    assert Counter(merged.ids("runs", "status")) == {"running": 1, "completed": 1}
    assert Counter(merged.ids("steps", "status")) == {"pending": 1, "success": 1}
    step, message = add_step(letta, run)
    merged.load(server, *RUNS, lag=lag)
    assert step in merged.ids("step_messages", "step_id")
    assert message in merged.ids("step_messages")
    letta.finish_run(run)
    merged.load(server, *RUNS, lag=lag)
    assert set(merged.ids("runs", "status")) == {"completed"}
    assert Counter(merged.ids("steps", "status")) == {"success": 3}


@pytest.mark.parametrize(
    ("resources", "begin"),
    [
        (
            RUNS,
            lambda letta: letta.talk(letta.add_agent(), "hi", tools=("roll_dice",), date=OLD, finished=False),
        ),
        (BATCHES, lambda letta: letta.add_batch(letta.add_agent(), messages=2)),
    ],
    ids=["run", "batch"],
)
def test_an_edited_message_of_a_running_unit_loses_its_former_children(
    letta: Letta, resources: tuple[str, ...], begin: Callable[[Letta], str]
) -> None:
    begin(letta)
    merged, calls = Merged(), f"{resources[-1]}__tool_calls"
    with serve_without_sockets(letta) as server:
        merged.load(server, *resources)
        [edited] = merged.ids(calls, "message_id")
        letta.replace_items(edited, [{"message_type": "assistant_message", "content": "none"}])
        merged.load(server, *resources)
    assert merged.rows(calls) == []


def test_a_run_finished_before_the_overlap_is_not_read_again(letta: Letta, server: Server) -> None:
    run = letta.talk(letta.add_agent(), "hi", date=OLD, finished=False)
    merged = Merged()
    merged.load(server, *RUNS)
    letta.finish_run(run)
    steps = letta.list_of("run steps", run).ids()
    # It finished just now, so what is written right after must still be found.
    merged.load(server, *RUNS)
    step, message = add_step(letta, run)
    letta.finish_run(run)
    merged.load(server, *RUNS)
    assert (step, message) in {(row[0], row[1]) for row in merged.rows("step_messages")}
    merged.load(server, *RUNS, lag=0)
    paths(server)
    merged.load(server, *RUNS, lag=0)
    assert not [path for path, _ in paths(server) if any(one in path for one in (run, step, *steps))]


def test_messages_written_just_after_the_end_of_a_step_are_found(letta: Letta, server: Server) -> None:
    agent = letta.add_agent()
    runs = [letta.talk(agent, "hi") for _ in range(2)]
    merged = Merged()
    merged.load(server, *RUNS)
    steps = [letta.list_of("run steps", run).ids()[0] for run in runs]
    message = letta.add_message(agent, step_id=steps[0], run_id=runs[0])
    merged.load(server, *RUNS)
    assert (steps[0], message) in {row[:2] for row in merged.rows("step_messages")}


def test_steps_committed_late_are_found_inside_the_overlap(letta: Letta) -> None:
    agent = letta.add_agent()
    runs = [letta.talk(agent, "hi", date=OLD + timedelta(hours=hour)) for hour in range(2)]
    merged = Merged()
    with serve_without_sockets(letta, "cloud") as server:
        merged.load(server, "steps")
        [known] = letta.list_of("run steps", runs[0]).ids()
        late = f"step-{uuid4()}"
        letta.put("steps", {**letta.tables["steps"].rows[known], "id": late}, OLD + timedelta(minutes=1))
        merged.load(server, "steps")
    assert late in merged.ids("steps")


def test_late_messages_of_a_step_before_an_empty_step_are_found(letta: Letta) -> None:
    """A step has only its messages' dates; one without messages does not count as old."""
    agent = letta.add_agent()
    run = letta.talk(agent, "hi", date=OLD)
    [known] = letta.list_of("run steps", run).ids()
    empty, late = f"step-{uuid4()}", f"step-{uuid4()}"
    now = datetime.now(timezone.utc)
    letta.put("steps", {**letta.tables["steps"].rows[known], "id": empty}, now)
    merged = Merged()
    with serve_without_sockets(letta, "cloud") as server:
        merged.load(server, "step_messages")
        letta.put("steps", {**letta.tables["steps"].rows[known], "id": late}, now - timedelta(seconds=1))
        message = letta.add_message(agent, step_id=late, run_id=run)
        merged.load(server, "step_messages")
        assert (late, message) in {row[:2] for row in merged.rows("step_messages")}
        paths(server)
        # Afterwards the empty step has been known for longer than the overlap.
        for _ in range(2):
            merged.load(server, "step_messages", lag=0)
        asked = [path for path, _ in paths(server)]
    assert asked.count(f"/v1/steps/{empty}/messages") == 1


def test_requests_do_not_grow_with_finished_runs(letta: Letta, server: Server) -> None:
    agent = letta.add_agent()
    unfinished = letta.talk(agent, "hi", date=OLD, finished=False)
    needed = []
    for _ in range(2):
        for _ in range(6):
            letta.talk(agent, "hi", tools=["roll"], date=OLD - timedelta(days=1))
        merged = Merged()
        merged.load(server, *RUNS)
        paths(server)
        merged.load(server, *RUNS)
        needed.append(paths(server))
    first, second = ([path for path, _ in asked] for asked in needed)
    assert sorted(first) == sorted(second)
    steps = letta.list_of("run steps", unfinished).ids()
    assert {path for path in first if not path.endswith(("/runs/", "/steps/"))} <= {
        f"/v1/runs/{unfinished}",
        f"/v1/runs/{unfinished}/steps",
        *(f"/v1/steps/{step}{rest}" for step in steps for rest in ("", "/messages")),
    }


@pytest.mark.parametrize("page_size", [2, 1000])
def test_new_runs_are_found_load_after_load(letta: Letta, server: Server, page_size: int) -> None:
    agent = letta.add_agent()
    merged, afresh = Merged(), Merged()
    for hour in range(4):
        for minute in range(2):
            letta.talk(agent, "hi", tools=["roll"], date=OLD + timedelta(hours=hour, minutes=minute))
        merged.load(server, *RUNS, page_size=page_size)
    afresh.load(server, *RUNS)
    assert merged.everything() == afresh.everything()
    assert len(merged.rows("runs")) == 8


def test_runs_continue_after_the_last_known_one_was_deleted(letta: Letta, server: Server) -> None:
    kept, doomed = letta.add_agent(), letta.add_agent()
    runs = [letta.talk(agent, "hi", date=OLD + timedelta(hours=n)) for n, agent in enumerate([kept, doomed])]
    merged = Merged()
    merged.load(server, *RUNS, page_size=1)
    letta.delete_agent(doomed)
    runs.append(letta.talk(kept, "hi", date=OLD + timedelta(hours=3)))
    session = merged.load(server, *RUNS, page_size=1)
    assert session.problems == 0
    assert merged.ids("runs") == sorted(runs)


def test_a_deleted_unfinished_run_stays_and_is_not_requested_again(letta: Letta, server: Server) -> None:
    doomed, kept = letta.add_agent(), letta.add_agent()
    run = letta.talk(doomed, "hi", date=OLD, finished=False)
    letta.talk(kept, "hi", date=OLD + timedelta(hours=1))
    merged = Merged()
    merged.load(server, *RUNS)
    letta.delete_agent(doomed)
    session = merged.load(server, *RUNS)
    paths(server)
    merged.load(server, *RUNS)
    assert asked_for(server, run) == 0
    assert session.problems == 0
    assert run in merged.ids("runs")


def test_a_step_with_an_unreadable_message_is_read_again(letta: Letta, server: Server) -> None:
    agent = letta.add_agent()
    letta.talk(agent, "hi", date=OLD)
    bad = letta.list_of("agent", agent).ids()[1]
    merged, afresh = Merged(), Merged()
    letta.poison(bad, status=400)
    session = merged.load(server, *RUNS)
    [(resource, _, kind)] = issues(merged.rows("load_issues"))
    assert (resource, kind, session.problems) == ("step_messages", "unreadable", 1)
    assert bad not in merged.ids("step_messages")
    letta.cure(bad)
    merged.load(server, *RUNS)
    afresh.load(server, *RUNS)
    assert merged.rows("step_messages") == afresh.rows("step_messages")


def test_a_batch_is_read_until_it_is_finished_though_no_longer_listed(letta: Letta) -> None:
    batch = letta.add_batch(letta.add_agent(), messages=2)
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, *BATCHES)
        assert merged.ids("batches", "status") == ["running"]
        letta.add_batch_messages(batch, 3)
        letta.finish_batch(batch)
        merged.load(server, *BATCHES)
        assert merged.ids("batches", "status") == ["completed"]
        assert merged.ids("batch_messages") == sorted(letta.list_of("batch", batch).ids())
        merged.load(server, *BATCHES, lag=0)
        paths(server)
        merged.load(server, *BATCHES, lag=0)
        assert asked_for(server, batch) == 0
    assert len(merged.rows("batch_messages__tool_calls")) == 3


def test_a_batch_that_only_a_window_saw_running_is_read_when_named(letta: Letta) -> None:
    """A window leaves no state, and the server lists no finished batch; the docs say so."""
    batch = letta.add_batch(letta.add_agent(), messages=2)
    with serve_without_sockets(letta) as server:
        merged = Merged()
        merged.load(server, *BATCHES, start_date=datetime(2000, 1, 1, tzinfo=timezone.utc))
        letta.finish_batch(batch)
        merged.load(server, *BATCHES)
        assert merged.ids("batches", "status") == ["running"]
        merged.load(server, *BATCHES, batch_ids=[batch])
        assert merged.ids("batches", "status") == ["completed"]


def test_finished_batches_are_read_when_named(letta: Letta) -> None:
    batch = letta.add_batch(letta.add_agent(), status="completed")
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, *BATCHES)
        assert merged.ids("batches") == []
        merged.load(server, *BATCHES, batch_ids=[batch])
    assert merged.ids("batches") == [batch]
    assert merged.ids("batch_messages") == sorted(letta.list_of("batch", batch).ids())


def test_an_unknown_batch_is_named_and_the_others_are_read(letta: Letta) -> None:
    known, unknown = letta.add_batch(letta.add_agent()), f"job-{uuid4()}"
    merged = Merged()
    with serve_without_sockets(letta) as server:
        session = merged.load(server, *BATCHES, batch_ids=[unknown])
    assert session.problems == 2
    assert sorted(issues(merged.rows("load_issues"))) == [
        ("batch_messages", unknown, "not_found"),
        ("batches", unknown, "not_found"),
    ]
    assert set(merged.ids("batch_messages", "batch_id")) == {known}


@pytest.mark.parametrize("messages", [1, 2, 3, 8, 9])
def test_batches_larger_than_a_page_are_complete(letta: Letta, messages: int) -> None:
    batch = letta.add_batch(letta.add_agent(), messages=messages)
    merged = Merged()
    with serve_without_sockets(letta) as server:
        merged.load(server, "batch_messages", page_size=2)
        limits = [request.params["limit"] for request in server.requests if batch in request.path]
    assert merged.ids("batch_messages") == sorted(letta.list_of("batch", batch).ids())
    # Batches have no cursors: the list ends with a page that is not full and has the newest message.
    doubled = ["2", "4", "8", "16"][: 1 + (messages >= 2) + (messages >= 4) + (messages >= 8)]
    assert limits == [*doubled, "1"]


def test_a_long_list_is_read_again_instead_of_kept(letta: Letta, server: Server) -> None:
    agent = letta.add_agent()
    for hour in range(5):
        letta.talk(agent, "hi", date=OLD + timedelta(hours=hour))
    kept, read_again = Merged(), Merged()
    kept.load(server, *RUNS, page_size=2)
    lists = sum(path == "/v1/runs/" for path, _ in paths(server))
    session = read_again.load(server, *RUNS, page_size=2, host=Host(max_listed=3))
    assert sum(path == "/v1/runs/" for path, _ in paths(server)) >= lists
    assert [len(found) for found in session.host.lists.values() if len(found) > 3] == []
    assert read_again.everything() == kept.everything()


@pytest.mark.parametrize("page_size", [1, 1000])
@pytest.mark.parametrize(("before", "later"), [(0, 0), (1, 1)])
def test_runs_with_the_same_time_are_all_found(
    letta: Letta, server: Server, page_size: int, before: int, later: int
) -> None:
    """The server swaps cursors, so only dates show on which side of the cursor a page lies."""
    agent = letta.add_agent()
    for _ in range(before):
        letta.talk(agent, "before", date=OLD - timedelta(hours=1))
    merged = Merged()
    for more in (2, 1, 1, 3):
        for _ in range(more):
            letta.talk(agent, "hi", date=OLD)
        if more == 3:
            for _ in range(later):
                letta.talk(agent, "later", date=OLD + timedelta(hours=1))
        assert merged.load(server, "runs", "steps", page_size=page_size).problems == 0
        assert merged.ids("runs") == sorted(letta.tables["runs"].rows)
        assert merged.ids("steps") == sorted(letta.tables["steps"].rows)


def later(server: Server, merged: Merged, **settings: Any) -> list[str]:
    """Load runs, steps and their messages; return the paths of its requests."""
    paths(server)
    merged.load(server, *RUNS, **settings)
    return [path for path, _ in paths(server)]


def never_ending(letta: Letta, count: int, **span: float) -> list[str]:
    agent = letta.add_agent()
    start = datetime.now(timezone.utc) - timedelta(**(span or {"days": 2}))
    return [
        letta.talk(agent, "hi", date=start + timedelta(seconds=number), finished=False)
        for number in range(count)
    ]


def test_many_runs_that_never_finish_cost_a_few_requests(letta: Letta, server: Server) -> None:
    never_ending(letta, 120)
    merged = Merged()
    for _ in range(2):
        merged.load(server, *RUNS)
    assert len(later(server, merged)) < 30


def test_one_of_many_unfinished_runs_is_read_when_it_finishes(letta: Letta, server: Server) -> None:
    runs = never_ending(letta, 60)
    merged, afresh = Merged(), Merged()
    for _ in range(2):
        merged.load(server, *RUNS)
    letta.finish_run(runs[7])
    asked = later(server, merged)
    assert f"/v1/runs/{runs[7]}" in asked
    assert not [path for path in asked if runs[8] in path]
    afresh.load(server, *RUNS)
    assert merged.everything() == afresh.everything()


@pytest.mark.parametrize("limit", [7, 19])
def test_short_pages_of_active_runs_are_not_the_end(
    letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """A host may return fewer than requested; the runs of the next page are active, too."""
    runs = never_ending(letta, 20)
    merged = Merged()
    for _ in range(2):
        merged.load(server, *RUNS)
    monkeypatch.setattr("letta_source.demo.pages._limit", lambda params, listing: limit)
    assert not [path for path in later(server, merged) if any(run in path for run in runs)]
    letta.finish_run(runs[2])
    asked = later(server, merged)
    assert f"/v1/runs/{runs[2]}" in asked
    assert not [path for path in asked if any(run in path for run in runs if run != runs[2])]
    assert Counter(merged.ids("runs", "status")) == {"running": 19, "completed": 1}


def test_one_of_many_unfinished_runs_is_read_when_messages_name_it(letta: Letta, server: Server) -> None:
    runs = never_ending(letta, 60)
    merged = Merged()
    for _ in range(2):
        merged.load(server, *RUNS)
    step, message = add_step(letta, runs[3])
    asked = later(server, merged)
    assert (step, message) in {(row[0], row[1]) for row in merged.rows("step_messages")}
    assert not [path for path in asked if runs[4] in path]


def test_one_of_many_unfinished_runs_is_read_when_its_status_changes(letta: Letta, server: Server) -> None:
    runs = never_ending(letta, 30)
    merged = Merged()
    merged.load(server, *RUNS)
    letta.replace_row("runs", runs[3], status="created")
    merged.load(server, *RUNS)
    assert Counter(merged.ids("runs", "status")) == {"running": 29, "created": 1}


def test_a_host_that_does_not_list_active_runs_is_asked_by_id(
    letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, *_ = never_ending(letta, 20)
    letta.talk(letta.add_agent(), "done", date=OLD)
    monkeypatch.setattr("letta_source.demo.filters._TRUE", ())
    merged = Merged()
    merged.load(server, *RUNS)
    letta.finish_run(run)
    assert f"/v1/runs/{run}" in later(server, merged)
    assert Counter(merged.ids("runs", "status")) == {"running": 19, "completed": 2}


@pytest.mark.parametrize(
    ("days", "swept", "is_read"), [(3, 1, True), (16.5, 1, True), (20, 1, False), (300, 5, False)]
)
def test_runs_that_never_finish_are_read_more_and_more_rarely(
    letta: Letta, days: float, swept: int, is_read: bool
) -> None:
    runs = never_ending(letta, 20, days=days)
    merged = Merged()
    with serve_without_sockets(letta) as server:
        for _ in range(2):
            merged.load(server, *RUNS, reread_window="7d")
        before = datetime.now(timezone.utc) - timedelta(days=swept)
        for state in merged.states.values():
            state["swept"] = {"": before.isoformat()}
            state.pop("reread", None)
        asked = later(server, merged, sweep_interval="1d")
    assert any(runs[0] in path for path in asked) == is_read


def test_a_run_that_was_read_in_part_is_read_again(letta: Letta, server: Server) -> None:
    run, *_ = never_ending(letta, 20)
    bad = letta.list_of("run", run).ids()[-1]
    letta.poison(bad, status=400)
    merged = Merged()
    merged.load(server, *RUNS)
    letta.cure(bad)
    merged.load(server, *RUNS)
    assert bad in merged.ids("step_messages")
