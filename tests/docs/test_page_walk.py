"""docs/architecture.md names all modules that one page crosses from the socket to rows, and no other."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from types import FrameType
from typing import Any

import pytest

from letta_source import source
from letta_source.demo import Letta, serve
from letta_source.paging.pages import Pages
from letta_source.state.resource_state import ResourceState
from letta_source.state.session import Session
from tests.support.library_loads import quiet_agent
from tests.support.paths import ROOT

PACKAGE = ROOT / "letta_source"
# Values and descriptions that every package uses; the page names them once.
EVERYWHERE = {"arrays", "models", "schema", "settings", "errors", "items", "safe_text", "shards", "times"}
LONGEST_WALK, MOST_MODULES = 13, 24


def described() -> tuple[list[str], set[str]]:
    """Return the steps of the walk as documented, and the modules that they name."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    section = page.partition("## One page, from the socket to rows")[2].partition("\n## ")[0]
    steps = re.findall(r"^\d+\. .*$", section, re.MULTILINE)
    return steps, set(re.findall(r"`([a-z]+/[a-z_]+)`", "\n".join(steps)))


@contextmanager
def crossed(is_on: threading.Event) -> Iterator[set[str]]:
    """Collect the modules of the package that any thread calls into while the event is set."""
    found: set[str] = set()
    within = f"{PACKAGE}/"

    def note(frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(within) and is_on.is_set():
            found.add(file[len(within) :].removesuffix(".py"))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def test_the_walk_of_a_page_is_as_described(monkeypatch: pytest.MonkeyPatch) -> None:
    letta, asked, stored, is_second = Letta(), [0], [0], threading.Event()
    # Its first messages are older than the overlap, as are those of most pages.
    agent = quiet_agent(letta)
    for _ in range(9):
        letta.talk(agent, "hi", tools=["roll"], date=datetime(2024, 5, 4, tzinfo=timezone.utc))
    ask, commit = Pages.ask, ResourceState.commit

    async def ask_one_by_one(pages: Pages, *arguments: Any) -> Any:
        if pages.endpoint.path.endswith(f"{agent}/messages"):
            # No two pages are on their way at once, and the search for agents has ended: the page's own task
            # and the one that started it are left.
            while stored[0] < asked[0] or (asked[0] and len(asyncio.all_tasks()) > 2):
                await asyncio.sleep(0.001)
            asked[0] += 1
            if asked[0] == 2:
                is_second.set()
        return await ask(pages, *arguments)

    def commit_and_note(state: ResourceState) -> None:
        commit(state)
        stored[0] += 1
        is_second.clear()

    monkeypatch.setattr(Pages, "ask", ask_one_by_one)
    monkeypatch.setattr(ResourceState, "commit", commit_and_note)
    session = Session()
    session.packages.rows_per_yield = 1
    with serve(letta) as server, crossed(is_second) as found:
        read = source.letta(base_url=server.base_url, page_size=10, max_workers=1, session=session)
        assert len(list(read.with_resources("agent_messages"))) > asked[0] > 2
    steps, named = described()
    assert {name for name in found if name.partition("/")[0] not in {*EVERYWHERE, "demo"}} == named
    assert len(steps) <= LONGEST_WALK
    assert len(named) <= MOST_MODULES
