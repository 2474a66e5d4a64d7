"""Exported tables of a loaded dataset: every row and type, filters, order, only completed loads."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from shutil import copytree
from typing import Any

import dlt
import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from letta_source import letta as letta_source
from letta_source.demo import Letta, Server, serve
from letta_source.errors import Changed, ConfigError
from letta_source.export import batches, readers, to_arrow, to_pandas
from letta_source.schema.resources import RESOURCES
from tests.support.command import two_agents
from tests.support.library_loads import TABLES, Warehouse, columns_of, in_order

ROOTS = {resource.root.name: resource for resource in RESOURCES.values()}


@pytest.fixture(scope="module")
def loaded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a warehouse of two agents."""
    folder = tmp_path_factory.mktemp("loaded")
    warehouse = Warehouse(folder)
    with serve(two_agents()) as server:
        warehouse.load(server, "agents", "agent_messages")
    warehouse.close()
    return folder


@pytest.fixture
def own(tmp_path: Path, loaded_once: Path) -> Warehouse:
    """Return a warehouse of two agents that a test may change."""
    copytree(loaded_once, tmp_path, dirs_exist_ok=True)
    return Warehouse(tmp_path)


def changed(warehouse: Warehouse, statement: str, *values: Any) -> None:
    with warehouse.pipeline.sql_client() as client:
        client.execute_sql(statement, *values)


