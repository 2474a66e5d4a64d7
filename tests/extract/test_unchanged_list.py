"""A list in which nothing changed is not written again; one in which anything changed is, as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from letta_source.api.memory_budget import MemoryBudget
from letta_source.demo import Server, serve
from tests.support.faults import Fault, Faults
from tests.support.full_letta import FullLetta
from tests.support.library_loads import Merged

NAMES = ["first", "second", "third"]


@pytest.fixture
def letta() -> FullLetta:
    letta = FullLetta(seed=0)
    for name in NAMES:
        letta.add_agent(name=name)
    return letta


@pytest.fixture
def server(letta: FullLetta) -> Iterator[Server]:
    with serve(letta) as server:
        yield server


def written(merged: Merged, server: Server, **settings: Any) -> int:
    """Load the agents; return how many were written."""
    return merged.load(server, "agents", **settings).counts["agents"].items


def names(merged: Merged) -> list[str]:
    return merged.ids("agents", "name")


def agent_called(letta: FullLetta, name: str) -> str:
    return next(id_ for id_, agent in letta.tables["agents"].rows.items() if agent["name"] == name)


def test_a_list_is_written_once_until_something_in_it_changes(letta: FullLetta, server: Server) -> None:
    merged = Merged()
    assert [written(merged, server) for _ in range(3)] == [3, 0, 0]
    letta.change_agent(agent_called(letta, "second"), name="fourth")
    assert [written(merged, server) for _ in range(2)] == [3, 0]
    assert names(merged) == ["first", "fourth", "third"]


def test_if_an_item_enters_or_leaves_the_whole_list_is_written(letta: FullLetta, server: Server) -> None:
    """Else what left it could not be told by its older load."""
    merged = Merged()
    written(merged, server)
    letta.delete_agent(agent_called(letta, "first"))
    assert written(merged, server) == 2
    letta.add_agent(name="new")
    assert written(merged, server) == 3


def test_lists_of_other_resources(letta: FullLetta, server: Server) -> None:
    letta.add_conversation(agent_called(letta, "first"))
    merged = Merged()
    resources = ["agents", "groups", "conversations", "tools", "identities", "blocks"]
    first, second = (
        {name: counts.items for name, counts in merged.load(server, *resources).counts.items()}
        for _ in range(2)
    )
    assert first["conversations"] == 1
    assert set(second.values()) == {0}


@pytest.mark.parametrize("settings", [{"sweep_interval": 0}, {"refresh": True}], ids=str)
def test_a_sweep_and_a_refresh_write_it_again(server: Server, settings: dict[str, Any]) -> None:
    merged = Merged()
    written(merged, server)
    merged.tables.clear()
    assert written(merged, server, **settings) == 3
    assert names(merged) == NAMES
    assert written(merged, server) == 0


@pytest.mark.parametrize("between", ["window", "agent_ids"])
def test_a_list_changed_by_another_load_is_written_back(
    letta: FullLetta, server: Server, between: str
) -> None:
    """A list that is again as it was is not what the warehouse has."""
    merged, agent = Merged(), agent_called(letta, "second")
    written(merged, server)
    letta.tables["agents"].rows[agent]["name"] = "for a while"
    settings: dict[str, dict[str, Any]] = {
        "window": {"start_date": "2020-01-01"},
        "agent_ids": {"agent_ids": [agent]},
    }
    written(merged, server, **settings[between])
    assert "for a while" in names(merged)
    letta.tables["agents"].rows[agent]["name"] = "second"
    assert written(merged, server) == 3
    assert names(merged) == NAMES


def test_a_changed_mask_writes_it_again(server: Server) -> None:
    merged = Merged()
    written(merged, server)
    mask = {"agents.name": "drop"}
    assert [written(merged, server, mask=mask) for _ in range(2)] == [3, 0]
    assert written(merged, server) == 3
    assert names(merged) == NAMES


class _Ends(Faults):
    """Fails each request for agents but the first."""

    seen = 0

    def next(self, path: str) -> Fault | None:
        self.seen += path == "/v1/agents/"
        return "500" if path == "/v1/agents/" and self.seen > 1 else None


def test_an_incomplete_list_is_written_as_far_as_it_was_read(letta: FullLetta, server: Server) -> None:
    merged = Merged()
    written(merged, server)
    with serve(letta, between=_Ends()) as failing:
        session = merged.load(failing, "agents", page_size=1, retries=0)
    assert session.problems > 0
    assert session.counts["agents"].items == 1
    assert [written(merged, server) for _ in range(2)] == [3, 0]


def test_a_long_list_is_not_held_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryBudget, "enough_rows", property(lambda memory: 10))
    merged = Merged()
    assert [written(merged, server) for _ in range(2)] == [3, 3]
    assert names(merged) == NAMES


def test_no_masked_value_and_no_credential_is_part_of_its_digest(letta: FullLetta, server: Server) -> None:
    merged, agent = Merged(), agent_called(letta, "first")
    mask = {"agents.description": "drop"}
    letta.change_agent(agent, secrets=[{"key": "TOKEN", "value": "a"}], description="a")
    written(merged, server, mask=mask)
    for name, changed in ("description", "b"), ("secrets", [{"key": "TOKEN", "value": "b"}]):
        letta.tables["agents"].rows[agent][name] = changed
        assert written(merged, server, mask=mask) == 0
