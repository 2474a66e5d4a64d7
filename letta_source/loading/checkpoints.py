"""Cut a long load into load packages: each is loaded with its cursors before the next is read."""

from __future__ import annotations

import logging

from dlt.extract import DltSource

from letta_source.api.memory_budget import MemoryBudget
from letta_source.loading.workspace import Workspace
from letta_source.state.session import Session

logger = logging.getLogger(__name__)


def load_packages(workspace: Workspace, source: DltSource, session: Session) -> None:
    """Extract and load package after package; `checkpoint_rows` and the memory limit the rows of each."""
    session.packages.max_rows = session.settings.checkpoint_rows
    session.packages.max_bytes = MemoryBudget(session.settings.memory_limit).enough_for_package
    to_take_over = workspace.to_take_over()
    session.before.empty = workspace.appendable(source.selected_resources)
    session.before.from_elsewhere = not set(source.selected_resources).isdisjoint(to_take_over)
    session.before.erased = workspace.erased()
    workspace.keep_masking()
    _load_each(workspace, source, session)
    if not session.packages.fatal:
        rest = [name for name in to_take_over if name not in source.selected_resources]
        if rest != to_take_over:
            workspace.set_to_take_over(rest)


def _load_each(workspace: Workspace, source: DltSource, session: Session) -> None:
    while True:
        workspace.assert_leased()
        with workspace.let_go():
            workspace.pipeline.extract(source)
        session.written.is_writing = True
        packages = session.packages
        workspace.load_package(bool(session.before.empty), packages.rows, packages.bytes > 0)
        session.written.is_writing = False
        session.written.items = sum(counts.items for counts in session.counts.values())
        if not session.packages.has_more:
            break
        logger.info("checkpoint: %s items and their cursors are loaded", f"{session.written.items:,}")