def rows(table: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.to_pylist()
    return found


@pytest.mark.parametrize(
    "name", ["agents", "steps", "batches", "agent_messages", "agent_messages__content", "batch_messages"]
)
def test_a_table_comes_whole_with_its_types(recorded: Warehouse, name: str) -> None:
    exported = to_arrow(recorded.pipeline, name)
    assert list(exported.schema) == [one for one in TABLES[name].arrow_schema if one.name != "_deleted"]
    wanted = [column for column in columns_of(name) if column != "_deleted"]
    found = [tuple(row[column] for column in wanted) for row in rows(exported)]
    assert in_order(found) == recorded.rows(name, *wanted)


def test_pandas_has_times_with_zone_integers_and_objects(recorded: Warehouse) -> None:
    messages = to_pandas(recorded.pipeline, "agent_messages", children=["tool_calls"])
    assert str(messages.dtypes["created_at"]) == "datetime64[us, UTC]"
    assert str(messages.dtypes["sequence"]) == "Int64"
    assert str(messages.dtypes["is_err"]) == "boolean"
    calls = messages.tool_calls[messages.tool_calls.str.len() == 2].iloc[0]
    assert [type(call["arguments_json"]) for call in calls] == [dict, dict]
    agents = to_pandas(recorded.pipeline, "agents")
    assert {type(config) for config in agents.llm_config} == {dict}
    assert {type(tags) for tags in agents.tags} == {list}
    assert agents.llm_config[0] == json.loads(recorded.rows("agents", "llm_config")[0][0])


def test_no_rows_are_a_frame_with_all_columns(recorded: Warehouse) -> None:
    frame = to_pandas(recorded.pipeline, "agent_messages", message_types=["none_such"], children=True)
    assert frame.empty
    assert list(frame.columns)[-4:] == ["content", "tool_calls", "tool_returns", "approvals"]


@pytest.mark.parametrize("root", ["agent_messages", "step_messages", "batch_messages"])
def test_children_are_those_of_their_own_tables(recorded: Warehouse, root: str) -> None:
    key = ROOTS[root].root.primary_key
    found = rows(to_arrow(recorded.pipeline, root, children=True))
    for child, table in (ROOTS[root].children or {}).items():
        expected: dict[Any, list[Any]] = {}
        for row in sorted(rows(to_arrow(recorded.pipeline, table.name)), key=lambda row: row["idx"]):
            left_out = (*table.primary_key, "_dlt_load_id")
            kept = {name: value for name, value in row.items() if name not in left_out}
            expected.setdefault(tuple(row[name] for name in table.primary_key[:-1]), []).append(kept)
        nested = {tuple(row[name] for name in key): row[child] for row in found}
        assert {at: lists for at, lists in nested.items() if lists} == expected
        assert all(lists is not None for lists in nested.values())


def test_only_selected_columns_and_rows_are_returned(recorded: Warehouse) -> None:
    everything = rows(to_arrow(recorded.pipeline, "agent_messages"))
    agent_id = everything[0]["agent_id"]
    dates = sorted({row["created_at"] for row in everything})
    start, end = dates[1], dates[-1]
    found = rows(
        to_arrow(
            recorded.pipeline,
            "agent_messages",
            agent_ids=[agent_id],
            start_date=start.isoformat(),
            end_date=end,
            message_types=["user_message", "assistant_message"],
        )
    )
    assert found == [
        row
        for row in everything
        if row["agent_id"] == agent_id
        and start <= row["created_at"] < end
        and row["message_type"] in ("user_message", "assistant_message")
    ]
    assert 0 < len(found) < len(everything)


def test_the_start_is_inclusive_and_the_end_exclusive(recorded: Warehouse) -> None:
    date = rows(to_arrow(recorded.pipeline, "runs"))[0]["created_at"]
    after = date + timedelta(microseconds=1)
    assert to_arrow(recorded.pipeline, "runs", start_date=date, end_date=after).num_rows == 1
    assert to_arrow(recorded.pipeline, "runs", end_date=date).num_rows == 0


def test_rows_of_a_child_are_filtered_by_their_messages(recorded: Warehouse) -> None:
    calls = rows(
        to_arrow(recorded.pipeline, "agent_messages__tool_calls", message_types=["tool_call_message"])
    )
    asked = to_arrow(
        recorded.pipeline, "agent_messages", message_types=["tool_call_message"], children=["tool_calls"]
    )
    assert [call["tool_call_id"] for call in calls] == [
        call["tool_call_id"] for row in rows(asked) for call in row["tool_calls"]
    ]
    assert calls


# Only their parent names an agent or has a date.
def test_steps_are_filtered_by_their_run_and_their_messages_by_the_step(recorded: Warehouse) -> None:
    runs = {row["id"]: row["created_at"] for row in rows(to_arrow(recorded.pipeline, "runs"))}
    steps = rows(to_arrow(recorded.pipeline, "steps"))
    middle = sorted(runs.values())[len(runs) // 2]
    late = to_arrow(recorded.pipeline, "steps", start_date=middle)
    assert rows(late) == [step for step in steps if runs[step["run_id"]] >= middle]
    agent_id = steps[0]["agent_id"]
    own = {step["id"] for step in steps if step["agent_id"] == agent_id}
    messages = rows(to_arrow(recorded.pipeline, "step_messages"))
    chosen = rows(to_arrow(recorded.pipeline, "step_messages", agent_ids=[agent_id]))
    assert chosen == [row for row in messages if row["step_id"] in own]
    assert 0 < len(chosen) < len(messages)


def test_rows_are_sorted_by_parent_date_and_sequence_null_first(own: Warehouse) -> None:
    changed(own, "UPDATE agent_messages SET created_at = '2024-05-04T00:00:00Z'")
    changed(own, "UPDATE agent_messages SET sequence = NULL WHERE message_type = 'tool_return_message'")
    changed(own, "UPDATE agent_messages SET created_at = NULL WHERE message_type = 'assistant_message'")
    found = rows(to_arrow(own.pipeline, "agent_messages"))

    def key(row: dict[str, Any]) -> Any:
        dated, counted = row["created_at"] is not None, row["sequence"] is not None
        early = row["created_at"] or datetime.min.replace(tzinfo=timezone.utc)
        return (row["agent_id"], dated, early, counted, row["sequence"] or 0, row["id"], row["position"])

    assert found == sorted(found, key=key)
    assert {row["sequence"] is None for row in found} == {True, False}


def test_ids_that_collations_sort_differently_find_their_children(own: Warehouse) -> None:
    ids = [row["id"] for row in rows(to_arrow(own.pipeline, "agent_messages", columns=["id"]))]
    for strange, id_ in zip(
        ["a-b", "aB", "ab", "Ab", "ä", "a", "_", "Z", "ß"], dict.fromkeys(ids), strict=False
    ):
        changed(own, "UPDATE agent_messages SET id = %s WHERE id = %s", strange, id_)
        for child in ("content", "tool_calls", "tool_returns"):
            table = f"agent_messages__{child}"
            changed(own, f"UPDATE {table} SET message_id = %s WHERE message_id = %s", strange, id_)
    found = rows(to_arrow(own.pipeline, "agent_messages", children=True))
    assert sum(len(row["tool_calls"]) for row in found) == 2
    assert sum(len(row["content"]) for row in found) == len(own.rows("agent_messages__content"))


def test_rows_of_a_load_that_has_not_finished_are_left_out(own: Warehouse) -> None:
    before = to_arrow(own.pipeline, "agent_messages", children=True)
    columns = ", ".join(f'"{name}"' for name in columns_of("agent_messages"))
    changed(
        own,
        f"INSERT INTO agent_messages ({columns}, _dlt_load_id)"
        f" SELECT * REPLACE ('message-new' AS id), '9' FROM (SELECT {columns} FROM agent_messages LIMIT 1)",
    )
    assert to_arrow(own.pipeline, "agent_messages", children=True).equals(before)
    changed(own, "INSERT INTO _dlt_loads SELECT '9', * EXCLUDE (load_id) FROM _dlt_loads LIMIT 1")
    assert to_arrow(own.pipeline, "agent_messages").num_rows == before.num_rows + 1


def test_columns_missing_in_an_older_warehouse_are_null(own: Warehouse) -> None:
    changed(own, "ALTER TABLE agent_messages DROP COLUMN sequence")
    changed(own, "ALTER TABLE agent_messages__tool_calls DROP COLUMN arguments_json")
    changed(own, "DROP TABLE agent_messages__approvals")
    found = rows(to_arrow(own.pipeline, "agent_messages", children=True))
    assert {row["sequence"] for row in found} == {None}
    assert {call["arguments_json"] for row in found for call in row["tool_calls"]} == {None}
    assert [row["approvals"] for row in found] == [[]] * len(found)


def test_batches_are_small_and_iteration_can_stop_early(
    own: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "ROWS", 3)
    found = batches(own.pipeline, "agent_messages", children=True)
    assert next(found).num_rows == 3
    found.close()  # type: ignore[attr-defined]
    assert to_arrow(own.pipeline, "agent_messages").num_rows == len(own.rows("agent_messages"))


def test_a_sort_that_needs_more_memory_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "large.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE SCHEMA letta")
        connection.execute(
            "CREATE TABLE letta.runs AS SELECT md5(range::VARCHAR) AS id, repeat('x', 200) AS status,"
            " NULL::TIMESTAMPTZ AS created_at, '1' AS _dlt_load_id FROM range(200000)"
        )
        connection.execute("CREATE TABLE letta._dlt_loads AS SELECT '1' AS load_id, 0 AS status")
    limits: list[int] = []
    grant = readers.DuckDB._add_memory

    def watched(self: readers.DuckDB, megabytes: int) -> None:
        grant(self, megabytes)
        limits.append(self._memory)

    monkeypatch.setattr(readers.DuckDB, "_add_memory", watched)
    monkeypatch.setattr(readers, "_MEMORY", 4)
    destination = dlt.destinations.duckdb(str(file))
    pipeline = dlt.pipeline("large", str(tmp_path / "dlt"), destination=destination, dataset_name="letta")
    ids = to_arrow(pipeline, "runs", columns=["id"])["id"].to_pylist()
    assert len(limits) > 1
    assert len(ids) == 200_000
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("table", "what", "said"),
    [
        ("agent_mesages", {}, "unknown table 'agent_mesages': did you mean agent_messages?"),
        ("agents", {"columns": ["nam"]}, "unknown column of agents 'nam': did you mean name?"),
        ("agents", {"columns": []}, "columns is empty"),
        ("agents", {"children": True}, "agents has no child tables"),
        ("agent_messages__content", {"children": True}, "agent_messages__content has no child tables"),
        ("agent_messages", {"children": ["tool_call"]}, "unknown child of agent_messages 'tool_call': did"),
        ("agent_messages", {"agent_ids": []}, "agent_ids is empty: leave it out for all"),
        ("agent_messages", {"agent_ids": [""]}, "agent_ids is empty: leave it out for all"),
        (3, {}, "unknown table 3: there are agents"),
        (None, {}, "unknown table None: there are agents"),
        ("agents", {"columns": 3}, "columns must be texts in a list, not 3"),
        ("agents", {"columns": [3]}, "unknown column of agents 3: there are id"),
        ("agent_messages", {"children": 3}, "children must be texts in a list, not 3"),
        ("agent_messages", {"agent_ids": 3}, "agent_ids: must be ids"),
        ("agent_messages", {"message_types": 3}, "message_types: must be"),
        ("agent_messages", {"start_date": 3}, "start_date: must be a date such as"),
        ("agent_messages", {"start_date": "soon"}, "start_date: must be a date such as"),
        ("agent_messages", {"start_date": "2024-02-01", "end_date": "2024-01-01"}, "start_date must be bef"),
        ("groups", {"agent_ids": ["agent-1"]}, "groups cannot be limited to agents"),
        ("group_messages", {"agent_ids": ["agent-1"]}, "group_messages cannot be limited to agents"),
        ("groups", {"start_date": "2024-01-01"}, "groups cannot be limited by date"),
        ("runs", {"message_types": ["user_message"]}, "runs cannot be limited to types"),
        ("load_issues", {"agent_ids": ["agent-1"]}, "load_issues cannot be limited to agents"),
        ("messages", {}, "messages was not loaded: `letta-source run --resources messages` loads it"),
        ("messages__content", {}, "messages was not loaded"),
    ],
)
def test_impossible_selections_are_refused(
    recorded: Warehouse, table: str, what: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match="^" + said.replace("?", r"\?")):
        to_arrow(recorded.pipeline, table, **what)


