"""A Letta whose hours pass, with an hourly load by the command line and everything a month may bring."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import httpx
import pytest

from letta_source.cli import verify
from letta_source.demo.api import answer, joined_params
from letta_source.loading import load_log
from letta_source.loading.workspace import Workspace
from tests.support.cli_loads import make_older
from tests.support.command import Command, Said
from tests.support.full_letta import FullLetta
from tests.support.hours import stop_clock
from tests.support.wire import HOST, answering, no_waits

_RESOURCES = "agents,runs,steps,conversations,agent_messages"
HOUR = timedelta(hours=1)
_BEGIN = datetime(2025, 3, 3, tzinfo=timezone.utc)
# Agents that only get messages: none of these is ever deleted.
_LASTING = 3


@dataclass
class Foreseen:
    """The expected outcome of the next load.

    Attributes:
        code: its exit code.
        warns: patterns of the warnings it logs, each once.
    """

    code: int = 0
    warns: list[str] = field(default_factory=list)


class LongRun:
    """The server, its hours, and the loads.

    Attributes:
        surprises: whatever was not as expected, with its hour.
        edited: messages whose edit waits for the next sweep.
        deleted: ids of deleted agents, conversations and messages.
        open: messages that are unreadable now.
        cured: messages that were unreadable for a while, and are loaded by the next try.
        failing: a pattern of paths that fail now, or empty.
    """

    def __init__(self, letta_source: Command, hours: int, every: int = 1) -> None:
        self.letta = FullLetta(seed=hours)
        self.hours = hours
        self._span = every * HOUR
        self.hour = 0
        self.now = _BEGIN
        self.surprises: list[str] = []
        self.edited: set[str] = set()
        self.deleted: set[str] = set()
        self.open: set[str] = set()
        self.cured: set[str] = set()
        self.failing = ""
        self._meanwhile = 0
        self.requests: list[int] = []
        self.codes: list[int] = []
        self._resources = _RESOURCES
        self._run = letta_source
        self._random = Random(hours)
        self._fails: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self._older: pytest.MonkeyPatch | None = None
        self._asked = 0
        self.letta.now = self.letta.touched_at = lambda: self.now

    @contextmanager
    def served(self) -> Iterator[None]:
        """Answer requests while the block runs."""

        def handler(request: httpx.Request) -> httpx.Response:
            self._asked += 1
            if failure := self._fails(request):
                return failure
            params, headers = joined_params(request.url.params.multi_items()), dict(request.headers)
            found = answer(self.letta, "self-hosted", request.method, request.url.path, params, headers)
            return httpx.Response(found.status, json=found.body, headers=found.headers)

        with no_waits(), answering(handler):
            for number in range(6):
                self.talk(self.letta.add_agent("memgpt_v2_agent" if number == 2 else "letta_v1_agent"))
            agents = self.agents()
            self.letta.add_group(agents[:2])
            self.letta.add_group(agents[1:3], "supervisor")
            self.letta.add_batch(agents[0])
            yield

    @contextmanager
    def _at(self, moment: datetime) -> Iterator[None]:
        """Set all clocks of the tested code to this moment."""
        self.now = moment
        with pytest.MonkeyPatch.context() as patch:
            stop_clock(moment, patch)

            class Stopped(datetime):
                @classmethod
                def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                    return moment.astimezone(tz)

            patch.setattr(load_log, "local_now", lambda: moment)
            patch.setattr(verify, "datetime", Stopped)
            yield

    def command(self, *arguments: str) -> Said:
        """Run a command at this hour."""
        with self._at(self.now):
            return self._run(*arguments)

    def pass_hour(self, happens: Callable[[], Foreseen | None] | None) -> None:
        """Let an hour pass in which people talk and something happens, then load."""
        begin = _BEGIN + self.hour * HOUR
        for _ in range(self._random.choice((0, 0, 0, 0, 0, 1, 2))):
            self.now = begin + self._span * self._random.uniform(0.02, 0.98)
            self.write()
        self.now = begin + self._span / 2
        expected = (happens() if happens else None) or Foreseen(self._meanwhile)
        self.hour += self._span // HOUR
        self.now = begin + self._span + timedelta(seconds=self._random.randint(0, 150))
        self.load(expected)

    def load(self, expected: Foreseen) -> None:
        """Run a load, and compare its output with what is expected."""
        self._asked = 0
        said = self.command("run", "--base-url", HOST, "--resources", self._resources, "--changes", "on")
        self.requests.append(self._asked)
        self.codes.append(said.code)
        if said.code != expected.code:
            self.surprise(f"exit code {said.code}, not {expected.code}: {said.err}")
        lines = [line for line in said.errors if line.startswith("warning: ")]
        for pattern in expected.warns:
            found = next((line for line in lines if re.search(pattern, line)), None)
            if found:
                lines.remove(found)
            else:
                self.surprise(f"no warning {pattern!r}: {said.err}")
        for line in lines:
            self.surprise(line)
        self._check_log(said)

    def _check_log(self, said: Said) -> None:
        sql = (
            "SELECT resource, mode, outcome, exit_code FROM letta.load_log WHERE run_id ="
            " (SELECT max(run_id) FROM letta.load_log)"
        )
        if said.code == 2:
            self._check_journal(said)
        if said.code not in (0, 3):
            return
        rows = self._run.rows(sql)
        if {row[3] for row in rows} != {said.code}:
            self.surprise(f"load_log says {rows}, and the exit code was {said.code}")
        if any(row[1] == "sweep" and row[0] == "agent_messages" for row in rows):
            self.edited.clear()

    def _check_journal(self, said: Said) -> None:
        """Check that a load that was refused is kept for the log, with what it said."""
        found = json.loads(self.command("status", "--json").out)["not_written"]
        last = found[-1] if found else {}
        if last.get("exit_code") != 2 or last["reason"] not in said.err:
            self.surprise(f"the journal says {last}, and the load said {said.err}")

    def surprise(self, what: str) -> None:
        """Record something unexpected."""
        self.surprises.append(f"hour {self.hour}: {what}")

    # Events of any hour.

    def agents(self) -> list[str]:
        return self.letta.tables["agents"].ids()

    def agent(self) -> str:
        return self._random.choice(self.agents())

    def talk(self, agent: str, **how: Any) -> str:
        return self.letta.talk(agent, "hi", tools=["roll"] * self._random.randint(0, 2), **how)

    def conversation(self) -> str:
        conversations = self.letta.tables["conversations"].ids()
        return (
            self._random.choice(conversations)
            if len(conversations) > 3
            else self.letta.add_conversation(self.agent())
        )

    def write(self) -> None:
        """Write something of a random kind."""
        getattr(self, self._random.choice([one for one in dir(self) if one.startswith("do_")]))()

    def do_talk(self) -> None:
        self.talk(self.agent())

    def do_talk_in_conversation(self) -> None:
        conversation = self.conversation()
        owner = self.letta.tables["conversations"].rows[conversation]["agent_id"]
        self.talk(owner, conversation_id=conversation, streamed=self._random.random() < 0.7)

    def do_talk_unfinished(self) -> None:
        self.talk(self.agent(), finished=False)

    def do_finish(self) -> None:
        runs = [one for one, row in self.letta.tables["runs"].rows.items() if row["status"] == "running"]
        if runs:
            self.letta.finish_run(self._random.choice(runs))

    def do_compact(self) -> None:
        self.letta.compact_conversation(self.conversation())

    def do_summarize(self) -> None:
        self.letta.summarize(self.agent())

    def do_capture(self) -> None:
        self.letta.capture(self.agent())

    def do_fork(self) -> None:
        if len(self.letta.tables["conversations"]) < 8:
            self.letta.fork_conversation(self.conversation())

    def do_create(self) -> None:
        if len(self.agents()) < 12:
            self.talk(self.letta.add_agent())

    def do_edit(self) -> None:
        self.edited.add(self.letta.edit_system_message(self.agent(), f"since hour {self.hour}"))

    def do_change_agent(self) -> None:
        self.letta.change_agent(self.agent(), name=f"hour {self.hour}")

    def do_batch(self) -> None:
        batches = [
            one for one, row in self.letta.tables["batches"].rows.items() if row["status"] == "running"
        ]
        if batches:
            self.letta.finish_batch(batches[0])
        else:
            self.letta.add_batch(self.agents()[0])

    # Events that happen once.

    def delete_message(self) -> None:
        agent = self.agents()[-1]
        message = self.letta.list_of("agent", agent).ids()[-1]
        self.deleted.add(message)
        self.letta.delete_message(message)

    def reset(self) -> None:
        agent = self.agents()[-1]
        self.deleted.update(self.letta.list_of("agent", agent).ids())
        self.letta.reset_messages(agent)

    def delete_agent(self) -> None:
        agent = self.agents()[-1]
        self.deleted.add(agent)
        self.letta.delete_agent(agent)

    def become_unreadable(self, place: int) -> Foreseen:
        """Make a message amid an agent's list unreadable, where the next sweep would read it again."""
        agent = self.agents()[place]
        self.talk(agent)
        message = self.letta.list_of("agent", agent).ids()[-2]
        self.open.add(message)
        self.letta.poison(message)
        return Foreseen(3, [f"agent_messages.*{agent}"])

    def become_readable(self) -> None:
        for message in self.open & self.letta.poisoned.keys():
            self.letta.cure(message)
        self.cured |= self.open
        self.open = set()

    def fail(self, on: str, answered: httpx.Response | Exception, code: int, *warns: str) -> Foreseen:
        """Fail requests whose path matches, until `recover`."""

        def failing(request: httpx.Request) -> httpx.Response | None:
            if not re.search(on, request.url.path):
                return None
            if isinstance(answered, Exception):
                raise answered
            return answered

        self._fails, self.failing = failing, on
        # While the whole server fails, each load says so; a failed list or agent is known after the first.
        self._meanwhile = code if code == 2 else 0
        return Foreseen(code, list(warns))

    def refuse(self, agent: str) -> Foreseen:
        """Refuse the messages of an agent that has new ones."""
        self.talk(agent)
        forbidden = httpx.Response(403, json={"detail": "not now"})
        return self.fail(f"/{agent}/messages", forbidden, 3, f"agent_messages.*{agent}")

    def recover(self) -> None:
        self._fails, self.failing, self._meanwhile = lambda request: None, "", 0

    def use_older_version(self) -> None:
        """Load with a version that lacks a column from now on."""
        self._older = pytest.MonkeyPatch()
        make_older(self._older)

    def upgrade(self) -> None:
        """Load with this version from now on, and have the server send new fields."""
        if self._older:
            self._older.undo()
        run = self.talk(self.agents()[0])
        self.letta.replace_row("runs", run, new_number=1.5, new_list=[{"a": None}])
        self.letta.add_message(self.agents()[1], [{"message_type": "new_message", "new_text": "ä"}])

    def crash(self) -> Foreseen:
        """Have the destination fail in the middle of a load."""
        self.talk(self.agents()[0])
        patch = pytest.MonkeyPatch()

        def full(self: Workspace, one_by_one: bool = False) -> None:
            patch.undo()
            raise OSError("no space left")

        patch.setattr(Workspace, "_load", full)
        return Foreseen(1)

    def lose_folder(self) -> None:
        """Lose the working folder, as in a container that starts anew."""
        (self._run.folder / "dlt").rename(self._run.folder / f"lost at hour {self.hour}")

    # Checks between the loads.

    def status(self) -> dict[str, Any]:
        """Return the output of `status`; it must know of what is unreadable, and of nothing else."""
        said = self.command("status", "--json")
        found: dict[str, Any] = json.loads(said.out)
        known = len(self.open), len(self.open | self.cured) + 3 * bool(self.failing)
        if said.code or not known[0] <= len(found["issues"]) <= known[1]:
            self.surprise(f"{known} things cannot be read, and status says {found['issues']}")
        last = self.codes[-1]
        runs = [*reversed(found["not_written"]), *found["runs"]]
        if runs[0]["exit_code"] != last or (last not in (1, 2) and found["pending"]):
            self.surprise(f"the last exit code was {last}, and status says {found}")
        for one in found["resources"]:
            count = self._run.rows(f"SELECT count(*) FROM letta.{one['resource']}") if one["rows"] else [(0,)]
            if (one["rows"] or 0) != count[0][0]:
                self.surprise(f"{one['resource']}: {one['rows']} rows, not {count}")
        return found

    def logged(self) -> list[object]:
        """Return the exit codes of all runs that load_log has, in order."""
        sql = "SELECT run_id, max(exit_code) FROM letta.load_log GROUP BY run_id ORDER BY run_id"
        return [row[1] for row in self._run.rows(sql)]

    def verify(self, *options: str) -> dict[str, int]:
        """Return the counts of `verify`; only edited and deleted rows may differ."""
        if self.failing:
            # It would find the same again, and more.
            return {}
        said = self.command("verify", "--base-url", HOST, "--json", *options)
        found: dict[str, Any] = json.loads(said.out) if said.out else {}
        last = found.get("left") or found.get("found") or {"counts": {}, "agents": []}
        for agent in last["agents"]:
            for table, tally in agent["tables"].items():
                for kind in ("missing", "extra", "gone", "edited"):
                    self._explain(agent, table, kind, tally)
        if (said.code == 3) != bool(last["agents"]) or said.code not in (0, 3):
            self.surprise(f"verify ends with {said.code}: {said}")
        return dict(last["counts"])

    def _explain(self, agent: dict[str, Any], table: str, kind: str, tally: dict[str, Any]) -> None:
        for example in tally["examples"].get(kind, ()):
            ids = set(example.split()) | {agent["agent_id"]}
            unread = self.open | self.cured
            known = {"edited": self.edited, "gone": self.deleted, "missing": unread}.get(kind, set())
            if not ids & known:
                columns = tally["edited_columns"] if kind == "edited" else ""
                self.surprise(f"verify: {table} {kind} {example} {columns}")

    def lost(self) -> list[str]:
        """Return the ids of messages that the server has and the warehouse lacks, for whatever reason."""
        held = {row[0] for row in self._run.rows("SELECT DISTINCT id FROM letta.agent_messages")}
        return [one for one in self.letta.messages.ids() if one not in held]

    def kept(self) -> dict[str, int]:
        """Return how much the loads keep for themselves: rows of dlt's tables and of ours, and files."""
        names = ("_dlt_pipeline_state", "_dlt_loads", "_dlt_version", "load_log", "load_issues")
        counts = {name: self._run.count(name) for name in names}
        files = [one for one in self._run.files() if one.startswith("dlt")]
        state = self._run.folder / "dlt" / "pipelines" / "letta" / "state.json"
        return {**counts, "files": len(files), "state": state.stat().st_size}
