"""Snapshots: versions of prompts and blocks from one load to the next."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.dbt_built import Built
from tests.support.dbt_project import MODELS, PACKAGE, Project

LOADS = [datetime(2027, 1, day, 12) for day in (1, 2, 3)]
_HOUR = timedelta(hours=1)
_ONE_PROMPT = (
    "SELECT agent_id FROM stg_letta__agent_messages WHERE message_type = 'system_message'"
    " GROUP BY 1 HAVING count(*) = 1 ORDER BY 1"
)
_ON = json.dumps({"letta_snapshots": True, "letta__using_blocks": True})


class SnapshotTests:
    @pytest.fixture
    def project(self, built: Built, tmp_path: Path) -> Project:
        return replace(built.project, warehouse=built.warehouse.copy(tmp_path))

    def test_snapshots_are_off_by_default(self, built: Built) -> None:
        assert {name for name in built.statuses if name.startswith("snapshot.")} == set()

    def test_a_version_lasts_from_its_load_to_the_next_version(self, project: Project) -> None:
        agents = {agent_id for (agent_id,) in project.rows("SELECT id FROM stg_letta__agents")}
        # Agents with conversations of their own have several system messages.
        edited, erased, same, *_ = (agent_id for (agent_id,) in project.rows(_ONE_PROMPT))
        project.warehouse.execute(
            "DELETE FROM blocks",
            "INSERT INTO blocks (id, value, _dlt_load_id) VALUES ('block-1', 'Ann', '1')",
        )
        for number, loaded_at in enumerate(LOADS):
            _load(project, f"{number}.5", loaded_at)
            if number == 1:
                project.warehouse.execute(
                    f"UPDATE agents SET system = 'be brief' WHERE id = '{edited}'",
                    "UPDATE blocks SET value = 'Ann, a vet'",
                    "UPDATE agent_messages SET text = 'be brief; Ann, a vet'"
                    f" WHERE message_type = 'system_message' AND agent_id = '{edited}'",
                    f"DELETE FROM agents WHERE id = '{erased}'",
                    "CREATE TABLE erased (kind varchar, id varchar, erased_at varchar)",
                    f"INSERT INTO erased VALUES ('agent', '{erased}', '2027-01-01')",
                )
            # The last load changes nothing.
            project.run("snapshot", "--vars", _ON)

        prompts = _versions(project, "letta__agents_snapshot", "agent_id", "system")
        assert [prompt for prompt, *_ in prompts[edited]][1:] == ["be brief"]
        assert [times for _, *times in prompts[edited]] == [[LOADS[0], LOADS[1]], [LOADS[1], None]]
        assert [times for _, *times in prompts[same]] == [[LOADS[0], None]]
        # Not even the version from before it was erased.
        assert prompts.keys() == agents - {erased}

        assert _versions(project, "letta__blocks_snapshot", "block_id", "value") == {
            "block-1": [("Ann", LOADS[0], LOADS[1]), ("Ann, a vet", LOADS[1], None)]
        }
        messages = _versions(project, "letta__system_messages_snapshot", "agent_id", "text")
        assert [times for _, *times in messages[edited]] == [[LOADS[0], LOADS[1]], [LOADS[1], None]]
        assert messages[edited][1][0] == "be brief; Ann, a vet"
        assert {None} == {end for *_, end in messages[same]}
        assert erased not in messages

        runs = {"run-early": LOADS[0] - _HOUR, "run-first": LOADS[1] - _HOUR, "run-later": LOADS[2] + _HOUR}
        for run_id, began in runs.items():
            project.warehouse.execute(
                "INSERT INTO runs (id, agent_id, created_at, _dlt_load_id)"
                f" VALUES ('{run_id}', '{edited}', '{began.isoformat()}+00', '1')"
            )
        in_force = dict(project.warehouse.rows(_example()))
        assert {run_id: in_force.get(run_id) for run_id in runs} == {
            "run-early": None,
            **{run_id: prompt for run_id, (prompt, *_) in zip(list(runs)[1:], messages[edited], strict=True)},
        }


def _example() -> str:
    """Return the README's query of the prompt that was in force when a run began."""
    readme = (PACKAGE / "README.md").read_text("utf-8")
    (sql,) = re.findall(r"```sql\n(SELECT runs\.id.+?)```", readme, re.DOTALL)
    return str(sql)


def _load(project: Project, load_id: str, loaded_at: datetime) -> None:
    """Finish a load that wrote every row again."""
    project.warehouse.execute(
        "INSERT INTO _dlt_loads (load_id, status, inserted_at)"
        f" VALUES ('9999999999.{load_id}', 0, '{loaded_at.isoformat()}+00')",
        *(
            f"UPDATE {table} SET _dlt_load_id = '9999999999.{load_id}'"
            for table in ("agents", "blocks", "agent_messages")
        ),
    )


def _versions(project: Project, snapshot: str, key: str, column: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return (value, valid from, valid to) by key, in order."""
    rows = project.warehouse.rows(
        f"SELECT {key}, {column}, dbt_valid_from, dbt_valid_to"
        f" FROM {MODELS}_letta_snapshots.{snapshot} ORDER BY dbt_valid_from"
    )
    versions: dict[str, list[tuple[Any, ...]]] = {}
    for id_, value, *times in rows:
        versions.setdefault(id_, []).append((value, *times))
    return versions
