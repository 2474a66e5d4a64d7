"""Every column is filled by the real server, or this file says why it cannot be.

Loads while the newest message of an agent is unreadable, then loads everything once it is readable again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from letta_source.models import LettaMessage
from letta_source.rows.flatten import Rows
from letta_source.schema.columns import DELETED, EXTRA, GONE
from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.schema.tables import LOAD_LOG, Table
from tests.live.conftest import Letta
from tests.live.test_live import EVERYTHING
from tests.live.test_unreadable import IMAGE_BY_URL, changed
from tests.support.loaded_duckdb import LoadedDuckDB
from tests.support.rare_rows import (
    SENDER,
    add_batch_messages,
    add_messages,
    add_to_conversation,
    fill_agent,
    fill_batch,
    fill_block,
    fill_conversation,
    fill_group,
    fill_passages,
    fill_run,
    fill_step,
    fill_step_metrics,
    fill_tool,
)
from tests.support.seed import Api
from tests.support.server_rows import Tables

pytestmark = pytest.mark.live

LISTS = tuple(name for name, card in RESOURCES.items() if card.model is LettaMessage)
BATCH = "batch_messages"
SEARCH = tuple(table.name for table in RESOURCES["message_search"].tables)
EVERYWHERE = tuple(table.name for table in all_tables())


def _of(tables: tuple[str, ...], columns: str, child: str = "") -> set[tuple[str, str]]:
    names = [f"{table}__{child}" if child else table for table in tables]
    return {(name, column) for name in names for column in columns.split()}


def _everything_of(tables: tuple[str, ...]) -> set[tuple[str, str]]:
    return {
        (table.name, column.name)
        for table in all_tables()
        if table.name in tables
        for column in table.columns
    }


UNFILLED: dict[str, set[tuple[str, str]]] = {
    "Letta Cloud only, by its own clients: 0.16 has no such field": _of(
        ("conversations",), "archived archived_at description context_window_limit"
    ),
    "Letta Cloud only: self-hosted, a search answers 400": _everything_of(SEARCH),
    "Letta's reference has it; 0.16 declares it too, and always leaves it empty": {
        *_of(("steps",), "messages"),
        *_of(("groups",), "shared_block_ids"),
        *_of(("conversations",), "in_context_message_ids"),
        *_of(("batches",), "agent_id"),
        *_of(("identities",), "agent_ids block_ids"),
        *_of(("blocks", "agent_blocks"), "created_by_id last_updated_by_id"),
    },
    "Letta's reference has it in lists; 0.16 numbers items in streams only": _of(LISTS, "seq_id"),
    "Letta's reference lists summaries and events; 0.16 says one as a user, and not the other": _of(
        LISTS, "summary compaction_stats event_type event_data"
    ),
    "Of an image by address, which Letta's reference has; 0.16 answers 500 to each page with one": _of(
        (*LISTS, BATCH), "url", "content"
    ),
    "Content of items is texts and images; stored messages have the others (batch_messages)": _of(
        LISTS,
        "reasoning is_native tool_call_id name input is_error content_id summary encrypted_content",
        "content",
    ),
    "A stored message's field (batch_messages)": _of(LISTS, "type", "tool_calls"),
    "An item's field (agent_messages)": _of((BATCH,), "type", "tool_returns"),
    "Of pieces of files: 0.16 does not list them as an agent's passages": _of(
        ("passages",), "source_id file_id file_name"
    ),
    "Null but in a row that takes others out, which is not kept": _of(EVERYWHERE, DELETED.name),
    "Of fields that this version does not know: the pinned server has none": _of(EVERYWHERE, EXTRA.name),
    "Written by `verify --repair`: tests/live/test_verify.py": _of(EVERYWHERE, GONE.name),
    "Of an unreadable message that is not the newest: tests/live/test_unreadable.py": {
        ("load_issues", "before_id")
    },
    "Of a sweep, and of loads that share the parents": _of((LOAD_LOG.name,), "missed shard"),
    "Of a run that failed: tests/loading/test_load_log.py": _of((LOAD_LOG.name,), "reason"),
}
"""Columns that no load from the pinned server fills, by the reason; each must be empty indeed."""

SENT_UNASKED = ("blocks", "tools", "sources", "tool_exec_environment_variables", "secrets")
"""Relations that a load does not ask for: a host that does not know `include` sends them all."""


RELATIONS = "tags, pending_approval"


@dataclass(frozen=True)
class Loaded:
    """A warehouse with everything loaded, after the newest message of an agent had been unreadable.

    Attributes:
        bad: The agent.
        said: The logs of two loads in that time: of the list of agents, and of that agent and its messages.
        then: Each agent's tags and pending approval, by its id, after the first of these loads.
    """

    warehouse: LoadedDuckDB
    bad: str
    said: tuple[str, str]
    then: dict[str, tuple[str, str | None]]


def test_every_column_is_filled_or_explained_here(loaded: Loaded) -> None:
    tables = (*all_tables(), LOAD_LOG)
    columns = {(table.name, column.name) for table in tables for column in table.columns}
    there = loaded.warehouse.counts().keys()
    empty = columns - {
        pair for table in tables if table.name in there for pair in filled(loaded.warehouse, table)
    }
    unasked = _of(("agents",), " ".join(SENT_UNASKED))
    # Reasons are given for columns that not every table has.
    explained = columns & set().union(*UNFILLED.values(), unasked)
    assert sorted(empty - explained) == [], "nothing fills these: show that something can, or why not"
    assert sorted(explained - empty) == [], "these are filled: they need no reason"


def filled(warehouse: LoadedDuckDB, table: Table) -> set[tuple[str, str]]:
    """Return (table, column) of each column with a value in any row; empty lists and objects do not count."""
    names = [column.name for column in table.columns]
    values = ", ".join(f"""bool_or("{name}"::varchar NOT IN ('', '[]', '{{}}', 'null'))""" for name in names)
    (found,) = warehouse.rows(f"SELECT {values} FROM {table.name}")
    return {(table.name, name) for name, is_filled in zip(names, found, strict=True) if is_filled}


def test_relations_sent_without_request_fill_their_columns(letta: Letta) -> None:
    agent = letta.ids.agents["v1"]
    answer = letta.client.get(f"/v1/agents/{agent}").json()
    rows = Rows(RESOURCES["agents"], tombstones=False)
    rows.add([answer], "")
    (row,) = dict(rows.tables("1.0"))["agents"].to_pylist()
    empty = {name for name in SENT_UNASKED if row[name] in (None, "[]")}
    assert empty == set()
    assert "of this agent" not in row["secrets"] + row["tool_exec_environment_variables"]


def test_an_agent_with_an_unreadable_newest_message_comes_without_its_pending_approval(
    letta: Letta, loaded: Loaded
) -> None:
    """Its other relations and other agents' are loaded; once the message is readable, the approval too."""
    bad, other = loaded.bad, letta.ids.agents["v1 pending"]
    assert loaded.then.keys() == letta.truth().agents
    assert loaded.then[bad] == ('["bad"]', None)
    assert "danger" in str(loaded.then[other][1])
    for said in loaded.said:
        assert "the server cannot return agent.pending_approval for every item (500" in said
    ((tags, approval),) = loaded.warehouse.rows(f"SELECT {RELATIONS} FROM agents WHERE id = '{bad}'")
    assert tags == '["bad"]'
    assert "danger" in approval