@pytest.mark.parametrize("other", [None, "letta_db.duckdb", Path("letta_db.duckdb"), 3])
def test_an_export_takes_only_an_opened_dataset(other: Any) -> None:
    with pytest.raises(ConfigError, match=r"is not an opened dataset: letta_source.open_dataset\(\)"):
        to_pandas(other, "agents")


def test_columns_and_ids_may_be_lists_of_pandas(recorded: Warehouse) -> None:
    frame = to_pandas(recorded.pipeline, "agents", columns=["id", "name"])
    again = to_pandas(recorded.pipeline, "agents", columns=frame.columns, agent_ids=frame["id"])
    assert again.equals(frame)


def test_an_empty_dataset_is_an_error(tmp_path: Path) -> None:
    pipeline = Warehouse(tmp_path).pipeline
    with pytest.raises(
        ConfigError, match="nothing was loaded into the dataset letta yet: `letta-source run`"
    ):
        to_arrow(pipeline, "agents")


def test_files_are_read_without_the_loads_working_folder(tmp_path: Path, server: Server) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.load(server, "agents")
    destination = dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb"))
    other = dlt.pipeline("other", str(tmp_path / "other"), destination=destination, dataset_name="letta")
    assert isinstance(to_pandas(other, "agents"), pd.DataFrame)
    assert to_arrow(other, "agents").num_rows == 2


