"""Checks that an export from any destination has every row, and the same types, order and children."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import dlt
import pytest

from letta_source.destinations.dlt_files import Files
from letta_source.export import conversation, files, to_arrow, to_pandas
from letta_source.loading.dataset import reading
from letta_source.loading.target import Target
from letta_source.schema.columns import DELETED
from tests.support.expected_rows import AS_THEY_ARE_NOW, LOADED
from tests.support.library_loads import TABLES, Row, columns_of, in_order
from tests.support.places import Place, plain


def check_exports(place: Place) -> None:
    """Compare what is exported with what the place holds, and export some of it."""
    options = dict(zip(place.options[::2], place.options[1::2], strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.folder)
        for name, value in place.environment.items():
            patch.setenv(name, value)
        # Each export looks up the files of every table, and nothing is loaded between these.
        patch.setattr(files, "_paths", _remembering(files._paths))
        target = Target(
            "letta", options.get("--destination", "duckdb"), options.get("--dataset-name", "letta")
        )
        with reading(target.resolved()) as pipeline:
            _every_row(pipeline, place)
            _what_is_asked_for(pipeline)


def _remembering(look_up: Callable[[Files, str], Sequence[str]]) -> Callable[[Files, str], Sequence[str]]:
    known: dict[str, Sequence[str]] = {}

    def paths(of: Files, table: str) -> Sequence[str]:
        if table not in known:
            known[table] = look_up(of, table)
        return known[table]

    return paths


def _read(table: str, rows: list[dict[str, Any]]) -> list[Row]:
    """Return the rows in the form that a place returns."""
    types = {column.name: column.type for column in TABLES[table].columns}
    names = [name for name in columns_of(table) if name != DELETED.name]
    return [tuple(plain(types[name], row[name]) for name in names) for row in rows]


def _stored(place: Place, table: str) -> list[Row]:
    names = [name for name in columns_of(table) if name != DELETED.name]
    if place.kind != "appends" or table not in AS_THEY_ARE_NOW:
        return place.rows(table, *names)
    # There is a row for each change.
    by_load = sorted(place.rows(table, "_dlt_load_id", *names), key=lambda row: float(row[0]))
    return in_order({row[1]: row[1:] for row in by_load}.values())


def _every_row(pipeline: dlt.Pipeline, place: Place) -> None:
    order: dict[str, list[Row]] = {}
    for table in (table for resource in LOADED for table in resource.tables):
        exported = to_arrow(pipeline, table.name)
        assert list(exported.schema) == [one for one in table.arrow_schema if one.name != DELETED.name]
        order[table.name] = _read(table.name, exported.to_pylist())
        assert in_order(order[table.name]) == _stored(place, table.name)
    messages = to_arrow(pipeline, "agent_messages", children=True)
    assert _read("agent_messages", messages.to_pylist()) == order["agent_messages"]
    ids = messages["agent_id"].to_pylist()
    # In order of bytes, whatever the database's collation.
    assert ids == sorted(ids)
    for child in ("content", "tool_calls", "tool_returns", "approvals"):
        found = [len(rows) for rows in messages[child].to_pylist()]
        assert sum(found) == len(order[f"agent_messages__{child}"])


def _what_is_asked_for(pipeline: dlt.Pipeline) -> None:
    rows = to_arrow(pipeline, "agent_messages").to_pylist()
    by_agent: dict[str, set[datetime]] = {}
    for row in rows:
        by_agent.setdefault(row["agent_id"], set()).add(row["created_at"])
    agent_id, said = max(by_agent.items(), key=lambda agent: len(agent[1]))
    dates = sorted(said)
    frame = to_pandas(
        pipeline,
        "agent_messages",
        columns=["id", "position", "created_at", "extra"],
        agent_ids=[agent_id],
        start_date=dates[1],
        end_date=dates[-1],
        message_types=["user_message", "tool_call_message", "assistant_message"],
    )
    assert list(zip(frame.id, frame.position, strict=True)) == [
        (row["id"], row["position"])
        for row in rows
        if row["agent_id"] == agent_id
        and dates[1] <= row["created_at"] < dates[-1]
        and row["message_type"] in ("user_message", "tool_call_message", "assistant_message")
    ]
    assert len(frame)
    assert str(frame.dtypes["created_at"]) == "datetime64[us, UTC]"
    steps = to_arrow(pipeline, "steps", start_date=dates[1]).to_pylist()
    runs = {run["id"] for run in to_arrow(pipeline, "runs", start_date=dates[1]).to_pylist()}
    assert {step["run_id"] for step in steps} <= runs
    assert str(conversation(pipeline, agent_id)).count("**User** · ") > 0
