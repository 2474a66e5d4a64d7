"""`letta-source erase` leaves nothing of an agent or a conversation, and nothing comes back."""

from __future__ import annotations

import json
import random
from string import ascii_letters

import duckdb
import pytest

from letta_source.demo import Server
from letta_source.loading.lock import pipeline_lock
from letta_source.loading.target import Target
from tests.support.command import SOME, Command, one_of
from tests.support.full_letta import FullLetta

pytestmark = pytest.mark.whole

SECRET = "".join(random.Random(7).choices(ascii_letters, k=9000))


@pytest.fixture
def agent(letta: FullLetta) -> str:
    agent_id = one_of(letta)
    for _ in range(3):
        letta.talk(agent_id, f"remember {SECRET}", tools=["roll_dice"])
    return agent_id


def left(letta_source: Command, agent: str) -> int:
    tables = [
        row[0]
        for row in letta_source.rows(
            "SELECT table_name FROM duckdb_columns() WHERE schema_name = 'letta' AND column_name = 'agent_id'"
            " AND table_name NOT LIKE '%staging%'"
        )
    ]
    count = "SELECT count(*) FROM letta.{} WHERE agent_id = '" + agent + "'"
    return sum(int(str(letta_source.rows(count.format(table))[0][0])) for table in tables)


def test_nothing_of_an_agent_is_left_nor_comes_back(
    letta_source: Command, letta: FullLetta, server: Server, agent: str
) -> None:
    for _ in range(2):
        letta_source.load(server)
    file = letta_source.folder / "letta_db.duckdb"
    assert left(letta_source, agent)
    others = letta_source.rows(f"SELECT * FROM letta.agent_messages WHERE agent_id <> '{agent}' ORDER BY ALL")
    # The secret is long and random, so it is not compressed.
    assert SECRET.encode() in file.read_bytes()
    said = letta_source("erase", "--agent-id", agent, "--yes")
    assert (said.code, said.err) == (0, "")
    assert "agents: 1 rows were removed" in said.out
    assert SECRET.encode() not in file.read_bytes()
    assert left(letta_source, agent) == 0
    assert letta_source.rows("SELECT id, kind FROM letta.erased") == [(agent, "agent")]
    for options in ((), ("--refresh",)):
        letta.talk(agent, f"once more {SECRET}")
        assert letta_source.load(server, *options).code == 0
        assert left(letta_source, agent) == 0
        assert letta_source.rows(f"SELECT 1 FROM letta.agents WHERE id = '{agent}'") == []
    kept = letta_source.rows(f"SELECT * FROM letta.agent_messages WHERE agent_id <> '{agent}' ORDER BY ALL")
    assert len(kept) == len(others)
    # The view and the log are still there.
    assert letta_source.rows("SELECT * FROM letta.load_issues_current") == []
    assert letta_source("status").code == 0


def test_it_needs_yes_unlike_a_dry_run_during_a_load(
    letta_source: Command, server: Server, agent: str
) -> None:
    letta_source.load(server)
    before = left(letta_source, agent)
    for options, code in ((("--dry-run",), 0), ((), 2)):
        said = letta_source("erase", "--agent-id", agent, *options)
        assert said.code == code
        assert "agents: 1 rows would be removed" in said.out
    assert "--yes" in said.err
    assert "ids, not names" not in said.out
    assert "ids, not names" in letta_source("erase", "--agent-id", "Ada", "--dry-run").out
    assert left(letta_source, agent) == before
    with pipeline_lock(Target("letta", "duckdb", "letta").resolved()):
        assert letta_source("erase", "--agent-id", agent, "--dry-run").code == 0
    for given, says in (
        ("--yes", "name what to erase"),
        (f"--agent-id={agent} --yes --dry-run", "--dry-run and --yes contradict each other"),
        ("--agent-id= --yes", "must not be empty"),
    ):
        refused = letta_source("erase", *given.split())
        assert (refused.code, refused.out, says in refused.err) == (2, "", True)


