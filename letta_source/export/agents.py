"""Find agents by their ids or by unique names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import dlt

from letta_source.errors import ConfigError
from letta_source.export.selection import select
from letta_source.export.stream import arrow

# An id as Letta makes it.
_ID = re.compile(r"agent-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHOWN = 10
SOME = ["agent-"]
"""A placeholder for ids that are not known until the dataset is opened."""


def agent_ids(pipeline: dlt.Pipeline, given: Sequence[str]) -> list[str]:
    """Return the ids of agents that are given by id or by name.

    Args:
        given: ids, or names as in the table `agents`; upper and lower case differ.

    Raises:
        ConfigError: no agent has this name, or several do; the message lists their ids.
    """
    if all(_ID.fullmatch(one) for one in given):
        return [*given]
    rows = arrow(pipeline, select("agents", ["id", "name"])).to_pylist()
    return [_id_of(one, rows) for one in given]


def _id_of(name: str, rows: list[dict[str, str]]) -> str:
    found = [row["id"] for row in rows if row["name"] == name]
    if name in {row["id"] for row in rows}:
        return name
    if len(found) == 1:
        return found[0]
    if not found and name.startswith("agent-"):
        # The agent may have rows although the table of agents lacks it.
        return name
    if not found:
        raise ConfigError(f"no agent has the id or the name {name!r}: the table agents lists them")
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    raise ConfigError(
        f"{len(found):,} agents are called {name!r}: give the id of one, {', '.join(found[:_SHOWN])}{more}"
    )
