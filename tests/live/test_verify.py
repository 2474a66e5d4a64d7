"""`letta-source verify` against the real server finds the planted faults, and no others."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest

from tests.live.conftest import Letta
from tests.live.test_live import EVERYTHING
from tests.support.loaded_duckdb import LoadedDuckDB

pytestmark = pytest.mark.live


def verified(warehouse: LoadedDuckDB, code: int, *options: str) -> dict[str, Any]:
    said = warehouse.command("verify", "--json", *options)
    assert said.returncode == code, said.stdout + said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def test_planted_differences_are_found_and_no_others(letta: Letta, tmp_path: Path) -> None:
    warehouse = LoadedDuckDB(tmp_path, letta.server.base_url)
    loaded = warehouse.run("--resources", EVERYTHING)
    assert loaded.returncode == 0, loaded.stderr
    same = verified(warehouse, 0)["found"]
    assert same["agents_compared"] == len(warehouse.ids("agents"))
    assert same["counts"] == dict.fromkeys(same["counts"], 0)

    agent = letta.ids.agents["memgpt"]
    ids = [
        one
        for (one,) in warehouse.rows(
            f"SELECT id FROM agent_messages WHERE agent_id = '{agent}' AND message_type = 'user_message'"
            " ORDER BY sequence"
        )
    ]
    missing, edited, deleted = ids[-3:]
    ((rows_missing,),) = warehouse.rows(f"SELECT count(*) FROM agent_messages WHERE id = '{missing}'")
    ((rows_deleted,),) = warehouse.rows(f"SELECT count(*) FROM agent_messages WHERE id = '{deleted}'")
    with duckdb.connect(str(warehouse.folder / "letta_db.duckdb")) as connection:
        connection.execute(f"DELETE FROM letta.agent_messages WHERE id = '{missing}'")
    with closing(psycopg2.connect(letta.server.database_url)) as database, database, database.cursor() as sql:
        sql.execute("UPDATE messages SET name = 'another' WHERE id = %s", [edited])
        sql.execute("DELETE FROM messages WHERE id = %s", [deleted])
    found = verified(warehouse, 3, "--resources", "agents,agent_messages")["found"]
    (differs,) = found["agents"]
    assert differs["agent_id"] == agent
    (table,) = differs["tables"].values()
    assert (table["missing"], table["edited"], table["gone"], table["extra"]) == (
        rows_missing,
        1,
        rows_deleted,
        0,
    )
    assert table["edited_columns"] == ["name"]

    repaired = verified(warehouse, 0, "--resources", "agents,agent_messages", "--repair")
    assert repaired["repaired"] == {"read_again": [agent], "marked": rows_deleted}
    assert warehouse.rows(f"SELECT name FROM agent_messages WHERE id = '{edited}'") == [("another",)]
    assert warehouse.rows("SELECT DISTINCT id FROM agent_messages WHERE _letta_deleted_at IS NOT NULL") == [
        (deleted,)
    ]
