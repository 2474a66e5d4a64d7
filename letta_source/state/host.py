"""A load's knowledge of the host: the families it lacks, and the lists it returned."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

logger = logging.getLogger(__name__)

ListKey = tuple[str, tuple[tuple[str, Any], ...], tuple[str | None, str | None] | None]
"""Key of a list: its path, its parameters and the cursor it was read from."""


@dataclass
class Host:
    """Knowledge that the resources of one load share.

    Attributes:
        base_url: the host's URL, for log lines.
        missing: families of endpoints that it lacks.
        lists: the items of each list, kept for the resources that need them later.
        max_listed: longer lists are not kept but read again.
        has_restarted_list: a list was read again from its start, so items came twice.
        lists_steps: True if it answers `/v1/steps/`; None until it was asked.
        agents: the number of agents; 0 until they were listed.
        active_runs: by list key, unfinished runs by id; None if the host cannot list them.
        news: the news in the list of all messages, by the cursor it was read from.
        named: ids of new items: by run its steps, by step or agent its messages.
        newest: the newest messages of all, by page size.
        steps_of: the steps read, by run.
        active_agents: a time, and the agents with news since.
        no_steps: the error if it has nothing under `/v1/steps`, so no steps' messages either.
    """

    base_url: str = ""
    missing: set[str] = field(default_factory=set)
    lists: dict[ListKey, list[dict[str, Any]]] = field(default_factory=dict)
    max_listed: int = 100_000
    has_restarted_list: bool = False
    lists_steps: bool | None = None
    no_steps: Exception | None = None
    agents: int = 0
    active_runs: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    news: dict[str | None, Any] = field(default_factory=dict)
    named: dict[str, set[str]] = field(default_factory=dict)
    newest: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    steps_of: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    active_agents: tuple[datetime, set[str]] | None = None

    def miss(self, family: str, why: str, is_known: bool = False) -> None:
        """Note, and log once, that the host lacks a family of endpoints.

        Args:
            is_known: an earlier load has reported it, so it is no longer a warning.
        """
        if family not in self.missing:
            self.missing.add(family)
            level = logging.INFO if is_known else logging.WARNING
            logger.log(level, "%s: skipped, %s does not have them (%s)", family, self.base_url, why)

    def miss_step_list(self, no_steps: Exception | None) -> None:
        """Note that steps are read through runs; `no_steps` as the attribute."""
        self.lists_steps, self.no_steps = False, no_steps
        logger.info("steps: %s cannot list steps: reading them through runs", self.base_url)
