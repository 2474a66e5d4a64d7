"""What each kind of setting accepts, and in which forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from letta_source.errors import ConfigError
from letta_source.settings import values
from letta_source.shards import Shard
from tests.support.wire import settings

MB = 10**6


def named(value: object) -> str:
    """Return the same name in each process."""
    return getattr(value, "__name__", repr(value))


@pytest.mark.parametrize(
    ("read", "given", "found"),
    [
        (values.shard_value, Shard(1, 2), Shard(1, 2)),
        (values.shard_value, "1/2", Shard(1, 2)),
        (values.ids_value, ' ["agent-1", "agent-2"]', ("agent-1", "agent-2")),
        (values.ids_value, " agent-1 , agent-1,", ("agent-1",)),
        (values.ids_value, None, ()),
        (values.mask_value, None, {}),
        (values.mask_value, " text = hash ,", {"text": "hash"}),
        (values.mask_value, '{"agents": {"system": "drop"}}', {"agents.system": "drop"}),
        (values.contract_value, "freeze", "freeze"),
        (values.contract_value, ' {"columns": "freeze"}', "freeze"),
        (values.contract_value, {"columns": "evolve", "tables": "freeze", "data_type": "freeze"}, "evolve"),
        (values.contract_value, None, None),
        (values.mask_key_value, "x" * 16, "x" * 16),
        (values.mask_key_value, None, None),
        (values.header_value, SecretStr(" key\n"), "key"),
        (values.header_value, None, None),
        (values.key_value, "'key", "'key"),
        (values.key_value, "key", "key"),
        (values.key_value, "xkeyx", "xkeyx"),
        (values.key_value, None, None),
        (values.proxy_value, " None ", "none"),
        (values.proxy_value, " socks5h://proxy:1 ", "socks5h://proxy:1"),
        (values.bytes_value, "512MB", 512 * MB),
        (values.bytes_value, "7", 7),
        (values.bytes_value, 7.9, 7),
        (values.url_value, " https://letta.example/a/v1/ ", "https://letta.example/a"),
        (values.url_value, "http://localhost:8283//", "http://localhost:8283"),
    ],
    ids=named,
)
def test_accepted_values(read: Callable[[Any], Any], given: Any, found: Any) -> None:
    assert read(given) == found


@pytest.mark.parametrize(
    ("read", "given"),
    [
        (values.ids_value, " , "),
        (values.ids_value, ["agent-1", 5]),
        (values.mask_value, " ,\t"),
        (values.mask_value, 5),
        (values.mask_value, "text=hash,text=drop"),
        (values.contract_value, {"tables": "freeze"}),
        (values.contract_value, {"columns": "freeze", "rows": "freeze"}),
        (values.contract_value, '{"columns": "discard_row"}'),
        (values.mask_key_value, f"{'x' * 15} "),
        (values.mask_key_value, b"x" * 16),
        (values.header_value, "ké"),
        (values.header_value, "k\x07y"),
        (values.key_value, "'key'"),
        (values.key_value, "BEARER key"),
        (values.number_value, True),
        (values.proxy_value, 5),
        (values.proxy_value, "ftp://proxy:1"),
        (values.proxy_value, "http:///path"),
        (values.proxy_value, "http://proxy:70000"),
        (values.bytes_value, "many"),
        (values.bytes_value, True),
        (values.bytes_value, 1 << 63),
        (values.url_value, "localhost:8283"),
        (values.url_value, "https://user:key@letta.example"),
        (values.url_value, "https://letta.example?key=1"),
        (values.url_value, "https://letta.example#a"),
        (values.url_value, "http://letta.example:0"),
    ],
    ids=named,
)
def test_refused_values(read: Callable[[Any], Any], given: Any) -> None:
    with pytest.raises(ValueError, match=r"must|names no id|twice"):
        read(given)


def test_files_and_pairs_of_files(tmp_path: Path) -> None:
    cert, key, both = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "a,b,c.pem"
    for one in (cert, key, both):
        one.touch()
    assert values.file_value(cert) == values.file_value(str(cert)) == str(cert)
    assert values.files_value(f" {cert} , {key}") == f"{cert},{key}"
    # A comma may be part of a name.
    assert values.files_value(str(both)) == str(both)
    assert values.files_value(cert) == str(cert)
    for wrong in ("", " ", 5):
        with pytest.raises(ValueError, match="must be the path of a file"):
            values.file_value(wrong)
    for missing in (f"{cert},{tmp_path / 'x'}", f"{cert},{key},{key}", str(tmp_path)):
        with pytest.raises(ValueError, match="there is no file"):
            values.files_value(missing)
    with pytest.raises(ValueError, match=f"there is no file {cert},{key},{key}"):
        values.files_value(f"{cert},{key},{key}")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"start_date": "2026-05-01", "end_date": "2026-05-02"}, ""),
        ({"start_date": "2026-05-01"}, ""),
        ({"end_date": "2026-05-01"}, ""),
        ({"start_date": "2026-05-01", "end_date": "2026-05-01"}, "start_date must be before end_date"),
        ({"sweep_interval": 0, "reread_window": 0, "lag": 0}, ""),
        ({"sweep_interval": -3600}, "sweep_interval must not be negative"),
        ({"reread_window": -3600}, "reread_window must not be negative"),
        ({"lag": -1}, "lag must not be negative"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"headers": {"AUTHORIZATION": "Basic x"}}, ""),
        ({"headers": {"AUTHORIZATION": "Basic x"}, "api_key": "k"}, "leave out one of them"),
        ({"headers": {"X-Team": "x"}, "api_key": "k"}, ""),
    ],
    ids=str,
)
def test_settings_that_exclude_each_other(given: dict[str, Any], wrong: str) -> None:
    if not wrong:
        settings(**given)
        return
    with pytest.raises(ConfigError, match=wrong):
        settings(**given)
