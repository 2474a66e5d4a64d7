"""A whole load: every table holds what the API answers, whatever the page size and the server's dialect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from letta_source.demo import Letta, Server, recorded_letta, serve
from letta_source.demo.api import Dialect
from letta_source.tables import RESOURCES

from .warehouse import Merged, Row, Warehouse

DIALECTS: tuple[Dialect, Dialect] = ("self-hosted", "cloud")
EVERY_RESOURCE = [name for name in RESOURCES if name != "message_search"]


@dataclass(frozen=True)
class Loaded:
    """A full load of the recorded Letta with dlt into DuckDB."""

    dialect: Dialect
    server: Server
    tables: dict[str, list[Row]]
    problems: int


def _full_load(dialect: Dialect, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    warehouse = Warehouse(tmp_path_factory.mktemp(dialect))
    with serve(recorded_letta(), dialect) as server:
        session = warehouse.load(server, *EVERY_RESOURCE, validate=True)
        yield Loaded(dialect, server, warehouse.everything(), session.problems)


@pytest.fixture(scope="session", params=DIALECTS)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    yield from _full_load(request.param, tmp_path_factory)


class Api:
    """Asks the API directly, with one page larger than any list, and counts what comes."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx.Client(base_url=base_url)

    def get(self, path: str, **params: Any) -> Any:
        response = self._http.get(path, params={"order": "asc", "limit": 1000, **params})
        return response.json() if response.status_code == 200 else []

    def ids(self, path: str) -> list[str]:
        return [row["id"] for row in self.get(path)]

    def lists(self) -> dict[str, list[str]]:
        """The ids of what each list names; self-hosted the steps of each run."""
        found = {name: self.ids(f"/v1/{name}/") for name in ("agents", "groups", "runs", "steps", "conversations")}
        found["steps"] = found["steps"] or [
            step for run in found["runs"] for step in self.ids(f"/v1/runs/{run}/steps")
        ]
        return {**found, "batches": self.ids("/v1/messages/batches")}

    def messages(self, parents: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
        lossless = {"use_assistant_message": "false"}
        found: dict[str, list[dict[str, Any]]] = {"messages": self.get("/v1/messages/")}
        for kind in ("agent", "group", "step", "conversation"):
            params = lossless if kind in ("agent", "group") else {}
            found[f"{kind}_messages"] = [
                item for one in parents[f"{kind}s"] for item in self.get(f"/v1/{kind}s/{one}/messages", **params)
            ]
        found["batch_messages"] = [
            item
            for batch in parents["batches"]
            for item in self.get(f"/v1/messages/batches/{batch}/messages")["messages"]
        ]
        return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def expected_counts(api: Api) -> Counter[str]:
    """Rows by table, counted without a line of the package."""
    parents = api.lists()
    counts = Counter({name: len(ids) for name, ids in parents.items()})
    for name, items in api.messages(parents).items():
        counts[name] = len(items)
        for item in items:
            counts[f"{name}__content"] += len(_listed(item.get("content")))
            counts[f"{name}__tool_calls"] += len(item.get("tool_calls") or _listed(item.get("tool_call")))
            counts[f"{name}__tool_returns"] += len(item.get("tool_returns") or _listed(item.get("tool_return")))
            counts[f"{name}__approvals"] += len(item.get("approvals") or ())
    return counts


def test_row_counts_are_those_of_the_api(loaded: Loaded) -> None:
    expected = expected_counts(Api(loaded.server.base_url))
    found = Counter({table: len(rows) for table, rows in loaded.tables.items()})
    assert +found == +expected
    assert found["agent_messages"] > found["agents"] > 0


def test_recordings_fit_their_models(loaded: Loaded) -> None:
    assert loaded.problems == 0
    assert loaded.tables["load_issues"] == []


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 1000])
def test_page_size_makes_no_difference(loaded: Loaded, page_size: int) -> None:
    merged = Merged()
    merged.load(loaded.server, *EVERY_RESOURCE, page_size=page_size)
    for table, rows in loaded.tables.items():
        assert merged.rows(table) == rows, table