def test_plain_files_are_not_erased(
    letta_source: Command, server: Server, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())
    files = ("--destination", "filesystem")
    letta_source("run", "--base-url", server.base_url, *SOME, *files)
    said = letta_source("erase", "--agent-id", agent, "--yes", *files)
    assert said.code == 2
    assert "rows of plain files cannot be erased: delete them with a tool of your own" in said.err
    assert "agents: 1 rows would be removed" in said.out


def test_a_conversation_is_found_by_its_runs_too(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    what = ("--resources", "agents,runs,agent_messages,conversations")
    assert letta_source("run", "--base-url", server.base_url, *what).code == 0
    ((run_id, rows),) = letta_source.rows(
        "SELECT run_id, count(*) FROM letta.agent_messages WHERE run_id IS NOT NULL"
        " GROUP BY 1 ORDER BY 1 LIMIT 1"
    )
    with duckdb.connect(str(letta_source.folder / "letta_db.duckdb")) as connection:
        connection.execute(f"UPDATE letta.runs SET conversation_id = 'conv-9' WHERE id = '{run_id}'")
    said = letta_source("erase", "--conversation-id", "conv-9", "--yes")
    assert said.code == 0
    assert f"agent_messages: {rows} rows were removed" in said.out
    letta_source("run", "--base-url", server.base_url, *what, "--refresh")
    assert letta_source.rows(f"SELECT 1 FROM letta.agent_messages WHERE run_id = '{run_id}'") == []
    assert letta_source.count("agent_messages")


def test_memory_is_erased_with_its_agent_unless_other_agents_share_it(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    agent, other = letta.tables["agents"].ids()[:2]
    mine = letta.add_block("likes tea", agent_ids=[agent])
    ours = letta.add_block("polite", agent_ids=[agent, other])
    letta.add_passage(letta.add_archive("notes", [agent]), "was in Rome")
    what = ("--resources", "blocks,agent_blocks,passages,step_metrics,tools")
    letta_source.load(server, *what)
    assert letta_source.count("passages") == 1
    said = letta_source("erase", "--agent-id", agent, "--yes")
    assert (said.code, said.err) == (0, "")
    assert "Check tools yourself: not all of" in said.out
    for options in ((), ("--refresh",)):
        assert left(letta_source, agent) == 0
        assert letta_source.rows("SELECT agent_id, id FROM letta.agent_blocks") == [(other, ours)]
        assert letta_source.rows("SELECT id FROM letta.blocks") == [(ours,)]
        assert letta_source.count("step_metrics")
        assert letta_source.load(server, *what, *options).code == 0
    erased = letta_source.rows("SELECT kind, id FROM letta.erased ORDER BY kind")
    assert ("agent", agent) in erased
    assert ("item", mine) in erased


def test_columns_that_a_mask_hid_from_the_search_are_named(letta_source: Command, server: Server) -> None:
    masks = ("sender_id=redact", "agent_messages.run_id=drop", "runs.conversation_id=drop", "text=redact")
    options = [option for mask in masks for option in ("--mask", mask)]
    letta_source.load(server, "--resources", "agents,runs,agent_messages", *options)
    of_runs = "agent_messages.run_id"
    for by, masked in (
        ("--agent-id", []),
        ("--conversation-id", [of_runs, "runs.conversation_id"]),
        ("--identity-id", [of_runs, "agent_messages.sender_id"]),
    ):
        said = letta_source("erase", by, "someone", "--dry-run")
        assert said.code == 0
        assert (f"Masks hid {', '.join(masked)}: rows" in said.out) == bool(masked)
        # A masked column cannot tell that nothing has the id.
        assert ("Nothing has this id" in said.out) == (not masked)
        assert json.loads(letta_source("erase", by, "someone", "--dry-run", "--json").out)["masked"] == masked
