"""Airflow loads into PostgreSQL, shard by shard, what one load would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest

from letta_source.demo import Letta, Server, serve
from tests.support.airflow_server import Airflow, Json, airflow
from tests.support.airflow_tables import assert_same_tables
from tests.support.library_loads import Merged, small_letta
from tests.support.postgres import create_database, postgres

pytestmark = pytest.mark.airflow

KEY = "sk-let-canary"
SHARDS = 2


@dataclass
class Schedule:
    """An Airflow that loads a Letta into a warehouse, and the rows that must be there."""

    airflow: Airflow
    letta: Letta
    server: Server
    warehouse: str
    logs: Path
    expected: Merged = field(default_factory=Merged)

    def agents(self) -> list[str]:
        return list(self.letta.tables["agents"].rows)

    def loads(self, run_id: str) -> list[Json]:
        """Return the run's tasks that load, by shard."""
        return [task for task in self.airflow.tasks(run_id) if task["task_id"] == "load"]

    def assert_loaded(self) -> None:
        """Assert that the warehouse has the rows of the same loads without shards."""
        self.expected.load(self.server, api_key=KEY, retries=0)
        assert_same_tables(self.warehouse, self.expected)


@pytest.fixture(scope="module")
def schedule(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schedule]:
    """Yield a schedule after its first run, which it started by itself."""
    work_dir = tmp_path_factory.mktemp("airflow")
    # Enough for each shard to have some.
    letta = small_letta(agents=8)
    # Without retries, failures come at once.
    settings = {"DLT_DATA_DIR": str(work_dir / "dlt"), "SOURCES__LETTA__RETRIES": "0"}
    with (
        serve(letta, api_key=KEY) as server,
        postgres(work_dir) as postgres_url,
        airflow(python, work_dir, settings) as running,
    ):
        warehouse = create_database(postgres_url, "warehouse")
        running.set_variable("letta_shards", str(SHARDS))
        running.set_variable(
            "dlt_secrets_toml",
            f'[sources.letta]\nbase_url = "{server.base_url}"\napi_key = "{KEY}"\n'
            f'[destination.postgres]\ncredentials = "{warehouse}"\n',
        )
        schedule = Schedule(running, letta, server, warehouse, work_dir)
        run_id = running.unpause()
        assert running.wait(run_id) == "success", running.tasks(run_id)
        shards = [task["rendered_map_index"] for task in schedule.loads(run_id)]
        assert shards == [f"{index}/{SHARDS}" for index in range(SHARDS)]
        yield schedule


def test_every_shard_is_loaded(schedule: Schedule) -> None:
    schedule.assert_loaded()
    with closing(psycopg2.connect(schedule.warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT pipeline_name FROM letta._dlt_pipeline_state")
        states = "\n".join(sorted(name for (name,) in cursor.fetchall()))
    # Each shard has a state of its own.
    assert re.findall(r"^letta_shard_(\d+)", states, re.MULTILINE) == [str(index) for index in range(SHARDS)]


def test_other_airflow_variables_are_not_read_as_settings(schedule: Schedule) -> None:
    log = (schedule.logs / "api-server.log").read_text()
    asked = set(re.findall(r"path=/execution/variables/(\w+) ", log))
    assert {"letta_shards", "dlt_secrets_toml"} <= asked
    assert asked <= {"letta_shards", "dlt_secrets_toml", "sources", "destination"}


def test_a_retry_continues_where_the_failed_try_stopped(schedule: Schedule) -> None:
    schedule.letta.talk(schedule.agents()[-1], "again", tools=["roll"])
    with closing(psycopg2.connect(schedule.warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER ROLE postgres SET lock_timeout = '100ms'")
        connection.commit()
        # The table can be read but not written.
        cursor.execute("LOCK TABLE letta.agent_messages IN SHARE MODE")
        run_id = schedule.airflow.trigger()
        schedule.airflow.wait_for_failed_try(run_id)
    assert schedule.airflow.wait(run_id) == "success", schedule.airflow.tasks(run_id)
    tried_again = [task for task in schedule.loads(run_id) if task["try_number"] > 1]
    assert tried_again
    for task in tried_again:
        first, last = (schedule.airflow.log(run_id, task, number) for number in (1, task["try_number"]))
        assert "lock timeout" in first
        assert "an earlier load was left unfinished: finishing it first" in last
    schedule.assert_loaded()


def test_unreadable_items_fail_the_run_but_no_load(schedule: Schedule) -> None:
    agent_id, *_ = schedule.agents()
    schedule.letta.talk(agent_id, "this one the server cannot render")
    poisoned = schedule.letta.list_of("agent", agent_id).ids()[-1]
    schedule.letta.poison(poisoned)
    run_id = schedule.airflow.trigger()
    assert schedule.airflow.wait(run_id) == "failed"
    tasks = {(task["task_id"], task["state"], task["try_number"]) for task in schedule.airflow.tasks(run_id)}
    assert tasks == {("shards", "success", 1), ("load", "success", 1), ("read_everything", "failed", 1)}
    said = [schedule.airflow.log(run_id, task, 1) for task in schedule.loads(run_id)]
    assert any("could not be read: see load_issues" in text for text in said)
    schedule.assert_loaded()
    schedule.letta.cure(poisoned)


def test_no_log_has_a_secret(schedule: Schedule) -> None:
    logs = [file.read_text(errors="replace") for file in schedule.logs.rglob("*.log")]
    assert any("writing" in text or "new items" in text for text in logs)
    assert not any(secret in text for text in logs for secret in (KEY, "postgres:secret@"))
