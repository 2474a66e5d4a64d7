"""dlt's settings that would break a load's guarantees are overridden, or refused in one line."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace
from typing import Any

import dlt
import pytest

from letta_source.demo import Letta, Server
from letta_source.errors import ConfigError
from letta_source.loading.dlt_rules import (
    OURS,
    REFUSED,
    REFUSED_OF_DESTINATION,
    assert_dlt_settings,
    ours,
)
from tests.support.command import Command, ago, log_lines, messages, one_of

UNSAFE = {
    "LOAD__WORKERS": ("0", "less than 1"),
    "NORMALIZE__WORKERS": ("-1", "less than 1"),
    "EXTRACT__WORKERS": ("many", "a whole number"),
    "EXTRACT__NEXT_ITEM_MODE": ("lifo", "none of fifo, round_robin"),
    "EXTRACT__FUTURES_POLL_INTERVAL": ("soon", "a number"),
    "LETTA__LOAD__WORKERS": ("0", "less than 1"),
    "LOAD__POOL_TYPE": ("fibres", "one of process, thread, none"),
    "LOAD__RUN_SLEEP": ("a while", "a number"),
    "LOAD__DELETE_COMPLETED_JOBS": ("maybe", "true or false"),
    "LOAD__RAISE_ON_FAILED_JOBS": ("never", "true or false"),
    "LOAD__RAISE_ON_MAX_RETRIES": ("none", "a whole number"),
    "LOAD__PARALLELISM_STRATEGY": ("all", "one of parallel"),
    "LOAD__LOAD_VOLUME_PATH": ("/srv/packages", "own folder"),
    "NORMALIZE__LOAD_VOLUME_PATH": ("/srv/packages", "own folder"),
    "NORMALIZE__NORMALIZE_VOLUME_PATH": ("/srv/packages", "own folder"),
    "LETTA__NORMALIZE__SCHEMA_VOLUME_PATH": ("schemas", "own folder"),
    "NORMALIZE__START_METHOD": ("teleport", "none of fork"),
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID": ("perhaps", "true or false"),
    "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": ("0", "less than 1"),
    "DATA_WRITER__FILE_MAX_ITEMS": ("-5", "less than 1"),
    "EXTRACT__DATA_WRITER__FILE_MAX_BYTES": ("1 GB", "a whole number"),
    "LETTA__NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": ("0", "less than 1"),
    "SOURCES__LETTA__DATA_WRITER__ROW_GROUP_SIZE": ("0", "less than 1"),
    "DATA_WRITER__DISABLE_COMPRESSION": ("", "true or false"),
    "DATA_WRITER__COMPRESSION": ("zip", "one of none, snappy"),
    "DATA_WRITER__VERSION": ("9", "none of 1.0"),
    "DATA_WRITER__FLAVOR": ("spark", "times would lose their zone"),
    "DATA_WRITER__DATA_PAGE_SIZE": ("large", "a whole number"),
    "DATA_WRITER__ARROW_CONCAT_PROMOTE_OPTIONS": ("widest", "one of none, default, permissive"),
    "NORMALIZE__DATA_WRITER__COERCE_TIMESTAMPS": ("ms", "microseconds"),
    "DATA_WRITER__COERCE_TIMESTAMPS": ("s", "microseconds"),
    "EXTRACT__DATA_WRITER__COERCE_TIMESTAMPS": ("ns", "not be written"),
    "NORMALIZE__DATA_WRITER__TIMESTAMP_TIMEZONE": ("Asia/Tokyo", "times would be moved"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_settings_that_cannot_be_overridden_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    value, why = UNSAFE[name]
    monkeypatch.setenv(name, value)
    key = name.removeprefix("LETTA__").replace("__", ".").lower()
    with pytest.raises(ConfigError, match=re.escape(f"{key} = {value!r}, a setting of dlt, ")) as refused:
        assert_dlt_settings("letta", client_of("duckdb"))
    assert why in str(refused.value)


SAFE = {
    "LOAD__WORKERS": "4",
    "LOAD__RUN_SLEEP": "0.5",
    "LOAD__PARALLELISM_STRATEGY": "sequential",
    "LOAD__RAISE_ON_FAILED_JOBS": "no",
    "NORMALIZE__START_METHOD": "spawn",
    "EXTRACT__NEXT_ITEM_MODE": "fifo",
    "DATA_WRITER__COMPRESSION": "zstd",
    "DATA_WRITER__VERSION": "2.6",
    "DATA_WRITER__COERCE_TIMESTAMPS": "us",
    "DATA_WRITER__TIMESTAMP_TIMEZONE": "UTC",
    "SCHEMA__NAMING": "sql_cs_v1",
    "SCHEMA__JSON_NORMALIZER": '{"module": "dlt.common.normalizers.json.relational"}',
    # Variables of other programs.
    "WORKERS": "0",
    "COMPRESSION": "zip",
}


@pytest.mark.parametrize("name", SAFE)
def test_other_values_are_accepted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, SAFE[name])
    assert_dlt_settings("letta", client_of("duckdb"))


OF_DESTINATIONS: list[tuple[str, str, object, object]] = [
    ("bigquery", "autodetect_schema", True, False),
    ("bigquery", "ignore_unknown_values", True, False),
    ("databricks", "insert_api", "zerobus", "copy_into"),
    ("redshift", "additional_copy_options", ["MAXERROR 100"], ["COMPUPDATE OFF"]),
    ("redshift", "additional_copy_options", ["truncatecolumns"], []),
    ("sqlalchemy", "create_primary_keys", True, False),
]


@pytest.mark.parametrize(("kind", "name", "unsafe", "safe"), OF_DESTINATIONS)
def test_settings_of_destinations(kind: str, name: str, unsafe: object, safe: object) -> None:
    assert_dlt_settings("letta", client_of(kind, **{name: safe}))
    assert_dlt_settings("letta", client_of("duckdb", **{name: unsafe}))
    with pytest.raises(ConfigError, match=f"destination.{kind}.{name} = "):
        assert_dlt_settings("letta", client_of(kind, **{name: unsafe}))


def test_every_rule_of_a_destination_is_tested() -> None:
    assert {f"{kind}.{name}" for kind, name, _, _ in OF_DESTINATIONS} == set(REFUSED_OF_DESTINATION)


def test_every_rule_is_tested() -> None:
    tried = {name.replace("__", ".").lower() for name, (_, why) in UNSAFE.items()}
    assert [key for key in REFUSED if not any(one.endswith(key) for one in tried)] == [
        # An alias of `extract.workers`.
        "extract.max_parallel_items"
    ]


def client_of(kind: str, **settings: object) -> Any:
    return SimpleNamespace(config=SimpleNamespace(destination_type=kind, **settings))


@pytest.mark.whole
@pytest.mark.parametrize(
    "name", ["LOAD__WORKERS", "DATA_WRITER__VERSION", "NORMALIZE__NORMALIZE_VOLUME_PATH"]
)
def test_settings_are_refused_before_anything_is_read(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, UNSAFE[name][0])
    said = letta_source.load(server)
    assert (said.code, len(log_lines(said)), letta_source.files()) == (2, 1, [])


@pytest.mark.parametrize("value", ["no_such_naming", "dlt.no_such_naming"])
def test_an_unknown_naming_convention_is_one_line(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SCHEMA__NAMING", value)
    said = letta_source.load(server)
    assert (said.code, len(log_lines(said)), len(server.requests)) == (2, 1, 0)
    assert "no_such_naming" in said.err


LAYOUTS = {
    "{table_name}/{file_id}.{ext}": "must hold {load_id}",
    "{table_name}/{load_id}.{ext}": "must hold {file_id}",
    # dlt itself refuses these.
    "all/{load_id}.{file_id}.{ext}": "letta-source: filesystem cannot be opened",
    "{table_name}_{load_id}.{file_id}.{ext}": "must be followed by a separator",
    "{table_name}{load_id}.{file_id}.{ext}": "letta-source: filesystem cannot be opened",
    "{load_id}.{file_id}/{table_name}": "letta-source: filesystem cannot be opened",
}


@pytest.mark.whole
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_mix_up_files_are_refused(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())
    monkeypatch.setenv("DESTINATION__FILESYSTEM__LAYOUT", layout)
    refused = letta_source.load(server, "--destination", "filesystem")
    assert (refused.code, LAYOUTS[layout] in refused.errors[-1]) == (2, True)


@pytest.mark.whole
@pytest.mark.parametrize(
    "layout", ["{table_name}.{load_id}.{file_id}.{ext}", "x/{table_name}/{load_id}/{file_id}.{ext}"]
)
def test_other_layouts_are_accepted(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())
    monkeypatch.setenv("DESTINATION__FILESYSTEM__LAYOUT", layout)
    for _ in range(2):
        assert letta_source.load(server, "--destination", "filesystem").code == 0
    said = letta_source("export", "agent_messages", "--columns", "id", "--destination", "filesystem")
    assert (said.code, said.out.count("\n")) == (0, messages(letta))


def test_a_load_overrides_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETTA__LOAD__RAISE_ON_FAILED_JOBS", "false")
    before = dict(os.environ)
    with ours("letta", shards=4):
        assert {key: str(dlt.config.get(f"letta.{key}")).lower() for key in OURS} == {
            key: str(value).lower() for key, (value, _) in OURS.items()
        }
        assert dlt.config.get("letta.load.workers", int) == 5
    assert dict(os.environ) == before


# Two loads prove all: each setting by itself would fail the test.
DANGEROUS = {
    "everywhere": {
        "REFRESH": "drop_sources",
        "LOAD__RAISE_ON_FAILED_JOBS": "false",
        "LOAD__AUTO_ABORT_ON_TERMINAL_ERROR": "true",
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_ID": "true",
        "NORMALIZE__JSON_NORMALIZER__ADD_DLT_LOAD_ID": "false",
        "WORKERS": "0",
    },
    # Where it is set, dlt reads no other `REFRESH`.
    "of the pipeline": {
        "PIPELINES__LETTA__REFRESH": "drop_resources",
        "DEV_MODE": "true",
        "DATASET_NAME_LAYOUT": "my_%s",
    },
}


@pytest.mark.whole
@pytest.mark.parametrize("settings", DANGEROUS.values(), ids=DANGEROUS)
def test_settings_that_would_lose_rows_lose_none(
    letta_source: Command,
    letta: Letta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
) -> None:
    """Load several packages, then load again, which must continue where the first load ended."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOURCES__LETTA__CHECKPOINT_ROWS", "1")
    assert letta_source.load(server).code == 0
    letta.add_message(one_of(letta), date=ago(hours=1))
    said = letta_source.load(server)
    assert (said.code, said.column("new")["agent_messages"]) == (0, "1")
    dataset = "my_letta" if "DATASET_NAME_LAYOUT" in settings else "letta"
    assert letta_source.count("agent_messages", dataset=dataset) == messages(letta)
    for name, value in settings.items():
        if name.startswith(("LOAD", "NORMALIZE")):
            assert f"{name.replace('__', '.').lower()} = {value}, a setting of dlt, is ignored" in said.err


@pytest.mark.whole
def test_plain_files_continue_whatever_restore_from_destination_says(
    letta_source: Command, letta: Letta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (letta_source.folder / "lake").as_uri())
    monkeypatch.setenv("RESTORE_FROM_DESTINATION", "false")
    to = ("--destination", "filesystem")
    for working_folder in ("one", "other"):
        monkeypatch.setenv("DLT_DATA_DIR", str(letta_source.folder / working_folder))
        assert letta_source.load(server, *to).code == 0
    said = letta_source("export", "agent_messages", "--columns", "id", *to)
    assert said.out.count("\n") == messages(letta)
