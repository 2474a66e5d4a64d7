"""The command `letta-source transcript`, without heavy imports until it runs."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from letta_source.cli.arguments import (
    add_command,
    add_place,
    add_window,
    opened_dataset,
    text,
)
from letta_source.cli.export import CODES
from letta_source.errors import ExitCode


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "print an agent's conversation"
    command = add_command(commands, "transcript", transcript, summary, CODES)
    command.add_argument(
        "agent", type=text, metavar="AGENT", help="the agent's id, or its name if no other agent has it"
    )
    what = command.add_argument_group("what")
    what.add_argument(
        "--conversation-id",
        type=text,
        metavar="ID",
        help="only this conversation; `default`: messages outside of any",
    )
    what.add_argument("--full", action="store_true", help="do not shorten reasoning and system messages")
    what.add_argument("--html", action="store_true", help="print HTML (default: Markdown)")
    add_window(what)
    add_place(command.add_argument_group("where from"))


def transcript(options: argparse.Namespace) -> int:
    """Print a conversation."""
    from letta_source.export import conversation
    from letta_source.export.agents import agent_ids

    with opened_dataset(options, None) as (pipeline, _):
        shown = conversation(
            pipeline,
            agent_ids(pipeline, [options.agent])[0],
            options.conversation_id,
            start_date=options.start_date,
            end_date=options.end_date,
            full=options.full,
        )
    text = shown.html() if options.html else str(shown)
    sys.stdout.buffer.write(f"{text}\n".encode())
    sys.stdout.flush()
    return ExitCode.OK
