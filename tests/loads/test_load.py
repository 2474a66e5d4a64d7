"""A whole load: every table holds what the API returns, at any page size and in both dialects."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from letta_source import letta
from letta_source.demo import Letta, Request, Server, recorded_letta, serve
from letta_source.schema.resources import RESOURCES
from letta_source.state.session import Session
from tests.support.library_loads import EVERY_RESOURCE, Merged, Row, Warehouse, columns_of, issues
from tests.support.paths import ROOT

pytestmark = pytest.mark.whole

KEY = "sk-let-0123456789"


@dataclass(frozen=True)
class Loaded:
    """A full load of the recorded Letta with dlt into DuckDB."""

    server: Server
    tables: dict[str, list[Row]]
    session: Session
    state: str
    requests: list[Request]


@pytest.fixture(scope="session", params=["self-hosted", "cloud"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    warehouse = Warehouse(tmp_path_factory.mktemp(request.param))
    with serve(recorded_letta(), request.param, api_key=KEY) as server:
        session = warehouse.load(server, *EVERY_RESOURCE, api_key=KEY, validate=True)
        state = json.dumps(warehouse.pipeline.state, default=str)
        yield Loaded(server, warehouse.everything(), session, state, list(server.requests))


class Api:
    """Reads the API directly, page after page until one is empty."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, **params: Any) -> Any:
        response = self._http.get(path, params={"order": "asc", "limit": 1000, **params})
        return response.json() if response.status_code == 200 else []

    def ids(self, path: str) -> list[str]:
        return [row["id"] for row in self.get(path)]

    def items(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Yield messages. A page hides the return of its send_message call, so the last may come alone."""
        after: dict[str, str] = {}
        while page := self.get(path, **params, **after):
            yield from page
            after = {"after": page[-1]["id"]}

    def parents(self) -> dict[str, list[str]]:
        lists = ("agents", "groups", "runs", "steps", "conversations")
        found = {name: self.ids(f"/v1/{name}/") for name in lists}
        # On self-hosted servers, the list of steps always answers 400.
        found["steps"] = found["steps"] or [
            step for run in found["runs"] for step in self.ids(f"/v1/runs/{run}/steps")
        ]
        return {**found, "batches": self.ids("/v1/messages/batches")}

    def messages(self, parents: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
        lossless = {"use_assistant_message": "false"}
        found = {"messages": list(self.items("/v1/messages/"))}
        for kind in ("agent", "group", "step", "conversation"):
            params = lossless if kind in ("agent", "group") else {}
            walks = (self.items(f"/v1/{kind}s/{one}/messages", **params) for one in parents[f"{kind}s"])
            found[f"{kind}_messages"] = list(itertools.chain.from_iterable(walks))
        batches = (self.get(f"/v1/messages/batches/{one}/messages") for one in parents["batches"])
        found["batch_messages"] = [message for answer in batches for message in answer["messages"]]
        return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def counted(api: Api) -> Counter[str]:
    """Count the rows by table, without any code of the package."""
    parents = api.parents()
    counts = Counter({name: len(ids) for name, ids in parents.items()})
    # Failed steps have no metrics.
    counts["step_metrics"] = sum(bool(api.get(f"/v1/steps/{one}/metrics")) for one in parents["steps"])
    for name, items in api.messages(parents).items():
        counts[name] = len(items)
        for item in items:
            for child in ("tool_calls", "tool_returns"):
                counts[f"{name}__{child}"] += len(item.get(child) or _listed(item.get(child.rstrip("s"))))
            counts[f"{name}__content"] += len(_listed(item.get("content")))
            counts[f"{name}__approvals"] += len(item.get("approvals") or ())
    return counts


def test_row_counts_are_those_of_the_api(loaded: Loaded) -> None:
    found = Counter({table: len(rows) for table, rows in loaded.tables.items()})
    with httpx.Client(base_url=loaded.server.base_url, headers={"authorization": f"Bearer {KEY}"}) as http:
        assert +found == +counted(Api(http))
    assert found["agent_messages"] > found["step_messages"] > found["agents"] > 0


def test_recordings_fit_their_models(loaded: Loaded) -> None:
    assert (loaded.session.problems, loaded.tables["load_issues"]) == (0, [])


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 1000])
def test_page_size_makes_no_difference(loaded: Loaded, page_size: int) -> None:
    merged = Merged()
    merged.load(loaded.server, *EVERY_RESOURCE, page_size=page_size, api_key=KEY)
    for table, rows in loaded.tables.items():
        assert merged.rows(table) == rows, table


def test_self_hosted_and_cloud_give_the_same() -> None:
    here, there = Merged(), Merged()
    for merged, dialect in ((here, "self-hosted"), (there, "cloud")):
        with serve(recorded_letta(), "cloud" if dialect == "cloud" else "self-hosted") as server:
            session = merged.load(server, *EVERY_RESOURCE)
    absent = {name for name, counts in session.counts.items() if counts.skipped}
    assert absent == {"groups", "group_messages", "batches", "batch_messages"}
    for name in set(EVERY_RESOURCE) - absent:
        for table in RESOURCES[name].tables:
            assert here.rows(table.name) == there.rows(table.name), table.name


def test_tables_of_missing_families_are_not_created(loaded: Loaded) -> None:
    skipped = {name for name, counts in loaded.session.counts.items() if counts.skipped}
    assert loaded.tables.keys() == {
        "load_issues",
        *(table.name for name in set(EVERY_RESOURCE) - skipped for table in RESOURCES[name].tables),
    }


def test_resources_are_read_one_after_the_other(loaded: Loaded) -> None:
    spans = [(counts.begun or 0.0, counts.ended or 0.0) for counts in loaded.session.counts.values()]
    assert len(spans) == len(EVERY_RESOURCE)
    for (begun, ended), (begun_next, _) in itertools.pairwise(sorted(spans)):
        assert begun < ended <= begun_next
    asked = sum(counts.requests for counts in loaded.session.counts.values())
    assert asked == len(loaded.requests)


def test_lists_are_read_once_though_several_resources_need_them(loaded: Loaded) -> None:
    starts = Counter(
        request.path
        for request in loaded.requests
        if not {"after", "before"} & request.params.keys() and request.params.get("limit") == "1000"
    )
    for path in ("/v1/agents/", "/v1/groups/", "/v1/runs/", "/v1/conversations/", "/v1/messages/batches"):
        assert starts[path] == 1, path
    assert starts["/v1/steps/"] <= 1


def test_the_state_holds_no_key_and_no_content(loaded: Loaded) -> None:
    texts = {row[0] for row in _column(loaded, "agent_messages", "text") if row[0] and len(row[0]) > 12}
    assert len(texts) > 20
    assert not [text for text in (*texts, KEY) if json.dumps(text)[1:-1] in loaded.state]
    assert loaded.tables["agent_messages"][0][0] in loaded.state


def _column(loaded: Loaded, table: str, column: str) -> list[Row]:
    place = columns_of(table).index(column)
    return [(row[place],) for row in loaded.tables[table]]


def test_items_that_do_not_fit_their_model_are_reported_and_loaded(tmp_path: Path) -> None:
    small = Letta(seed=0)
    agent = small.add_agent()
    wrong = small.add_message(agent, [{"message_type": "reasoning_message", "reasoning": ["no", "text"]}])
    warehouse = Warehouse(tmp_path)
    with serve(small) as server:
        session = warehouse.load(server, "agent_messages", validate=True)
    assert issues(warehouse.rows("load_issues")) == [("agent_messages", agent, "invalid")]
    assert warehouse.rows("load_issues", "after_id", "before_id") == [(wrong, wrong)]
    assert session.problems == 1
    assert wrong in warehouse.ids("agent_messages")


def test_search_is_loaded_on_cloud_only() -> None:
    small = Letta(seed=0)
    agent = small.add_agent()
    found = [small.add_message(agent, text=f"a zebra, {n}") for n in range(2)]
    for dialect, ids, problems in (("cloud", sorted(found), []), ("self-hosted", [], ["unreadable"])):
        merged = Merged()
        with serve(small, "cloud" if dialect == "cloud" else "self-hosted") as server:
            session = merged.load(server, "message_search", search_query="zebra")
        assert merged.ids("message_search") == ids
        assert [kind for _, _, kind in issues(merged.rows("load_issues"))] == problems
        assert session.problems == len(problems)


def test_resources_on_request_are_left_out() -> None:
    selected = letta(base_url="http://127.0.0.1:1").selected_resources.keys()
    assert {"conversation_messages", "messages", "message_search"}.isdisjoint(selected)
    searching = letta(base_url="http://127.0.0.1:1", search_query="zebra").selected_resources.keys()
    assert searching - selected == {"message_search"}


def test_settings_come_from_dlts_config_without_a_connection(tmp_path: Path) -> None:
    config, secrets = tmp_path / ".dlt" / "config.toml", tmp_path / ".dlt" / "secrets.toml"
    config.parent.mkdir()
    config.write_text(
        '[sources.letta]\nbase_url = "http://127.0.0.1:1"\nlag = "5m"\nagent_ids = ["agent-1"]\n'
    )
    secrets.write_text(f'[sources.letta]\napi_key = "{KEY}"\n')
    code = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"{event}: {arguments}")
sys.addaudithook(refuse)
from letta_source import letta
from letta_source.state.session import Session
session = Session()
letta(session=session, page_size=7)
print(session.settings.model_dump_json(include={"base_url", "lag", "agent_ids", "max_workers", "page_size"}))
print(session.settings.api_key.get_secret_value())
"""
    answer = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(ROOT),
            "SOURCES__LETTA__MAX_WORKERS": "3",
            "SOURCES__LETTA__PAGE_SIZE": "5",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "DLT_DATA_DIR": str(tmp_path),
        },
    )
    settings, key = answer.stdout.splitlines()
    assert json.loads(settings) == {
        "base_url": "http://127.0.0.1:1",
        "lag": "PT5M",
        "agent_ids": ["agent-1"],
        "max_workers": 3,
        "page_size": 7,
    }
    assert key == KEY
