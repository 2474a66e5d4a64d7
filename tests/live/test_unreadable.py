"""Messages that the real server cannot render are quarantined one by one, and loaded once it can.

The agent stays, readable again: the other tests compare with whatever the server holds, in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

import httpx
import pytest

from tests.live.conftest import Letta
from tests.support.loaded_duckdb import LoadedDuckDB
from tests.support.seed import Api
from tests.support.server_rows import Tables

pytestmark = pytest.mark.live


class Poison(NamedTuple):
    """A change of a stored message after which every page that contains it answers `status`."""

    item: str
    columns: dict[str, Any]
    status: int


IMAGE_BY_URL = {"type": "image", "source": {"type": "url", "url": "https://example.com/image.png"}}
# In the order of the agent's turns.
POISONS = (
    # A return of an older release, which is not JSON.
    Poison("tool_return_message", {"tool_returns": [], "content": [{"type": "text", "text": "Sunny"}]}, 500),
    # An approval without a decision.
    Poison("approval_response_message", {"approvals": []}, 400),
    Poison("user_message", {"content": [IMAGE_BY_URL]}, 500),
)
# The gaps times the tries of one message, each of which may end with a reset connection; and the list's end.
TRIES = len(POISONS) * 4 + 2


def talk(letta: Letta) -> str:
    """Create an agent with the messages to make unreadable, and others before, between and after them."""
    api = Api(letta.server, letta.client)
    agent = api.create_agent("poisoned", "letta_v1_agent", list(letta.ids.tools.values()))
    api.turn(agent, "Hello; think.")
    api.turn(agent, "use shout")
    api.turn(agent, "use danger")
    api.decide(agent, approve=True, reason=None)
    for number in range(3):
        api.turn(agent, f"Turn {number} after that.")
    return agent


def places_of_poison(items: list[tuple[str, ...]]) -> list[int]:
    """Return the index of a message for each poison; no two are adjacent."""
    places: list[int] = []
    for poison in POISONS:
        start = places[-1] + 2 if places else 1
        places.append(next(at for at in range(start, len(items) - 1) if poison.item in items[at]))
    return places


def status_of(letta: Letta, agent: str, **params: str | int) -> int:
    # Not with the shared client, because the server resets a connection after a 500.
    url = f"{letta.server.base_url}/v1/agents/{agent}/messages"
    query = {"order": "asc", "use_assistant_message": "false", **params}
    return httpx.get(url, params=query, timeout=60).status_code


@contextmanager
def changed(letta: Letta, changes: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Change columns of messages, given by id, while the block runs."""
    with Tables(letta.server.database_url) as tables:
        held = {message: tables.change_message(message, **columns) for message, columns in changes.items()}
    try:
        yield
    finally:
        with Tables(letta.server.database_url) as tables:
            for message, columns in held.items():
                tables.change_message(message, **columns)


def load(warehouse: LoadedDuckDB, agent: str, *options: str) -> CompletedProcess[str]:
    # Without an overlap all messages are old enough for the cursor to pass the gaps.
    some = ("--agent-id", agent, "--resources", "agents,agent_messages", "--lag", "0")
    return warehouse.run(*some, *options)


def requests(loaded: CompletedProcess[str]) -> int:
    """Return the number of requests for the messages, from the command's table."""
    heading, *rows = (line.split() for line in loaded.stdout.replace("new items", "new_items").splitlines())
    return int(next(row for row in rows if row[0] == "agent_messages")[heading.index("requests")])


def gaps(warehouse: LoadedDuckDB) -> list[tuple[str, str]]:
    """Return (id before, id after) of each gap, over all loads."""
    issues = warehouse.rows("SELECT kind, after_id, before_id FROM load_issues")
    assert {kind for kind, *_ in issues} == {"unreadable"}
    return sorted((after, before) for _, after, before in issues)


