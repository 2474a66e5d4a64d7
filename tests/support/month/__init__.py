"""A month of made-up conversations, the same each time: a support desk, coding helpers, an office, a group.

Stored objects have the shapes of recorded ones, and the small Letta plays them like everything else. The
package holds what comes of it: `python -m tests.support.month` writes `letta_source/demo/month.jsonl.gz`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from random import Random

from letta_source.demo.letta import Letta
from letta_source.demo.shapes import (
    Json,
    batch_template,
    call,
    reasoning_item,
    tool_call_item,
    tool_return_item,
    user_item,
    wire_time,
)
from letta_source.demo.store import Kind

from . import office
from .cast import NEWSROOM, ROLES, SUPERVISOR, Role
from .play import Place, Player
from .script import Exchange, Round, Talk, use

_BEGIN = datetime(2026, 10, 22, 6, tzinfo=timezone.utc)
_DAYS = 30
_TALKS = 325
# Number of an agent's messages after which the oldest are summarized.
_SUMMARY_AFTER = 90


def played_month(seed: int = 20) -> Letta:
    """Return a Letta that holds a month of conversations.

    Args:
        seed: Seed of ids, texts and times.
    """
    letta = Letta(seed)
    month = _Month(letta, Random(seed))
    for day in range(_DAYS):
        month.play_day(day)
    month.play_batch()
    return letta


def lines_of(letta: Letta) -> Iterator[str]:
    """Yield what a Letta holds as lines of JSON, in an order in which it can be stored again."""
    kinds: tuple[Kind, ...] = ("agents", "groups", "conversations", "batches", "runs", "steps")
    for kind in kinds:
        for row_id in letta.tables[kind].ids():
            created = letta.step_dates[row_id].isoformat() if kind == "steps" else None
            yield json.dumps([kind, letta.tables[kind].rows[row_id], created])
    for message_id in letta.messages.ids():
        message = letta.messages.rows[message_id]
        stored = {one.name: getattr(message, one.name) for one in fields(message) if one.name != "raw"}
        yield json.dumps(["messages", stored, None], default=datetime.isoformat)


class _Month:
    """The month, day by day."""

    def __init__(self, letta: Letta, random: Random) -> None:
        self._letta, self._random = letta, random
        self._player = Player(letta, random, _BEGIN)
        self._agents: dict[str, Place] = {}
        for role in (*ROLES, SUPERVISOR, *NEWSROOM):
            self._agents[role.name] = Place(role, self._hire(role))
            self._player.pass_time(40)
        members = [self._agents[role.name].agent_id for role in (SUPERVISOR, *NEWSROOM)]
        self._newsroom = self._group(members, "supervisor", "The newsletter, led by its editor.")
        self._board = [self._agents[name] for name in ("code-reviewer", "data-engineer", "python-tutor")]
        board = [place.agent_id for place in self._board]
        self._reviews = self._group(board, "round_robin", "Each looks at a proposal in turn.")
        self._summarized: dict[str, int] = {}

    def play_day(self, day: int) -> None:
        """Play a day's conversations: few on weekends, more from week to week."""
        begin = _BEGIN + timedelta(days=day)
        busy = 0.3 if begin.weekday() > 4 else 1.25
        count = round(_TALKS / _DAYS * busy * (0.75 + 0.5 * day / _DAYS))
        starts = sorted(self._random.gauss(5 * 3600, 3 * 3600) % (15 * 3600) for _ in range(count))
        for start in starts:
            self._player.clock = max(self._player.clock, begin + timedelta(seconds=start))
            [role] = self._random.choices(ROLES, [role.share for role in ROLES])
            self._converse(self._agents[role.name], self._random.choice(role.writers)(self._random))
        if begin.weekday() in (1, 3):
            self._edit_newsletter()
        if begin.weekday() == 4:
            self._review_together()

    def play_batch(self) -> None:
        """Send a night's tickets to be tagged as a batch; it is still running."""
        agent_id, clock = self._agents["support-triage"].agent_id, self._player.clock
        times = {"created_at": wire_time(clock), "updated_at": wire_time(clock)}
        batch_id = self._letta.new_id("job")
        self._letta.put("batches", {**batch_template(), **times, "id": batch_id, "status": "running"})
        for number in range(12):
            ticket = f"T-{4100 + number}"
            tag = self._random.choice(("shipping", "refund", "login", "praise"))
            tagged = call("tag_ticket", json.dumps({"ticket": ticket, "tag": tag}), self._letta.new_call_id())
            answer = [reasoning_item(f"{ticket} is about {tag}."), tool_call_item([tagged])]
            for items in (answer, [tool_return_item([tagged], "tagged")]):
                item_id = self._letta.new_id("batch_item")
                self._letta.add_message(agent_id, items, batch_id=batch_id, batch_item_id=item_id)
                self._player.pass_time(0.5)

    def _hire(self, role: Role) -> str:
        kind = "memgpt_v2_agent" if role.memgpt else "letta_v1_agent"
        agent_id = self._letta.add_agent(
            "memgpt_v2_agent" if kind == "memgpt_v2_agent" else "letta_v1_agent", role.name, tags=role.tags
        )
        agent, model = self._letta.tables["agents"].rows[agent_id], role.model
        system = f"You are {role.name}, who {role.purpose}. Be brief, be kind, never guess."
        config = {
            "model": model.name,
            "handle": model.handle,
            "model_endpoint_type": model.provider,
            "model_endpoint": model.endpoint,
            "context_window": model.context,
            "enable_reasoner": model.thinks,
        }
        self._letta.replace_row(
            "agents", agent_id, description=role.purpose, system=system, model=model.handle,
            llm_config={**agent["llm_config"], **config},
        )  # fmt: skip
        self._letta.edit_system_message(agent_id, system)
        return agent_id

    def _group(self, agent_ids: list[str], kind: str, description: str) -> str:
        group_id = self._letta.add_group(agent_ids, kind)
        self._letta.replace_row("groups", group_id, description=description)
        return group_id

    def _converse(self, place: Place, talk: Talk) -> None:
        if place.role.conversations:
            conversation_id = self._letta.add_conversation(place.agent_id)
            title = talk[0].said.partition("\n")[0][:60]
            self._letta.replace_row("conversations", conversation_id, summary=title)
            place = Place(place.role, place.agent_id, conversation_id)
        for exchange in talk:
            if not self._player.play(place, exchange):
                break
            self._player.pass_time(self._random.lognormvariate(3.5, 0.8))
        self._summarize(place)

    def _summarize(self, place: Place) -> None:
        count = len(self._letta.list_of("agent", place.agent_id))
        if count - self._summarized.get(place.agent_id, 0) < _SUMMARY_AFTER:
            return
        self._summarized[place.agent_id] = count
        text = f"{place.role.name} answered {count} messages; open points were handed over."
        if place.role.memgpt:
            alert = {"type": "system_alert", "message": f"Note: prior messages were hidden. Summary: {text}"}
            items: list[Json] = [user_item(json.dumps(alert))]
        else:
            stats = {
                "trigger": "context_window_exceeded",
                "context_tokens_before": 30_000,
                "context_tokens_after": 9_000,
                "context_window": place.role.model.context,
                "messages_count_before": count,
                "messages_count_after": 10,
            }
            items = [{"message_type": "summary_message", "summary": text, "compaction_stats": stats}]
        self._letta.touch(place.agent_id)
        self._letta.add_message(place.agent_id, items, date=self._player.clock)

    def _edit_newsletter(self) -> None:
        """Let the editor ask all agents of the group, who answer before the tool returns to the editor."""
        said, brief, returned, answer = office.assignment(self._random)
        editor = self._agents[SUPERVISOR.name]
        asks = use("send_message_to_all_agents_in_group", returned, message=brief)

        def members_answer() -> None:
            incoming = f"[Incoming message from agent with ID '{editor.agent_id}'] {brief}"
            for role, part in zip(NEWSROOM, json.loads(returned), strict=True):
                agent_id = self._agents[role.name].agent_id
                member = Place(role, agent_id, None, (self._newsroom,), editor.agent_id)
                self._player.play(member, Exchange(incoming, part["said"], thought="My part of the brief."))

        place = Place(editor.role, editor.agent_id, None, (self._newsroom,))
        rounds = (Round("Hand out the parts.", (asks,)),)
        asked = Exchange(said, answer, rounds, thought="All parts are in.", feedback="positive")
        self._player.play(place, asked, members_answer)

    def _review_together(self) -> None:
        """Let each agent of the group answer the same proposal in turn."""
        proposal = self._random.choice(("move sessions to Redis", "drop Python 3.9", "cache the price list"))
        for place, word in zip(
            self._board, ("Yes, with a test.", "Not before Monday.", "Why not? 🙂"), strict=True
        ):
            look = use(
                "grep_repository", f"{self._random.randrange(2, 40)} places", pattern=proposal.split()[-1]
            )
            rounds = (Round("Who would notice?", (look,)),)
            shared = Place(place.role, place.agent_id, None, (self._reviews,))
            self._player.play(shared, Exchange(f"Proposal: {proposal}.", f"{proposal}: {word}", rounds))
