"""`letta-source run` loads from the real server exactly what the server's database holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from letta_source.schema.resources import RESOURCES
from tests.live.conftest import Letta
from tests.support.loaded_duckdb import LoadedDuckDB
from tests.support.truth import Truth

pytestmark = pytest.mark.live

EVERYTHING = ",".join(name for name in RESOURCES if name != "message_search")
# Other tests may have run for minutes since the seed.
OVERLAP = "1h"


def test_tables_equal_the_servers_database(letta: Letta, tmp_path: Path) -> None:
    overlapping, exact = (
        LoadedDuckDB(tmp_path / name, letta.server.base_url) for name in ("overlapping", "exact")
    )
    finished = [
        argument for name in ("completed", "empty") for argument in ("--batch-id", letta.ids.batches[name])
    ]
    # The cursors of `exact` are at the very end, so later it reads only what is new.
    for warehouse, lag in ((overlapping, OVERLAP), (exact, "0")):
        warehouse.folder.mkdir()
        first = warehouse.run("--resources", EVERYTHING, "--lag", lag, *finished)
        assert first.returncode == 0, first.stderr
    before = letta.truth()
    assert_equal(overlapping, before)

    loaded = overlapping.counts()
    assert overlapping.run("--resources", EVERYTHING, "--lag", OVERLAP).returncode == 0
    # Each run adds a row per resource to load_log.
    assert {**overlapping.counts(), "load_log": 0} == {**loaded, "load_log": 0}

    letta.more()
    after = letta.truth()
    for warehouse, lag in ((overlapping, OVERLAP), (exact, "0")):
        again = warehouse.run("--resources", EVERYTHING, "--lag", lag)
        assert again.returncode == 0, again.stderr
    assert_equal(overlapping, united(before, after))
    late = {key for key in after.agent_items if key[1] == letta.ids.late_message_id}
    assert (
        overlapping.items("agent_messages", "agent_id").keys()
        - exact.items("agent_messages", "agent_id").keys()
        == late
    )
    assert exact.doubled_keys() == []


def united(before: Truth, after: Truth) -> Truth:
    """Return what stays loaded, which includes what was deleted on the server."""
    return Truth(**{name: value | getattr(after, name) for name, value in vars(before).items()})


def shown(truth: Truth, pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the (parent, message) pairs that an endpoint without the lossless rendering returns.

    It hides the return of a send_message call beside the call, unless it is last: then it has its own page.
    """
    order = {message_id: at for at, message_id in enumerate(truth.roles)}
    last: dict[str, int] = {}
    for parent, message_id in pairs - {pair for pair in pairs if pair[1] in truth.hidden_returns}:
        last[parent] = max(last.get(parent, -1), order[message_id])
    return {
        (parent, message_id)
        for parent, message_id in pairs
        if message_id not in truth.hidden_returns or order[message_id] > last.get(parent, -1)
    }


def assert_equal(warehouse: LoadedDuckDB, truth: Truth) -> None:
    for table in ("agents", "groups", "runs", "steps", "conversations"):
        assert warehouse.ids(table) == getattr(truth, table), table
    assert dict(warehouse.rows("SELECT id, status FROM batches")) == truth.batches

    for table, parent, items in (
        ("agent_messages", "agent_id", truth.agent_items),
        ("group_messages", "group_id", truth.group_items),
    ):
        found = warehouse.items(table, parent)
        assert truth.counts(found) == truth.counts(items), table
        assert found == items, table
    assert warehouse.pairs("messages", "NULL") <= {(None, message_id) for _, message_id in truth.agent_items}

    for table, parent, pairs in (
        ("step_messages", "step_id", truth.step_messages),
        ("conversation_messages", "conversation_id", truth.conversation_messages),
    ):
        assert warehouse.pairs(table, parent) == shown(truth, pairs), table
    batched = warehouse.rows("SELECT batch_id, id, role FROM batch_messages")
    assert {tuple(row) for row in batched} == truth.batch_messages

    assert warehouse.calls("tool_calls") == truth.tool_calls
    assert warehouse.calls("tool_returns") == truth.tool_returns
    assert warehouse.rows("SELECT * FROM load_issues") == []
    assert warehouse.doubled_keys() == []