def test_unreadable_messages_are_loaded_once_they_are_readable(
    letta: Letta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Unreadable messages stay so, and more retries only take longer.
    monkeypatch.setenv("SOURCES__LETTA__RETRIES", "1")
    agent = talk(letta)
    truth = letta.truth()
    items = {key: kinds for key, kinds in truth.agent_items.items() if key[0] == agent}
    ids = [message for _, message in items]
    places = places_of_poison(list(items.values()))
    neighbours = sorted((ids[at - 1], ids[at + 1]) for at in places)
    poisoned = {ids[at] for at in places}
    warehouse = LoadedDuckDB(tmp_path, letta.server.base_url)

    with changed(letta, {ids[at]: poison.columns for at, poison in zip(places, POISONS, strict=True)}):
        for at, poison in zip(places, POISONS, strict=True):
            assert status_of(letta, agent, limit=1, after=ids[at - 1]) == poison.status
        assert status_of(letta, agent, limit=len(ids)) in (400, 500)
        first = load(warehouse, agent)
        assert first.returncode == 3, first.stderr
        readable = {key: kinds for key, kinds in items.items() if key[1] not in poisoned}
        assert warehouse.items("agent_messages", "agent_id") == readable
        assert gaps(warehouse) == neighbours

        second = load(warehouse, agent)
        # All issues are known.
        assert second.returncode == 0, second.stderr
        assert warehouse.items("agent_messages", "agent_id") == readable
        assert gaps(warehouse) == sorted(neighbours * 2)
        assert requests(second) <= TRIES < requests(first)

    # Without `--refresh`, their next try would be in an hour.
    third = load(warehouse, agent, "--refresh")
    assert third.returncode == 0, third.stderr
    assert warehouse.items("agent_messages", "agent_id") == items
    for child, calls in (("tool_calls", truth.tool_calls), ("tool_returns", truth.tool_returns)):
        own = {message: found for message, found in calls.items() if message in ids}
        assert warehouse.calls(child) == own, child
    # Two loads named each, and a third one named it as resolved.
    assert len(gaps(warehouse)) == 3 * len(POISONS)
    assert warehouse.doubled_keys() == []


def test_messages_between_unreadable_returns_of_neighbouring_turns_are_loaded(
    letta: Letta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest message is unreadable too, so only runs, their steps and other agents lead there."""
    monkeypatch.setenv("SOURCES__LETTA__RETRIES", "1")
    api = Api(letta.server, letta.client)
    agent, other = (
        api.create_agent(name, "letta_v1_agent", list(letta.ids.tools.values()))
        for name in ("between", "beside")
    )
    api.turn(agent, "Hello; think.")
    for _ in range(2):
        api.turn(agent, "use shout")
        api.turn(other, "Something of that time.")
    api.turn(agent, "The last one.")
    items = {key: kinds for key, kinds in letta.truth().agent_items.items() if key[0] == agent}
    ids = [message for _, message in items]
    bad = [key[1] for key, kinds in items.items() if "tool_return_message" in kinds] + ids[-1:]
    assert len(bad) == 3
    image = {"content": [IMAGE_BY_URL], "role": "user"}
    warehouse = LoadedDuckDB(tmp_path, letta.server.base_url)
    with changed(letta, {one: POISONS[0].columns if one != ids[-1] else image for one in bad}):
        assert status_of(letta, agent, limit=1, after=ids[-2]) == 500
        # The agent itself answers 500: the server looks for its pending approval in the newest message.
        loaded = warehouse.run("--agent-id", agent, "--resources", "agent_messages", "--lag", "0")
        assert loaded.returncode == 3, loaded.stderr
        readable = {key: kinds for key, kinds in items.items() if key[1] not in bad}
        assert warehouse.items("agent_messages", "agent_id") == readable
    # Another agent's message works as a cursor in this one's list.
    others = [key[1] for key in letta.truth().agent_items if key[0] == other]
    path = f"{letta.server.base_url}/v1/agents/{agent}/messages"
    query = {"order": "asc", "limit": "1000", "after": others[-1], "use_assistant_message": "false"}
    found = httpx.get(path, params=query, timeout=60).json()
    assert {item["id"] for item in found} <= {*ids} - {ids[0]}
    assert found
