"""`letta-source erase` in every destination deletes what it should, and nothing comes back."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from string import ascii_letters
from uuid import uuid4

import psycopg2
import pyarrow.parquet as pq
import pytest

from letta_source.demo import Server, serve
from letta_source.demo.shapes import user_item
from letta_source.schema.resources import RESOURCES
from tests.destinations.conftest import Databases
from tests.support.command import Command, ago, log_lines
from tests.support.full_letta import FullLetta
from tests.support.library_loads import Row
from tests.support.places import Place

pytestmark = pytest.mark.destinations

WHAT = ",".join(name for name in RESOURCES if name != "message_search")
IDENTITY = "identity-00000000-0000-4000-8000-000000000001"
# Too long and random to be compressed, and different from the first letter on.
SECRETS = ["".join(random.Random(seed).choices(ascii_letters, k=3000)) for seed in range(5)]


class Story:
    """Two agents, a conversation, and a person who also wrote to an agent that stays, all to be erased."""

    def __init__(self) -> None:
        self.letta = letta = FullLetta()
        self.agent, self.persons, self.stays = (letta.add_agent() for _ in range(3))
        letta.change_agent(self.persons, identity_ids=[IDENTITY], identities=[{"id": IDENTITY}])
        for agent, secret in zip((self.agent, self.persons), SECRETS, strict=False):
            letta.talk(agent, secret, tools=["roll"], date=ago(hours=5))
        group = letta.add_group([self.agent, self.stays], "supervisor")
        letta.add_message(self.agent, text=SECRETS[2], date=ago(hours=4), group_ids=[group])
        letta.add_message(self.stays, text="to the group", date=ago(hours=4), group_ids=[group])
        letta.add_batch(self.agent)
        letta.add_batch(self.stays)
        letta.add_conversation(self.agent)
        self.conversation = letta.add_conversation(self.stays)
        shared = letta.talk(self.stays, "shared", conversation_id=self.conversation, date=ago(hours=3))
        fork = letta.fork_conversation(self.conversation)
        letta.talk(self.stays, "in the fork", conversation_id=fork, date=ago(hours=3))
        runs = [
            shared,
            letta.talk(self.stays, SECRETS[3], conversation_id=self.conversation, date=ago(hours=2)),
            letta.talk(self.stays, SECRETS[4], tools=["roll"], date=ago(hours=2)),
        ]
        letta.talk(self.stays, "not a secret", tools=["roll"], date=ago(hours=1))
        held = letta.messages.rows.values()
        for item in (one for message in held for one in message.items):
            if item.get("content") == SECRETS[4]:
                item["sender_id"] = IDENTITY
        alone = [user_item("of no run") | {"sender_id": IDENTITY}]
        of_no_run = letta.add_message(self.stays, alone, date=ago(hours=2))
        erased = {self.agent, self.persons}
        of_runs = [one for one in held if one.agent_id in erased or one.items[0]["run_id"] in runs]
        of_conversation = letta.list_of("conversation", self.conversation).ids()
        self.ids = {
            *erased,
            self.conversation,
            of_no_run,
            *runs,
            *of_conversation,
            *(one.id for one in of_runs),
        }


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def server(story: Story) -> Iterator[Server]:
    """Serve this story, not that of the other tests here."""
    with serve(story.letta) as server:
        yield server


@pytest.fixture
def options(place: Place, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    return tuple(place.options)


def mentions(row: Row, ids: set[str]) -> bool:
    said = repr(row)
    return any(one in said for one in ids)


def secrets_in_files(folder: Path) -> list[str]:
    """Return files below a folder with the beginning of a secret, except in dlt's working folder."""
    found = []
    for file in (one for one in folder.rglob("*") if one.is_file() and "dlt" not in one.parts):
        content = file.read_bytes()
        if file.suffix == ".parquet":
            content += repr(pq.ParquetFile(file).read().to_pylist()).encode()
        if any(secret[:12].encode() in content for secret in SECRETS):
            found.append(str(file))
    return found


def test_erased_rows_are_gone_and_all_others_stay(
    letta_source: Command, place: Place, options: tuple[str, ...], server: Server, story: Story
) -> None:
    load = ("run", "--base-url", server.base_url, "--resources", WHAT, *options)
    assert letta_source(*load, "--lag", "0").code == 0
    before = place.everything()
    where = options[: options.index("--table-format")] if "--table-format" in options else options
    asked = ("--agent-id", story.agent, "--conversation-id", story.conversation, "--identity-id", IDENTITY)
    planned = json.loads(letta_source("erase", *asked, "--dry-run", "--json", *where).out)
    said = letta_source("erase", *asked, "--yes", "--json", *where)
    told = json.loads(said.out)
    assert {**planned, "removed": told["removed"]} == told
    if place.kind == "appends":
        assert (said.code, told["removed"]) == (2, False)
        assert "rows of plain files cannot be erased: delete them" in said.err
        assert place.everything() == before
        return
    assert (said.code, said.err) == (0, "")
    assert sorted(told["agent_ids"]) == sorted((story.agent, story.persons))
    after = place.everything()
    for table, rows in after.items():
        meant = [row for row in before[table] if mentions(row, story.ids)]
        if table == "groups":
            assert rows == before[table]
        else:
            assert rows == [row for row in before[table] if row not in meant], table
            assert told["rows"].get(table, 0) == len(meant), table
    assert all(after[table] for table in ("agents", "runs", "agent_messages", "messages"))
    assert "groups" in told["unknown"]
    if not {"postgres", "mysql"} & {type(place).__name__.lower()}:
        assert secrets_in_files(place.folder) == []
    # A full load again: nothing comes back, new messages of the person are left out, all else stays.
    story.letta.add_message(story.stays, [user_item("again") | {"sender_id": IDENTITY}], date=ago(minutes=50))
    assert letta_source(*load, "--lag", "0", "--refresh").code == 0
    assert {table: rows for table, rows in place.everything().items() if rows != after[table]} == {}


def test_a_dry_run_only_reads(
    letta_source: Command,
    server: Server,
    story: Story,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A user who may not write cannot take the lease either, nor create its table."""
    url = databases.postgres()
    name = "DESTINATION__POSTGRES__CREDENTIALS"
    monkeypatch.setenv(name, url)
    where = ("--destination", "postgres")
    assert letta_source.load(server, *where).code == 0
    reader = f"reader_{uuid4().hex}"
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            f"CREATE ROLE {reader} LOGIN; GRANT USAGE ON SCHEMA letta TO {reader};"
            f" GRANT SELECT ON ALL TABLES IN SCHEMA letta TO {reader}"
        )
    monkeypatch.setenv(name, re.sub("//[^@]*@", f"//{reader}:x@", url))
    said = letta_source("erase", "--agent-id", story.agent, "--dry-run", *where)
    assert (said.code, log_lines(said)) == (0, [])
    assert "agents: 1 rows would be removed" in said.out
    assert letta_source("erase", "--agent-id", story.agent, "--yes", *where).code == 2
