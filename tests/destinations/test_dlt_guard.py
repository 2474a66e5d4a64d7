"""A destination's capabilities are looked up once per load, and are the same at every request."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dlt
import pytest

from letta_source.destinations.dlt_guard import answer_once
from letta_source.destinations.dlt_internals import Schema


@pytest.mark.parametrize(
    "destination",
    [
        dlt.destinations.duckdb("w.duckdb"),
        dlt.destinations.postgres("postgresql://me:pw@localhost/w"),
        dlt.destinations.sqlalchemy("sqlite:///w.db"),
        dlt.destinations.filesystem("file:///srv/lake"),
    ],
    ids=lambda one: str(one.destination_name),
)
def test_capabilities_are_found_once(
    destination: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    naming = Schema("letta").naming
    plain, named = destination.capabilities(), destination.capabilities(None, naming)
    looked_up: list[Any] = []
    find = destination.configuration

    def configuration(config: Any, accept_partial: bool) -> Any:
        looked_up.append(config)
        return find(config, accept_partial)

    monkeypatch.setattr(destination, "configuration", configuration)
    answer_once(destination)
    for _ in range(3):
        answer = destination.capabilities(naming=naming)
        assert shown(answer) == shown(named)
        assert shown(destination.capabilities()) == shown(plain)
        # The caller may change the result.
        answer.supported_loader_file_formats = []
    assert len(looked_up) <= 2


def shown(capabilities: Any) -> dict[str, str]:
    # Equivalent partial functions and dialects do not compare equal.
    return {name: re.sub(" at 0x[0-9a-f]+", "", str(value)) for name, value in dict(capabilities).items()}


def test_capabilities_of_a_given_configuration_are_found_each_time() -> None:
    destination: Any = dlt.destinations.duckdb("w.duckdb", max_identifier_length=30)
    answer_once(destination)
    config = destination.spec()
    assert destination.capabilities(config).max_identifier_length == 30
    destination.caps_params["max_identifier_length"] = 20
    assert destination.capabilities(config).max_identifier_length == 20
