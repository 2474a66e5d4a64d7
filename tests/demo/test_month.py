"""The month of made-up conversations has the shapes of real ones; the package holds it as it is played."""

from __future__ import annotations

import base64
import gzip
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import cache

import pytest
from pydantic import BaseModel

from letta_source import models
from letta_source.demo import Letta, month_letta, recorded_letta
from letta_source.demo.api import answer
from letta_source.demo.recorded import MONTH
from letta_source.demo.shapes import Json, moment
from letta_source.demo.store import Kind, Message
from letta_source.schema.resources import RESOURCES
from tests.support.month import lines_of, played_month

KINDS: tuple[Kind, ...] = ("agents", "groups", "runs", "steps", "conversations", "batches")


@cache
def month() -> Letta:
    return month_letta()


@cache
def recordings() -> Letta:
    return recorded_letta()


def rows(kind: Kind) -> list[Json]:
    """Return the rows of the month alone."""
    known = recordings().tables[kind].rows
    return [row for row_id, row in month().tables[kind].rows.items() if row_id not in known]


@cache
def messages() -> list[Message]:
    return [one for one in month().messages.rows.values() if one.id not in recordings().messages.rows]


def items() -> list[Json]:
    return [item for message in messages() for item in message.items]


def get(path: str, **params: str) -> list[Json]:
    said = answer(month(), "self-hosted", "GET", path, params, {})
    assert said.status == 200
    listed: list[Json] = said.body
    return listed


def everything(letta: Letta) -> tuple[list[Message], list[dict[str, Json]]]:
    return list(letta.messages.rows.values()), [letta.tables[kind].rows for kind in KINDS]


def within(value: object) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for name in value.model_fields_set:
            yield from within(vars(value).get(name))
    elif isinstance(value, list):
        for one in value:
            yield from within(one)


def test_the_packaged_month_equals_the_played_one() -> None:
    with gzip.open(MONTH, "rt", encoding="utf-8") as lines:
        assert lines.read().splitlines() == list(lines_of(played_month()))


def test_the_loaded_month_has_the_played_lists_and_another_seed_differs() -> None:
    again, other = recorded_letta(played_month()), played_month(seed=21)
    assert everything(again) == everything(month())
    lists, held = ({key: index.ids() for key, index in one._lists.items()} for one in (again, month()))
    assert lists == held
    assert not other.tables["runs"].rows.keys() & {run["id"] for run in rows("runs")}


def test_the_recordings_are_unchanged_beside_it() -> None:
    for kind in KINDS:
        assert recordings().tables[kind].rows.items() <= month().tables[kind].rows.items()
    kept = {one: message.items for one, message in month().messages.rows.items()}
    assert {one: message.items for one, message in recordings().messages.rows.items()}.items() <= kept.items()


def test_it_has_enough_of_every_kind() -> None:
    types = Counter(item["message_type"] for item in items())
    assert len(rows("agents")) == 30
    assert 3_000 < len(items()) < 5_000
    assert len({moment(run["created_at"]).date() for run in rows("runs")}) == 30
    heard = {message.agent_id for message in messages() if message.items[0]["message_type"] == "user_message"}
    assert heard == {agent["id"] for agent in rows("agents")}
    returns = Counter(one["status"] for item in items() for one in item.get("tool_returns", ()))
    assert returns["error"] > 40
    assert returns["success"] > 10 * returns["error"]
    decisions = Counter(item["approve"] for item in items() if "approve" in item)
    assert decisions[True] > decisions[False] > 5
    assert types["approval_request_message"] > decisions.total()
    assert types["summary_message"] > 3
    assert types["reasoning_message"] > 500
    feedback = Counter(step["feedback"] for step in rows("steps"))
    assert feedback["positive"] > feedback["negative"] > 5
    assert len({step["model_handle"] for step in rows("steps")}) == 4
    assert sum(run["status"] == "failed" for run in rows("runs")) > 2
    assert {step["error_type"] for step in rows("steps")} == {None, "LLMServerError", "LLMRateLimitError"}
    said = " ".join(item["content"] for item in items() if isinstance(item.get("content"), str))
    assert all(letters in said for letters in ("ü", "¿", "注文番号", "—", "🎁"))


def test_the_pictures_are_valid() -> None:
    parts = [
        part for item in items() if isinstance(item.get("content"), list) for part in item["content"][1:]
    ]
    assert len(parts) > 10
    for part in parts:
        data = base64.b64decode(part["source"]["data"])
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        length = struct.unpack(">I", data[8:12])[0]
        head = data[12 : 16 + length]
        assert struct.unpack(">I", data[16 + length : 20 + length])[0] == zlib.crc32(head)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_have_the_fields_of_recorded_ones_and_fit_the_models(kind: Kind) -> None:
    fields = {name for row in recordings().tables[kind].rows.values() for name in row}
    for row in rows(kind):
        assert row.keys() <= fields
        assert [one for one in within(RESOURCES[kind].adapter.validate_python(row)) if one.model_extra] == []


