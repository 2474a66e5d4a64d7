"""Play conversations on a small Letta: runs, steps and messages, with the times and tokens they took."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from letta_source.demo.letta import Letta
from letta_source.demo.shapes import (
    SEND_MESSAGE,
    Json,
    approval_response_item,
    assistant_item,
    call,
    reasoning_item,
    run_template,
    step_template,
    tool_call_item,
    user_item,
    wire_naive,
    wire_time,
)

from .cast import Role
from .pictures import image_part
from .script import Exchange, Round, ToolUse
from .usage import Usage


@dataclass
class Place:
    """The agent that an exchange is addressed to, and the conversation or groups that it belongs to."""

    role: Role
    agent_id: str
    conversation_id: str | None = None
    group_ids: tuple[str, ...] = ()
    sender_id: str | None = None


class Player:
    """Plays one exchange after another; `clock` is the server's time.

    Args:
        letta: The Letta that stores everything.
        random: Source of the times; ids are the Letta's own.
        clock: The time of the first exchange.
    """

    def __init__(self, letta: Letta, random: Random, clock: datetime) -> None:
        self._letta, self._random, self.clock = letta, random, clock
        self._usage: dict[tuple[str, str | None], Usage] = {}
        letta.now = letta.touched_at = lambda: self.clock

    def play(self, place: Place, exchange: Exchange, meanwhile: Callable[[], None] | None = None) -> bool:
        """Play a turn; return False if it waits for an approval that never comes.

        `meanwhile` plays what happens elsewhere between a call and its return.
        """
        turn = _Turn(self, place, meanwhile)
        said: list[Json] = [{"type": "text", "text": exchange.said, "signature": None}]
        if exchange.image:
            said.append(image_part(self._random, self._letta.new_id("file")))
        content = said if exchange.image else exchange.said
        is_err = True if exchange.error else None
        turn.say(
            [{**user_item(content, self._letta.new_uuid()), "is_err": is_err, "sender_id": place.sender_id}]
        )
        if exchange.error:
            turn.fail(*exchange.error)
            return True
        for one in exchange.rounds:
            if not self._round(turn, one):
                return False
        turn.answer(exchange.thought, exchange.answer)
        if exchange.feedback:
            self._letta.give_feedback(turn.step_id, exchange.feedback)
        return True

    def pass_time(self, seconds: float) -> None:
        """Advance the clock."""
        self.clock += timedelta(seconds=seconds)

    def _round(self, turn: _Turn, one: Round) -> bool:
        # A memgpt agent calls one tool per step.
        batches = [(use,) for use in one.uses] if turn.place.role.memgpt else [one.uses]
        return all(turn.call(one.thought, uses) for uses in batches)

    def usage_of(self, place: Place) -> Usage:
        """Return the token usage of an agent's conversation."""
        key = (place.agent_id, place.conversation_id)
        return self._usage.setdefault(key, Usage(place.role.model))

    @property
    def letta(self) -> Letta:
        """The Letta that stores everything."""
        return self._letta

    @property
    def random(self) -> Random:
        """The source of the times."""
        return self._random


