"""Any value in a response is data: it is loaded, or named in load_issues, and the next load continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from letta_source.demo import Server
from letta_source.demo.api import Dialect, answer
from letta_source.items import id_of
from letta_source.safe_text import clean
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES
from letta_source.times import parse_time
from tests.support.library_loads import EVERY_RESOURCE, Merged, Warehouse, columns_of, issues, small_letta
from tests.support.wire import HOST, answering, no_waits

Answers = dict[str, Any]

CREDENTIALS = {"secrets", "tool_exec_environment_variables"}
# Placeholders for values that Python's json cannot write.
DEEP = "ten thousand levels"
HUGE = "five thousand digits"
RAW = {DEEP: b"[" * 10_000 + b"]" * 10_000, HUGE: b"1" * 5_000}
ODD: list[Any] = [
    None,
    True,
    5,
    2**63,
    2**200,
    -1.5,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "a\0b",
    "\ud800",
    "soon",
    "2026-11-21",
    "2026-11-21T08:09:28",
    "9999-12-31T24:00:00Z",
    "../agents",
    DEEP,
    [],
    {},
    [None, 5, "five", []],
    [{"id": 5, "type": ["text"]}],
    {"id": {}, "type": "image", "text": 1, "source": {"type": 5}},
    {"a\0": "one", "a": "two", "\ud800": [{"id": "x", "status": []}]},
]
LISTS = {
    "agents": "/v1/agents/",
    "groups": "/v1/groups/",
    "runs": "/v1/runs/",
    "steps": "/v1/steps/",
    "conversations": "/v1/conversations/",
    "batches": "/v1/messages/batches",
    "messages": "/v1/messages/",
}
OF_PARENTS = {
    "agent_messages": ("agents", "/v1/agents/{}/messages"),
    "group_messages": ("groups", "/v1/groups/{}/messages"),
    "conversation_messages": ("conversations", "/v1/conversations/{}/messages"),
    "batch_messages": ("batches", "/v1/messages/batches/{}/messages"),
    "step_messages": ("steps", "/v1/steps/{}/messages"),
}


@cache
def _recorded() -> Answers:
    """Return every response of a small Letta, by path."""
    letta = small_letta(2)

    def ask(path: str, dialect: Dialect = "self-hosted") -> Any:
        params = {"order": "asc", "limit": "1000"}
        return answer(letta, dialect, "GET", path, params, {}).body

    made = {path: ask(path) for path in LISTS.values()} | {LISTS["steps"]: ask(LISTS["steps"], "cloud")}
    for parents, path in [*OF_PARENTS.values(), ("runs", "/v1/runs/{}/steps")]:
        made |= {path.format(one["id"]): ask(path.format(one["id"])) for one in made[LISTS[parents]]}
    return made


def _server(answers: Answers) -> Callable[[httpx.Request], httpx.Response]:
    """Return a handler that serves the answers; of a list, all items after the cursor."""

    def found(request: httpx.Request) -> Any:
        path, params = request.url.path, request.url.params
        if path not in answers:
            parent, _, one_id = path.rpartition("/")
            listed = next((answers.get(place) for place in (parent, f"{parent}/") if place in answers), None)
            return next((item for item in listed or () if id_of(item) == one_id), KeyError)
        body = answers[path]
        if (
            params.get("order") == "desc"
            and isinstance(body, dict)
            and isinstance(body.get("messages"), list)
        ):
            return {**body, "messages": body["messages"][::-1]}
        if not isinstance(body, list) or not params.keys() & {"after", "before"}:
            return body
        ids = [id_of(item) for item in body]
        cursor = params.get("after") or params.get("before")
        if cursor not in ids:
            return KeyError
        last = len(ids) - 1 - ids[::-1].index(cursor)
        return body[last + 1 :] if "after" in params else body[: ids.index(cursor)]

    def handler(request: httpx.Request) -> httpx.Response:
        body = found(request)
        if body is KeyError:
            if request.url.path == LISTS["steps"]:
                # As on every self-hosted server: steps are reached through runs.
                return httpx.Response(400, json={"detail": "Argument order does not match type"})
            return httpx.Response(404, json={"detail": "No message found with id"})
        sent = json.dumps(body).encode()
        for name, raw in RAW.items():
            sent = sent.replace(json.dumps(name).encode(), raw)
        return httpx.Response(200, content=sent, headers={"content-type": "application/json"})

    return handler


def _load(merged: Merged, answers: Answers) -> list[tuple[str, str, str]]:
    """Load everything; return what this load adds to load_issues."""
    merged.tables.pop(LOAD_ISSUES.name, None)
    with no_waits(), answering(_server(answers)):
        merged.load(Server(HOST), *EVERY_RESOURCE)
    return issues(merged.rows(LOAD_ISSUES.name))


def _ids(body: Any) -> list[str]:
    return [found for item in body if (found := id_of(item))] if isinstance(body, list) else []


def _sent(answers: Answers) -> Iterator[tuple[str, str | None, Any]]:
    """Yield each resource, the parent's id, and the value that was sent as its items."""
    lists = [(name, answers[path]) for name, path in LISTS.items() if path in answers]
    if LISTS["steps"] not in answers:
        runs = _ids(answers[LISTS["runs"]])
        lists += [("steps", answers.get(f"/v1/runs/{run_id}/steps")) for run_id in runs]
    for resource, body in lists:
        yield resource, None, body
    for resource, (parents, path) in OF_PARENTS.items():
        for parent_id in {found for name, body in lists if name == parents for found in _ids(body)}:
            sent = answers.get(path.format(parent_id))
            if resource == "batch_messages" and isinstance(sent, dict):
                sent = sent.get("messages", sent)
            yield resource, parent_id, sent


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a value that must be found in the tables."""
    if isinstance(value, str) and value != DEEP:
        yield clean(value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(inner)


def _landed(merged: Merged, resource: str) -> dict[tuple[str | None, str], str]:
    """Return all cells of each message or entity and its children as one text, by parent and id."""
    landed: dict[tuple[str | None, str], str] = {}
    parent = RESOURCES[resource].parent
    for table in RESOURCES[resource].tables:
        for row in merged.rows(table.name):
            cells = dict(zip(columns_of(table.name), row, strict=True))
            key = (cells[parent.name] if parent else None, cells.get("message_id") or cells["id"])
            times = [cell.isoformat() for cell in row if isinstance(cell, datetime)]
            landed[key] = "\n".join([landed.get(key, ""), *filter(_is_text, row), *times])
    return landed


def _is_text(cell: Any) -> bool:
    return isinstance(cell, str)


def _is_in(text: str, landed: str) -> bool:
    """Return True if a column holds the text, as it is, in json or as a time."""
    if text in landed or json.dumps(text, ensure_ascii=False)[1:-1] in landed:
        return True
    try:
        return parse_time(text).isoformat() in landed
    except ValueError:
        return False


def _check(merged: Merged, answers: Answers, found: list[tuple[str, str, str]]) -> None:
    named = {resource for resource, _, _ in found}
    for resource, parent_id, body in _sent(answers):
        if not isinstance(body, list):
            assert body is None or resource in named
            continue
        landed = _landed(merged, resource)
        ids = _ids(body)
        assert len(ids) == len(body) or resource in named
        for item in body:
            if (item_id := id_of(item)) is None:
                continue
            cells = landed[parent_id, item_id]
            # Entities without a parent have one row per id.
            if RESOURCES[resource].parent or ids.count(item_id) == 1:
                sent = {name: value for name, value in item.items() if name not in CREDENTIALS}
                assert [text for text in _texts(sent) if not _is_in(text, cells)] == []


odd = st.sampled_from(ODD) | st.recursive(
    st.sampled_from(ODD) | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def _answers(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Answers:
    """Return recorded answers in which values are odd, missing, or renamed."""
    answers = deepcopy(_recorded())
    if draw(st.booleans()):
        del answers[LISTS["steps"]]
    for _ in range(draw(st.integers(1, 8))):
        holder: Any = answers
        key: Any = draw(st.sampled_from(sorted(answers)))
        while isinstance(holder[key], (dict, list)) and holder[key] and draw(st.integers(0, 9)):
            holder = holder[key]
            key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        what = draw(st.sampled_from(["odd", "odd", "odd", "gone", "renamed"]))
        if what == "odd" or holder is answers:
            # A later change may go into it, and must not change what is drawn.
            holder[key] = deepcopy(draw(odd))
        else:
            value = holder.pop(key)
            if what == "renamed" and isinstance(holder, dict):
                holder[draw(st.text(max_size=3) | st.sampled_from(["id", "date", "status"]))] = value
    return answers


@pytest.mark.whole
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(data=st.data())
def test_any_value_is_loaded_or_reported(data: st.DataObject) -> None:
    answers = _answers(data.draw)
    merged = Merged()
    _check(merged, answers, _load(merged, answers))
    once = merged.everything()
    _load(merged, answers)
    assert merged.everything() | {LOAD_ISSUES.name: []} == once | {LOAD_ISSUES.name: []}


def _hard_cases(messages: list[Any]) -> list[Any]:
    """Return messages whose ids say what is hard about them, and three elements without an id."""
    template = next(item for item in messages if item["message_type"] == "tool_return_message")
    hard: dict[str, Any] = {
        "20 MB": {"tool_return": "x" * 20_000_000, "tool_returns": None},
        "huge integer": {"seq_id": 2**200, "is_err": 2**200, "name": 2**200},
        "integer of 5000 digits": {"metadata": [HUGE]},
        "10000 levels": {"content": DEEP, "metadata": {"a": DEEP}, "name": DEEP, "date": DEEP},
        "NUL": _replaced(template, "a\0b"),
        "lone surrogate": _replaced(template, "a\ud800b"),
        "unknown type": {"message_type": "telepathy_message", "vibes": [{"a": 1}]},
        "type null": {"message_type": None},
        "type list": {"message_type": []},
        "no zone": {"date": "2024-05-04T03:00:00"},
        "no date": {"date": None},
        "date beyond the calendar": {"date": "9999-12-31T24:00:00Z"},
        "date a number": {"date": 1714791600},
        "NaN": {"seq_id": float("nan"), "event_data": {"a": float("-inf")}, "name": float("inf")},
        "content a number": {"content": 5},
        "content of numbers": {"content": [5, None, ["a"], True]},
        "tool_calls null": {"tool_calls": None},
        "tool_calls an object": {"tool_calls": {"name": "roll", "arguments": {"sides": 6}}},
        "tool_returns a text": {"tool_returns": "done"},
        "approvals a number": {"approvals": 5, "approve": "maybe"},
        "null everywhere": dict.fromkeys(template),
        "a list everywhere": {name: [] for name in template},
    }
    made = [{**template, **fields, "id": name.replace(" ", "-")} for name, fields in hard.items()]
    return [made[0], [], *made[1:3], {"id": 5}, None, *made[3:]]


def _replaced(value: Any, text: str) -> Any:
    """Return `value` with the text in place of everything except lists and objects."""
    if isinstance(value, dict):
        return {name: _replaced(inner, text) for name, inner in value.items()}
    return [_replaced(inner, text) for inner in value] if isinstance(value, list) else text


@pytest.mark.whole
def test_unusual_values_are_loaded_and_do_not_stop_the_cursors(tmp_path: Path) -> None:
    answers = deepcopy(_recorded())
    agents, runs = answers[LISTS["agents"]], answers[LISTS["runs"]]
    agents[1] |= {"llm_config": 5, "tags": "one", "created_at": 5, "hidden": "no", "max_files_open": 2**70}
    runs[0] |= {"status": {}, "completed_at": [], "agent_id": 5}
    runs[1] |= {"status": ["running"], "created_at": None}
    messages = answers[f"/v1/agents/{agents[0]['id']}/messages"]
    del answers[f"/v1/agents/{agents[1]['id']}/messages"][:]
    messages[:] = _hard_cases(messages)
    warehouse = Warehouse(tmp_path)

    def load() -> tuple[int, int, int]:
        counts = warehouse.load(Server(HOST), "agents", "runs", "agent_messages").counts["agent_messages"]
        return counts.items, counts.problems, counts.known

    with no_waits(), answering(_server(answers)):
        assert load() == (len(messages) - 3, 2, 0)
        messages.append({"id": "new", "date": "2024-05-04T05:00:00Z"})
        assert load() == (1, 2, 2)

    assert [kind for *_, kind in issues(warehouse.rows(LOAD_ISSUES.name))] == ["no_id"] * 2
    landed: dict[str, Any] = dict(warehouse.rows("agent_messages", "id", "extra"))
    assert landed.keys() == {*_ids(messages)}
    extra = {message_id: json.loads(cell or "{}") for message_id, cell in landed.items()}
    assert extra["huge-integer"] == {"seq_id": 2**200, "is_err": 2**200}
    assert extra["integer-of-5000-digits"]["metadata"] == ["1" * 5000]
    assert extra["NaN"]["seq_id"] == "NaN"
    assert extra["date-a-number"] == {"date": 1714791600}
    returns: dict[str, Any] = dict(
        warehouse.rows("agent_messages__tool_returns", "message_id", "tool_return")
    )
    assert len(returns["20-MB"]) == 20_000_000
    assert returns["NUL"] == "a\ufffdb"
    assert returns["lone-surrogate"] == "a\ufffdb"
    assert ("10000-levels",) in warehouse.rows("agent_messages__content", "message_id")
    assert warehouse.rows("agents", "llm_config", "tags")[0] == ("5", '"one"')
    assert len(warehouse.rows("runs")) == len(runs)


@pytest.fixture
def answers() -> Answers:
    """Return answers without a list of steps, which are reached through runs."""
    answers = deepcopy(_recorded())
    del answers[LISTS["steps"]]
    return answers


def _named(answers: Answers, *resources: str, **settings: Any) -> tuple[Merged, list[tuple[str, str, str]]]:
    merged = Merged()
    with no_waits(), answering(_server(answers)):
        merged.load(Server(HOST), *resources, **settings)
    return merged, issues(merged.rows(LOAD_ISSUES.name))


def test_an_agent_without_an_id_is_reported_when_only_messages_are_loaded(answers: Answers) -> None:
    answers[LISTS["agents"]].insert(1, {"id": 5})
    merged, named = _named(answers, "agent_messages")
    assert named == [("agent_messages", "", "unreadable")]
    assert set(merged.ids("agent_messages", "agent_id")) == set(_ids(answers[LISTS["agents"]]))
    assert _named(answers, "agents", "agent_messages")[1] == [("agents", "", "no_id")]


def test_an_unreadable_step_does_not_stop_the_others_of_its_run(answers: Answers) -> None:
    run_id = _ids(answers[LISTS["runs"]])[0]
    steps = answers[f"/v1/runs/{run_id}/steps"]
    good, bad = steps[0], {**steps[0], "id": "step-bad"}
    answers["/v1/steps/step-bad/messages"] = {}
    for other in ({"id": None}, bad):
        steps[:] = [other, good]
        merged, named = _named(answers, "step_messages")
        assert named == [("step_messages", run_id, "unreadable")]
        assert good["id"] in merged.ids("step_messages", "step_id")


@pytest.mark.parametrize("members", [[[], {}], [{"id": "agent"}, None], [5]])
def test_group_members_of_any_shape_do_not_match_requested_agents(
    answers: Answers, members: list[Any]
) -> None:
    group, agent_id = answers[LISTS["groups"]][0], answers[LISTS["agents"]][0]["id"]
    for wanted, others in ([], members), ([group["id"]], [*members, agent_id]):
        group |= {"agent_ids": others, "manager_agent_id": []}
        merged, _ = _named({**answers, LISTS["groups"]: [group]}, "groups", agent_ids=[agent_id])
        assert merged.ids("groups") == wanted


def _unfinished(merged: Merged) -> list[set[str]]:
    """Return the runs that will be read again, for the three resources that follow them."""
    return [set(merged.states[name]["unsettled"][""]) for name in ("runs", "steps", "step_messages")]


def _running(answers: Answers) -> tuple[str, Merged]:
    """Load while the first run is unfinished; return its id and the tables."""
    # A run with `completed_at` is finished, whatever its status.
    answers[LISTS["runs"]][0] |= {"status": "running", "completed_at": None}
    merged = Merged()
    _load(merged, answers)
    run_id = answers[LISTS["runs"]][0]["id"]
    assert _unfinished(merged) == [{run_id}] * 3
    return run_id, merged


@pytest.mark.parametrize("sent", [{}, {"created_at": [], "status": {}}, {"id": {}}, {"id": "another"}])
def test_a_malformed_run_is_reported_and_requested_again(answers: Answers, sent: Any) -> None:
    run_id, merged = _running(answers)
    answers[f"/v1/runs/{run_id}"] = {"status": "completed", **sent}
    named = _load(merged, answers)
    assert {(name, run_id, "unreadable") for name in ("runs", "steps", "step_messages")} <= set(named)
    assert _unfinished(merged) == [{run_id}] * 3


def test_a_batch_without_messages_is_reported(answers: Answers) -> None:
    (batch_id, *_) = _ids(answers[LISTS["batches"]])
    answers[f"/v1/messages/batches/{batch_id}/messages"] = {"data": []}
    assert _named(answers, "batch_messages")[1] == [("batch_messages", batch_id, "unreadable")]