def test_messages_have_the_fields_of_recorded_ones_and_fit_the_models() -> None:
    fields: dict[str, set[str]] = {
        # Never recorded; its fields come from the API reference.
        "summary_message": set(models.SummaryMessage.model_fields)
    }
    for message in recordings().messages.rows.values():
        for item in message.items:
            fields.setdefault(item["message_type"], set()).update(item)
    for item in items():
        assert item.keys() <= fields[item["message_type"]], item["message_type"]
        model = RESOURCES["agent_messages"].adapter.validate_python(item)
        strange = [one for one in within(model) if isinstance(one, models.UnknownMessage) or one.model_extra]
        assert strange == []


def test_a_batch_has_the_servers_own_shape() -> None:
    [batch] = rows("batches")
    found = answer(month(), "self-hosted", "GET", f"/v1/messages/batches/{batch['id']}/messages", {}, {}).body
    assert len(found["messages"]) == 24
    for message in found["messages"]:
        RESOURCES["batch_messages"].adapter.validate_python(message)


def test_all_references_resolve() -> None:
    agents, runs, steps = ({row["id"]: row for row in rows(kind)} for kind in ("agents", "runs", "steps"))
    conversations = {row["id"] for row in rows("conversations")}
    assert {run["agent_id"] for run in runs.values()} <= agents.keys()
    assert {run["conversation_id"] for run in runs.values()} - {None} <= conversations
    assert {step["run_id"] for step in steps.values()} <= runs.keys()
    for message in messages():
        if message.run_id:
            assert runs[message.run_id]["agent_id"] == message.agent_id
        if message.step_id:
            assert steps[message.step_id]["agent_id"] == message.agent_id
            assert message.run_id


def test_every_call_returns_unless_denied_or_not_approved() -> None:
    waiting: set[str] = set()
    for item in items():
        waiting |= {one["tool_call_id"] for one in item.get("tool_calls", ())}
        waiting -= {one["tool_call_id"] for one in item.get("tool_returns", ())}
        waiting -= {one["tool_call_id"] for one in item.get("approvals", ()) if not one["approve"]}
    asked = {
        one["tool_call_id"]
        for item in items()
        if item["message_type"] == "approval_request_message"
        for one in item["tool_calls"]
    }
    assert 0 < len(waiting) < 20
    assert waiting <= asked


def test_times_and_tokens_are_consistent() -> None:
    for run in rows("runs"):
        began, ended = moment(run["created_at"]), moment(run["completed_at"])
        assert run["total_duration_ns"] == (ended - began) // timedelta(microseconds=1) * 1000
        assert (run["ttft_ns"] or 0) < run["total_duration_ns"]
        dates = [month().messages.rows[one].created_at for one in month().list_of("run", run["id"]).ids()]
        assert dates == sorted(dates)
        assert began <= dates[0] <= dates[-1] <= ended
    for step in rows("steps"):
        assert step["total_tokens"] == step["prompt_tokens"] + step["completion_tokens"]
        assert (step["cached_input_tokens"] or 0) + (step["cache_write_tokens"] or 0) <= step["prompt_tokens"]
        assert (step["reasoning_tokens"] or 0) <= step["completion_tokens"]


def test_a_supervisors_messages_are_in_its_group() -> None:
    groups = {row["manager_type"]: row for row in rows("groups")}
    assert groups.keys() == {"supervisor", "round_robin"}
    for group in groups.values():
        listed = get(f"/v1/groups/{group['id']}/messages", use_assistant_message="false", limit="1000")
        calls = {call["name"] for item in listed for call in item.get("tool_calls", ())}
        managed = group["manager_type"] == "supervisor"
        assert calls == {"send_message_to_all_agents_in_group" if managed else "grep_repository"}
    # The members answer the supervisor.
    supervisor = groups["supervisor"]["manager_agent_id"]
    heard = Counter(message.agent_id for message in messages() if message.items[0]["sender_id"] == supervisor)
    assert heard.keys() == set(groups["supervisor"]["agent_ids"])
    # Their answers come between its call and the return.
    told = [message for message in messages() if message.group_ids == (groups["supervisor"]["id"],)]
    kinds = [
        "".join(item["message_type"][:6] for item in one.items)
        for one in told[:12]
        if one.agent_id == supervisor
    ]
    assert told[0].agent_id == told[11].agent_id == supervisor
    assert kinds == ["user_m", "reasontool_c", "tool_r", "reasonassist"]


def test_the_server_pages_it_like_everything_else() -> None:
    path, lossless = f"/v1/agents/{rows('agents')[0]['id']}/messages", {"use_assistant_message": "false"}
    whole = get(path, order="asc", limit="1000", **lossless)
    paged: list[Json] = []
    while page := get(
        path, order="asc", limit="7", **lossless, **({"after": paged[-1]["id"]} if paged else {})
    ):
        paged += page
    assert paged == whole
    assert len(whole) > 200