class _Turn:
    """A turn that is being played: its run and its step."""

    def __init__(self, player: Player, place: Place, meanwhile: Callable[[], None] | None) -> None:
        self._player, self.place, self._meanwhile = player, place, meanwhile
        self._letta, self._random = player.letta, player.random
        self._run_id = self._start_run()
        self.step_id = self._start_step()
        self._is_stepping = True

    def say(self, items: list[Json], *, step: bool = True) -> None:
        """Store a message of this turn."""
        place = self.place
        self._letta.add_message(
            place.agent_id,
            items,
            date=self._player.clock,
            step_id=self.step_id if step else None,
            run_id=self._run_id,
            group_ids=place.group_ids,
            conversation_ids=[place.conversation_id] if place.conversation_id else (),
        )
        self._player.usage_of(place).add(items)
        self._player.pass_time(0.002)

    def call(self, thought: str, uses: Sequence[ToolUse]) -> bool:
        """Play a step that calls tools; return False if a call waits forever."""
        self._begin_step()
        memgpt = self.place.role.memgpt
        beat = {"request_heartbeat": True} if memgpt else {}
        calls = [
            call(
                use.name, json.dumps({**use.arguments, **beat}, ensure_ascii=False), self._letta.new_call_id()
            )
            for use in uses
        ]
        decision = uses[0].decision
        said = [*self._thinking(thought), tool_call_item(calls, approval=decision != "none")]
        self._model(said)
        self.say(said)
        if decision != "none":
            self._end_step("requires_approval")
            self._end_run("completed", "requires_approval")
            if decision == "waiting":
                return False
            self._player.pass_time(self._random.lognormvariate(5.5, 1.2))
            self._run_id = self._start_run()
            granted = decision == "granted"
            self.say([approval_response_item(calls[0], approve=granted, reason=uses[0].reason)])
            if not granted:
                # As recorded, the answer to a denial belongs to the step that asked.
                return True
        if self._meanwhile:
            self._meanwhile()
        self._player.pass_time(self._random.lognormvariate(-0.5, 1.0))
        self.say([_return_item(uses, calls)])
        if decision == "none":
            self._end_step(None)
        self._is_stepping = False
        return True

    def answer(self, thought: str, text: str) -> None:
        """Play the last step and end the run."""
        self._begin_step()
        if self.place.role.memgpt:
            spoken = call(
                SEND_MESSAGE, json.dumps({"message": text}, ensure_ascii=False), self._letta.new_call_id()
            )
            said = [*self._thinking(thought or "Time to answer."), tool_call_item([spoken])]
            self._model(said)
            self.say(said)
            self.say([_return_item([ToolUse(SEND_MESSAGE, {}, "Sent message successfully.")], [spoken])])
        else:
            said = [*(self._thinking(thought) if self.place.role.model.thinks else []), assistant_item(text)]
            self._model(said)
            self.say(said)
        self._end_step("tool_rule" if self.place.role.memgpt else "end_turn")
        self._end_run("completed", "tool_rule" if self.place.role.memgpt else "end_turn")

    def fail(self, error_type: str, text: str) -> None:
        """End the turn with an error of the model's provider."""
        self._player.pass_time(self._random.uniform(0.5, 30))
        error = {"message": text, "traceback": f"letta.errors.{error_type}: {text}"}
        self._letta.replace_row(
            "steps", self.step_id, status="failed", stop_reason="llm_api_error", error_type=error_type,
            error_data=error, prompt_tokens=0, completion_tokens=0, total_tokens=0,
        )  # fmt: skip
        self._end_run("failed", "llm_api_error")

    def _thinking(self, thought: str) -> list[Json]:
        if not thought:
            return []
        if self.place.role.memgpt:
            return [reasoning_item(thought, native=False)]
        if self.place.role.model.thinks:
            signed = {"signature": "c2ln"} if self.place.role.model.writes_cache else {}
            return [{**reasoning_item(thought), **signed}]
        # Other models say what they are about to do.
        return [assistant_item(thought)]

    def _model(self, said: list[Json]) -> None:
        """Record the tokens of the step and advance the clock by the model's time."""
        counted = self._player.usage_of(self.place).step(said, self._random)
        self._letta.replace_row("steps", self.step_id, **counted)
        self._player.pass_time(
            self._random.lognormvariate(0.3, 0.5)
            + counted["completion_tokens"] * self._random.uniform(0.008, 0.03)
        )

    def _begin_step(self) -> None:
        if not self._is_stepping:
            self.step_id = self._start_step()
            self._is_stepping = True

    def _end_step(self, stop_reason: str | None) -> None:
        self._letta.replace_row("steps", self.step_id, status="success", stop_reason=stop_reason)
        # The answer to an approval continues the step that asked.
        self._is_stepping = stop_reason == "requires_approval"

    def _start_run(self) -> str:
        run_id = self._letta.new_id("run")
        own = {
            "id": run_id,
            "agent_id": self.place.agent_id,
            "conversation_id": self.place.conversation_id,
            "created_at": wire_time(self._player.clock),
            "metadata": {
                "run_type": "send_message_streaming" if self.place.conversation_id else "send_message"
            },
        }
        self._letta.put("runs", {**run_template(), **own})
        self._started = self._player.clock
        return run_id

    def _start_step(self) -> str:
        step_id, model = self._letta.new_id("step"), self.place.role.model
        row = {
            **step_template(),
            "id": step_id,
            "run_id": self._run_id,
            "agent_id": self.place.agent_id,
            "provider_name": model.provider,
            "model": model.name,
            "model_handle": model.handle,
            "model_endpoint": model.endpoint,
            "context_window_limit": model.context,
        }
        self._letta.put("steps", row, self._player.clock)
        return step_id

    def _end_run(self, status: str, stop_reason: str) -> None:
        clock, streamed = self._player.clock, self.place.conversation_id is not None
        took = (clock - self._started) // timedelta(microseconds=1) * 1000
        first = int(took * self._random.uniform(0.05, 0.4)) if streamed else None
        done = {"completed_at": wire_naive(clock), "total_duration_ns": took, "ttft_ns": first}
        self._letta.replace_row("runs", self._run_id, status=status, stop_reason=stop_reason, **done)
        if self.place.conversation_id:
            moved = {"last_message_at": wire_time(clock), "updated_at": wire_time(clock)}
            self._letta.replace_row("conversations", self.place.conversation_id, **moved)
        self._letta.replace_row("agents", self.place.agent_id, last_stop_reason=stop_reason)
        self._letta.touch(self.place.agent_id)


def _return_item(uses: Sequence[ToolUse], calls: Sequence[Json]) -> Json:
    """Return an item of tool returns; the deprecated singular fields repeat the first."""
    returns = [
        {
            "type": "tool",
            "tool_return": use.result,
            "status": "error" if use.failed else "success",
            "tool_call_id": one["tool_call_id"],
            "stdout": list(use.stdout),
            "stderr": list(use.stderr),
        }
        for use, one in zip(uses, calls, strict=True)
    ]
    singular = {field: value for field, value in returns[0].items() if field != "type"}
    return {
        "message_type": "tool_return_message", "name": uses[0].name, **singular, "tool_returns": returns
    }  # fmt: skip