def test_an_unreadable_message_is_reported_and_later_resolved(loaded: Loaded) -> None:
    issues = loaded.warehouse.rows(
        "SELECT parent_id, kind, resolved FROM load_issues ORDER BY load_started_at"
    )
    assert issues == [(loaded.bad, "unreadable", None), (loaded.bad, "unreadable", True)]


@pytest.fixture(scope="module")
def loaded(letta: Letta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    try:
        bad = fill(letta)
        warehouse = LoadedDuckDB(tmp_path_factory.mktemp("columns"), letta.server.base_url)
        finished = [f"--batch-id={letta.ids.batches[name]}" for name in ("completed", "empty")]
        with Tables(letta.server.database_url) as tables:
            newest = tables.one("select message_ids ->> -1 from agents where id = %s", bad)
        with pytest.MonkeyPatch.context() as environment:
            # Unreadable messages stay so. For all else, the server's bad connection must be recycled, see
            # `letta_server`: three retries wait longer than that takes.
            environment.setenv("SOURCES__LETTA__RETRIES", "3")
            environment.setenv("SOURCES__LETTA__PROJECT", "a-project")
            with changed(letta, {newest: {"content": [IMAGE_BY_URL]}}):
                listed = warehouse.run("--resources", "agents")
                assert listed.returncode == 0, listed.stderr
                rows = warehouse.rows(f"SELECT id, {RELATIONS} FROM agents")
                by_id = warehouse.run("--resources", "agents,agent_messages", "--agent-id", bad)
                assert by_id.returncode == 3, by_id.stderr
            # Without `--refresh`, the next try would be in an hour.
            cured = warehouse.run("--resources", EVERYTHING, "--refresh", *finished)
            assert cured.returncode == 0, cured.stderr
        then = {agent: (tags, approval) for agent, tags, approval in rows}
        yield Loaded(warehouse, bad, (listed.stderr, by_id.stderr), then)
    finally:
        # Other tests request what is not hidden, and count the seed's rows.
        with Tables(letta.server.database_url) as tables:
            tables.delete_sent_by(SENDER)
            tables.change("agents", letta.ids.agents["v1"], hidden=None)
            tables.change("groups", letta.ids.groups["supervised"], hidden=None)


UNUSED_TOOL = '''
def unused() -> str:
    """Do nothing."""
    return ""
'''


def fill(letta: Letta) -> str:
    """Fill columns that the server leaves null; return an agent with a pending approval."""
    api = Api(letta.server, letta.client)
    agent, group = letta.ids.agents["v1"], letta.ids.groups["round robin"]
    conversation = api.create_conversation(agent, isolated_block_labels=["human"])
    api.set_agent(agent, tags=["vip"], secrets={"TOKEN": "of this agent"})
    named = {"key": "plan", "value": "gold", "type": "string"}
    identity = api.create_identity("ann", properties=[named])
    api.attach(agent, "identities", identity)
    api.remember(agent, "A thing to find.", tags=["vip"])
    unused = api.create_tool(UNUSED_TOOL, needs_approval=False)
    api.attach(agent, "sources", api.create_source("papers"))
    pending = api.create_agent("bad", "letta_v1_agent", list(letta.ids.tools.values()))
    api.set_agent(pending, tags=["bad"])
    api.turn(pending, "use danger")
    with Tables(letta.server.database_url) as tables:
        step = tables.one("select id from steps where agent_id = %s order by id limit 1", agent)
        run = tables.one("select run_id from steps where id = %s", step)
        fill_agent(tables, agent)
        fill_run(tables, run, conversation)
        fill_step(tables, step)
        fill_step_metrics(tables, step)
        block = fill_block(tables, agent)
        fill_passages(tables)
        fill_tool(tables, unused)
        tables.change("identities", identity, project_id="project-1")
        fill_conversation(tables, conversation)
        fill_batch(tables, letta.ids.batches["completed"], tables.user_id)
        owner = {"agent_id": agent, "run_id": run, "step_id": step}
        ids = add_messages(tables, **owner, group_id=group)
        add_to_conversation(tables, conversation, agent, ids)
        fill_group(tables, letta.ids.groups["supervised"], ids[0])
        item = tables.one("select id from llm_batch_items limit 1")
        add_batch_messages(
            tables, item, tables.user_id, **owner, group_id=group, conversation_id=conversation
        )
    api.change(f"/v1/blocks/{block}", tags=["vip"])
    return pending
