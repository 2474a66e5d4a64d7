"""The script of a conversation: messages and tool calls, before anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, TypeAlias

Decision = Literal["none", "granted", "denied", "waiting"]


@dataclass(frozen=True)
class ToolUse:
    """One tool call with its result.

    `decision` is a person's decision if the tool asks for approval; `reason` is why it was denied.
    """

    name: str
    arguments: dict[str, Any]
    result: str
    failed: bool = False
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    decision: Decision = "none"
    reason: str | None = None


@dataclass(frozen=True)
class Round:
    """One step in which the agent calls tools, all at once."""

    thought: str
    uses: tuple[ToolUse, ...]


@dataclass(frozen=True)
class Exchange:
    """One turn: a person's message, the rounds of tool calls, the answer.

    `image` says what a picture beside the text shows. `error` is the type and the text of an error that ended
    the turn before an answer. `feedback` is a person's verdict on the last step.
    """

    said: str
    answer: str
    rounds: tuple[Round, ...] = ()
    thought: str = ""
    image: str | None = None
    error: tuple[str, str] | None = None
    feedback: Literal["positive", "negative"] | None = None


Talk: TypeAlias = list[Exchange]
"""A conversation."""

Writer: TypeAlias = Callable[[Random], Talk]
"""Makes up a conversation, a different one each time."""


def use(name: str, result: str, /, **arguments: Any) -> ToolUse:
    """Return a call that succeeds."""
    return ToolUse(name, arguments, result)


def failing(name: str, error: str, message: str, /, **arguments: Any) -> ToolUse:
    """Return a call whose tool raises, with the traceback that Letta's sandbox adds."""
    signature = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    trace = (
        "Traceback (most recent call last):\n"
        f'  File "/home/letta/.letta/tool_execution_dir/{name}.py", line 53, in <module>\n'
        f"    _function_result = {name}({signature})\n{error}: {message}\n"
    )
    said = f"Error executing function {name}: {error}: {message}"
    return ToolUse(name, arguments, said, failed=True, stderr=(trace,))


def asking(
    random: Random, name: str, result: str, reason: str, /, *, patient: bool = False, **arguments: Any
) -> ToolUse:
    """Return a call that a person has to approve: three of four are approved.

    If the agent has conversations (`patient`), one in ten is never decided: it blocks no other.
    """
    luck = random.random()
    decision: Decision = "waiting" if patient and luck < 0.1 else "denied" if luck < 0.25 else "granted"
    return ToolUse(
        name, arguments, result, decision=decision, reason=reason if decision == "denied" else None
    )


def verdict(random: Random, good: float = 0.8) -> Literal["positive", "negative"] | None:
    """Return a person's verdict; three of four give none."""
    if random.random() > 0.25:
        return None
    return "positive" if random.random() < good else "negative"
