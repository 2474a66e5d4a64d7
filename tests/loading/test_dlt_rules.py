"""dlt's settings that would break what a load promises: overridden, or refused in a line."""

from __future__ import annotations

import os

import dlt
import pytest

from letta_source.demo import Letta, Server
from letta_source.loading.dlt_rules import OURS, ours
from tests.support.command import Command, ago, log_lines, messages, one_of
from tests.support.paths import ROOT

pytestmark = pytest.mark.whole

UNSAFE = {
    "LOAD__WORKERS": "0",
    "NORMALIZE__WORKERS": "-1",
    "EXTRACT__WORKERS": "many",
    "LETTA__LOAD__WORKERS": "0",
    "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "0",
    "DATA_WRITER__FILE_MAX_ITEMS": "-5",
    "EXTRACT__DATA_WRITER__FILE_MAX_BYTES": "1 GB",
    "LETTA__NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "0",
    "DATA_WRITER__DISABLE_COMPRESSION": "",
    "LOAD__DELETE_COMPLETED_JOBS": "maybe",
    "LOAD__RAISE_ON_MAX_RETRIES": "none",
    "LOAD__PARALLELISM_STRATEGY": "all",
    "NORMALIZE__DATA_WRITER__COERCE_TIMESTAMPS": "ms",
    "DATA_WRITER__COERCE_TIMESTAMPS": "s",
    "NORMALIZE__DATA_WRITER__TIMESTAMP_TIMEZONE": "Asia/Tokyo",
}


@pytest.mark.parametrize("name", UNSAFE)
def test_what_cannot_be_overridden_is_refused(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, UNSAFE[name])
    said = letta_source.load(server)
    assert (said.code, len(log_lines(said)), letta_source.files()) == (2, 1, [])
    key = name.removeprefix("LETTA__").replace("__", ".").lower()
    assert said.errors[-1].startswith(f"letta-source: duckdb cannot be opened: {key} = ") or said.errors[
        -1
    ].startswith(f"letta-source: {key} = ")


LAYOUTS = {
    "{table_name}/{file_id}.{ext}": "must hold {load_id}",
    "{table_name}/{load_id}.{ext}": "must hold {file_id}",
    # dlt refuses these itself.
    "all/{load_id}.{file_id}.{ext}": "letta-source: filesystem cannot be opened",
    "{table_name}_{load_id}.{file_id}.{ext}": "must be followed by a separator",
    "{table_name}{load_id}.{file_id}.{ext}": "letta-source: filesystem cannot be opened",
    "{load_id}.{file_id}/{table_name}": "letta-source: filesystem cannot be opened",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_mix_up_files_are_refused(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())
    monkeypatch.setenv("DESTINATION__FILESYSTEM__LAYOUT", layout)
    refused = letta_source.load(server, "--destination", "filesystem")
    assert (refused.code, LAYOUTS[layout] in refused.errors[-1]) == (2, True)


@pytest.mark.parametrize(
    "layout", ["{table_name}.{load_id}.{file_id}.{ext}", "x/{table_name}/{load_id}/{file_id}.{ext}"]
)
def test_other_layouts_are_taken(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())
    monkeypatch.setenv("DESTINATION__FILESYSTEM__LAYOUT", layout)
    for _ in range(2):
        assert letta_source.load(server, "--destination", "filesystem").code == 0
    said = letta_source("export", "agent_messages", "--columns", "id", "--destination", "filesystem")
    assert (said.code, said.out.count("\n")) == (0, messages(letta))


def test_a_load_sets_what_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETTA__LOAD__RAISE_ON_FAILED_JOBS", "false")
    before = dict(os.environ)
    with ours("letta", shards=4):
        assert {key: str(dlt.config.get(f"letta.{key}")).lower() for key in OURS} == {
            key: str(value).lower() for key, (value, _) in OURS.items()
        }
        assert dlt.config.get("letta.load.workers", int) == 5
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REFRESH", "drop_sources"),
        ("PIPELINES__LETTA__REFRESH", "drop_resources"),
        ("DEV_MODE", "true"),
        ("DATASET_NAME_LAYOUT", "my_%s"),
        ("LOAD__RAISE_ON_FAILED_JOBS", "false"),
        ("LOAD__AUTO_ABORT_ON_TERMINAL_ERROR", "true"),
        ("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID", "true"),
        ("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID", "true"),
        ("NORMALIZE__JSON_NORMALIZER__ADD_DLT_LOAD_ID", "false"),
        ("WORKERS", "0"),
    ],
)
def test_settings_that_would_lose_rows_lose_none(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    """With several packages, then a second load, which must find where the first ended."""
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOURCES__LETTA__CHECKPOINT_ROWS", "1")
    assert letta_source.load(server).code == 0
    letta.add_message(one_of(letta), date=ago(hours=1))
    said = letta_source.load(server)
    assert (said.code, said.column("new")["agent_messages"]) == (0, "1")
    dataset = "my_letta" if "LAYOUT" in name else "letta"
    assert letta_source.count("agent_messages", dataset=dataset) == messages(letta)
    if name.startswith(("LOAD", "NORMALIZE")):
        assert f"{name.replace('__', '.').lower()} = {value}, a setting of dlt, is not taken" in said.err


def test_the_docs_list_them() -> None:
    page = (ROOT / "docs" / "configure.md").read_text("utf-8")
    assert [key for key in OURS if f"`{key}`" not in page] == []
