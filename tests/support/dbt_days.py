"""Days of loads over built models: incremental builds must give what a full build gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from tests.support.dbt_built import Built
from tests.support.dbt_project import LAYERS, Project
from tests.support.dbt_warehouses import DbtWarehouse

CHILDREN = ("content", "tool_calls", "tool_returns", "approvals")
# By table, the columns that identify the message, run or step of a row.
KEYS = {
    "agent_messages": "agent_id, id",
    **{f"agent_messages__{child}": "agent_id, message_id" for child in CHILDREN},
    "runs": "'', id",
    "steps": "'', id",
}
# Staging models are views: built once, they show what is loaded.
MADE = ("--exclude", "letta.staging", "--exclude-resource-type", "test", "unit_test", "seed")


@dataclass
class Days:
    """A warehouse whose rows are removed, to come back in loads at random.

    Attributes:
        last: the number of the last day.
        quiet: an agent that never changes.
    """

    warehouse: DbtWarehouse
    random: Random
    last: int
    quiet: str

    def begin(self) -> None:
        """Remove about half of the messages, with their children, and of the runs and steps."""
        others = f"coalesce(agent_id, '') <> '{self.quiet}'"
        # An agent's messages come on one day, its runs and its steps on others, so that each is news alone.
        days: dict[tuple[str, str], int] = {}
        taken = []
        for table, columns in KEYS.items():
            if "__" in table:
                continue
            query = f"SELECT DISTINCT {columns}, agent_id FROM {table} WHERE {others} ORDER BY 1, 2"
            for agent_id, one, of_agent in self.warehouse.rows(query):
                day = days.setdefault((table, of_agent), self.random.randint(1, self.last))
                if self.random.random() < 0.5:
                    taken.append((agent_id, one, day))
        values = ", ".join(f"('{agent_id}', '{one}', {day})" for agent_id, one, day in taken)
        self.warehouse.execute(
            "CREATE TABLE arrival (agent_id varchar, id varchar, day_number integer)",
            f"INSERT INTO arrival VALUES {values}",
        )
        for table, columns in KEYS.items():
            those = f"({columns}) IN (SELECT agent_id, id FROM arrival)"
            self.warehouse.execute(
                f"CREATE TABLE held_{table} AS SELECT * FROM {table} WHERE {those}",
                f"DELETE FROM {table} WHERE {those}",
            )

    def load(self, day: int) -> None:
        """Insert a day's rows, change a message, a run and a step, delete a message, and rename others."""
        load_id = f"9999999990.{day}"
        self.warehouse.execute(
            "INSERT INTO _dlt_loads (load_id, status, inserted_at)"
            f" SELECT '{load_id}', 0, max(inserted_at) FROM _dlt_loads",
            # Each load writes all agents and conversations again.
            *(f"UPDATE {table} SET _dlt_load_id = '{load_id}'" for table in ("agents", "conversations")),
        )
        for table, columns in KEYS.items():
            those = f"({columns}) IN (SELECT agent_id, id FROM arrival WHERE day_number = {day})"
            self.warehouse.execute(
                f"INSERT INTO {table} SELECT * FROM held_{table} WHERE {those}",
                f"UPDATE {table} SET _dlt_load_id = '{load_id}' WHERE {those}",
            )
        edited, gone = self._one("agent_messages", "agent_id"), self._one("agent_messages", "agent_id")
        agent, conversation = self._one("agents", "id"), self._one("conversations", "agent_id")
        run, step = self._one("runs", "agent_id"), self._one("steps", "agent_id")
        self.warehouse.execute(
            f"UPDATE runs SET total_duration_ns = {day}000, _dlt_load_id = '{load_id}' WHERE id = '{run}'",
            f"UPDATE steps SET total_tokens = {day}0000, _dlt_load_id = '{load_id}' WHERE id = '{step}'",
            f"UPDATE agent_messages SET text = 'edited', _dlt_load_id = '{load_id}' WHERE id = '{edited}'",
            f"DELETE FROM agent_messages WHERE id = '{gone}'",
            *(f"DELETE FROM agent_messages__{child} WHERE message_id = '{gone}'" for child in CHILDREN),
            f"UPDATE agents SET name = 'renamed on day {day}' WHERE id = '{agent}'",
            f"UPDATE conversations SET summary = 'retold on day {day}' WHERE id = '{conversation}'",
        )

    def _one(self, table: str, agent_id: str) -> str:
        ids = self.warehouse.rows(f"SELECT id FROM {table} WHERE {agent_id} <> '{self.quiet}' ORDER BY 1")
        return str(self.random.choice(ids)[0])


class DayTests:
    """Attributes: days, the number of loads."""

    days = 2

    def test_incremental_builds_equal_a_full_build(self, built: Built, tmp_path: Path) -> None:
        project = replace(built.project, warehouse=built.warehouse.copy(tmp_path))
        ((quiet,),) = project.rows("SELECT max(agent_id) FROM letta__turns")
        days = Days(project.warehouse, Random(7), self.days, quiet)
        days.begin()
        turns = f"{LAYERS[0]}.letta__turns"
        # The last day brings changes but no new rows.
        for day in range(1, self.days + 2):
            days.load(day)
            # Marked, to show which rows are built again.
            project.warehouse.execute(f"UPDATE {turns} SET stop_reason = concat('mark ', stop_reason)")
            project.run("build", *MADE)
            kept = {
                agent
                for (agent,) in project.rows(
                    "SELECT agent_id FROM letta__turns WHERE stop_reason LIKE 'mark %'"
                )
            }
            assert quiet in kept
            project.warehouse.execute(
                f"UPDATE {turns} SET stop_reason = nullif(substring(stop_reason, 6), '')"
                " WHERE stop_reason LIKE 'mark %'"
            )

        grown = {model: _content(project, model) for model in _made(built)}
        # In the same warehouse, because dbt parses all files again where its address differs.
        project.run("build", "--full-refresh", *MADE)
        for model, rows in grown.items():
            assert rows == _content(project, model), model


def _made(built: Built) -> list[str]:
    return [name for name in built.models if not name.startswith("stg_")]


def _content(project: Project, model: str) -> list[str]:
    return sorted(map(_plain, project.rows(f"SELECT * FROM {model}")))


def _plain(row: tuple[Any, ...]) -> str:
    # The order in which numbers are added varies.
    return repr(tuple(round(value, 6) if isinstance(value, float) else value for value in row))
