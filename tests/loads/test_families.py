"""If a host lacks families of endpoints, only these are skipped."""

from __future__ import annotations

from typing import Any

import pytest

from letta_source.schema.resources import RESOURCES
from tests.support.library_loads import EVERY_RESOURCE, Merged, small_letta
from tests.support.socketless import serve_without_sockets

ON_CLOUD = ["agents", "runs", "steps", "conversations", "step_messages", "agent_messages"]


@pytest.fixture(scope="module")
def untouched() -> Merged:
    """Return a load of a host that has every family; both dialects give the same rows."""
    merged = Merged()
    with serve_without_sockets(small_letta()) as server:
        merged.load(server, *EVERY_RESOURCE)
    return merged


# Where `/v1/steps/` returns no list, steps are read through runs.
@pytest.mark.parametrize(
    ("dialect", "missing", "skipped"),
    [
        ("self-hosted", {"agents"}, {"agents", "agent_messages", "agent_blocks", "passages"}),
        ("self-hosted", {"groups"}, {"groups", "group_messages"}),
        ("self-hosted", {"runs"}, {"runs", "steps", "step_messages", "step_metrics"}),
        ("self-hosted", {"steps"}, {"step_messages"}),
        ("self-hosted", {"conversations"}, {"conversations", "conversation_messages"}),
        ("self-hosted", {"batches"}, {"batches", "batch_messages"}),
        ("self-hosted", {"messages"}, {"messages"}),
        ("self-hosted", {"runs", "steps"}, {"runs", "steps", "step_messages", "step_metrics"}),
        ("self-hosted", {"blocks"}, {"blocks"}),
        ("self-hosted", {"tools", "identities"}, {"tools", "identities"}),
        ("self-hosted", {"step_metrics"}, {"step_metrics"}),
        ("self-hosted", {"agent_blocks", "archives"}, {"agent_blocks", "archives"}),
        ("self-hosted", {"passages"}, {"passages"}),
        ("cloud", {"runs"}, {"runs"}),
        ("cloud", {"steps"}, {"step_messages"}),
        ("cloud", {"runs", "steps"}, {"runs", "steps", "step_messages"}),
    ],
)
def test_a_missing_family_does_not_affect_others(
    dialect: Any, missing: set[str], skipped: set[str], untouched: Merged, caplog: pytest.LogCaptureFixture
) -> None:
    merged = Merged()
    resources = EVERY_RESOURCE if dialect == "self-hosted" else ON_CLOUD
    with serve_without_sockets(small_letta(), dialect, missing=missing) as server:
        session = merged.load(server, *resources)
    assert {name for name, counts in session.counts.items() if counts.skipped} == skipped
    for name in resources:
        for table in RESOURCES[name].tables:
            expected = [] if name in skipped else untouched.rows(table.name)
            assert [row[:2] for row in merged.rows(table.name)] == [row[:2] for row in expected], table.name
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sorted(line.partition(": skipped, ")[0] for line in warnings) == sorted(missing)
    assert session.problems == 0


def test_a_missing_family_is_a_warning_once(caplog: pytest.LogCaptureFixture) -> None:
    """Hourly loads would repeat the warning every hour, so from the second load on it is `info`."""
    merged = Merged()
    caplog.set_level("INFO")
    with serve_without_sockets(small_letta(), missing=["groups"]) as server:
        for changes in ("off", "off", "on"):
            merged.load(server, "agents", "groups", changes=changes)
    levels = [record.levelname for record in caplog.records if "skipped" in record.getMessage()]
    assert levels == ["WARNING", "INFO", "INFO"]


def test_a_vanished_family_is_reported_once_per_load(caplog: pytest.LogCaptureFixture) -> None:
    merged, letta = Merged(), small_letta()
    for missing in ([], ["groups"], ["groups"]):
        with serve_without_sockets(letta, missing=missing) as server:
            merged.load(server, "agents", "groups")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.partition(":")[0] for line in warnings] == ["groups"]
    assert "the list missing" in warnings[0]
