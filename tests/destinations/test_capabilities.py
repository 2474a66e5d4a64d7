"""The connector chooses the formats and strategies that docs/warehouses.md promises."""

from __future__ import annotations

from pathlib import Path

import dlt
import pytest

from letta_source.destinations.capabilities import capabilities_of
from letta_source.settings import make_settings
from tests.support.driverless_clients import Promise, promises

WRITES = {"replace": "delete-insert", "upsert": "upsert", "append": "append"}


@pytest.mark.parametrize("promise", promises(), ids=str)
def test_choices_match_the_docs(promise: Promise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__SQLALCHEMY__CREDENTIALS", "sqlite:///:memory:")
    for staging, file_format in zip((None, "filesystem"), promise.files, strict=False):
        pipeline = dlt.pipeline(
            f"by_{staging}",
            str(tmp_path),
            destination=promise.destination,
            staging=staging,
            dataset_name="letta",
        )
        capabilities = capabilities_of(pipeline, make_settings({"base_url": "http://localhost"}, {}))
        pipeline.deactivate()
        assert capabilities.hints == {"file_format": file_format}
        assert WRITES[capabilities.writes] == promise.writes[0]
        assert capabilities.json_is_text == (promise.json == "text")
