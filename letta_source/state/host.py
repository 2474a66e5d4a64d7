"""A host as loads know it: the families it lacks, and the lists it gave."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

logger = logging.getLogger(__name__)

ListKey = tuple[str, tuple[tuple[str, Any], ...], tuple[str | None, str | None] | None]
"""Names a list: its path, its parameters and the cursor it was read from."""


@dataclass
class Host:
    """Knowledge that the resources of one load share.

    Attributes:
        base_url: of the host, for log lines.
        missing: families of endpoints that it does not have.
        lists: what each list named, kept for the resources that need it later.
        max_listed: a longer list is not kept; whoever needs it reads it again.
        has_restarted_list: a list was read again from its start, and named again what was read before.
        lists_steps: True if it answers `/v1/steps/`; None until it was asked.
        agents: how many there are; 0 until they were listed.
        active_runs: by list's key, unfinished runs by id; None where the host cannot list them.
        news: what the list of all messages named, by the cursor it was read from.
        named: by run its steps, by step and agent its messages, as far as they are new.
        newest: by page size, its end.
        steps_of: by run, the steps that were read of it.
        active_agents: those with news, and since when.
        no_steps: what it answered if it has nothing under `/v1/steps`: no steps' messages either.
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
        """Notes, and logs once, that the host does not have a family of endpoints.

        Args:
            is_known: an earlier load said so; what is said by each load is no warning any more.
        """
        if family not in self.missing:
            self.missing.add(family)
            level = logging.INFO if is_known else logging.WARNING
            logger.log(level, "%s: skipped, %s does not have them (%s)", family, self.base_url, why)

    def miss_step_list(self, no_steps: Exception | None) -> None:
        """Notes that steps are read through runs; `no_steps` as the attribute."""
        self.lists_steps, self.no_steps = False, no_steps
        logger.info("steps: %s has no list of them, they are read through runs", self.base_url)