# Plain files have a row for each change of an agent, and those of a killed load stay for a while.
def test_plain_files_return_the_newest_row_of_each_agent(
    tmp_path: Path, letta: Letta, server: Server
) -> None:
    pipeline = dlt.pipeline(
        "letta",
        pipelines_dir=str(tmp_path / "dlt"),
        destination=dlt.destinations.filesystem((tmp_path / "it's a lake").as_uri()),
        dataset_name="letta",
    )
    source = letta_source(base_url=server.base_url).with_resources("agents")
    pipeline.run(source)
    first, second = (row["id"] for row in rows(to_arrow(pipeline, "agents")))
    letta.replace_row("agents", first, name="new", updated_at="2030-01-01T00:00:00Z")
    pipeline.run(letta_source(base_url=server.base_url).with_resources("agents"))

    def names() -> dict[str, str]:
        return {row["id"]: row["name"] for row in rows(to_arrow(pipeline, "agents"))}

    before = {first: "agent 1", second: "agent 2"}
    assert names() == {**before, first: "new"}
    newest = max((tmp_path / "it's a lake" / "letta" / "_dlt_loads").glob("letta__*"))
    newest.unlink()
    assert names() == before
    # The table has no rows yet, and so no files.
    with pytest.raises(ConfigError, match="agent_messages was not loaded"):
        to_arrow(pipeline, "agent_messages")


def test_plain_files_leave_out_children_of_an_unfinished_load(tmp_path: Path, server: Server) -> None:
    """A load was killed between tables: messages belong to a completed load, some children do not."""
    lake = tmp_path / "lake" / "letta"
    pipeline = dlt.pipeline(
        "letta",
        pipelines_dir=str(tmp_path / "dlt"),
        destination=dlt.destinations.filesystem((tmp_path / "lake").as_uri()),
        dataset_name="letta",
    )
    pipeline.run(letta_source(base_url=server.base_url).with_resources("agent_messages"))
    tables = [name for name in TABLES if name.startswith("agent_messages__")]
    before = {name: to_arrow(pipeline, name) for name in tables}
    nested = to_arrow(pipeline, "agent_messages", children=True)
    for name in tables:
        for file in list((lake / name).glob("*.parquet")):
            kept = pq.read_table(file)
            at = kept.schema.get_field_index("_dlt_load_id")
            other = pa.array(["1900000000.5"] * kept.num_rows, kept.schema.field(at).type)
            killed = kept.set_column(at, kept.schema.field(at), other)
            pq.write_table(killed, lake / name / f"1900000000.5.{file.name.rpartition('.')[0][-10:]}.parquet")
    assert to_arrow(pipeline, "agent_messages", children=True).equals(nested)
    assert {name: to_arrow(pipeline, name) for name in tables} == before
    assert before["agent_messages__content"].num_rows > 0


def test_a_load_between_reading_messages_and_children_is_detected(own: Warehouse) -> None:
    """A message that a load has since replaced would appear without its children."""
    read = batches(own.pipeline, "agent_messages", children=True)
    next(read)
    changed(own, "UPDATE agent_messages SET _dlt_load_id = 'later'")
    with pytest.raises(Changed, match="try again"):
        list(read)
