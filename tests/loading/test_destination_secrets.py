"""No piece of a warehouse's password is printed, whatever its characters and wherever it is configured."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from letta_source import Load, load
from letta_source.demo import Server
from letta_source.errors import ConfigError
from letta_source.loading.error_text import destination_redactor, one_line
from tests.support.configuration import configure, forget

PASSWORDS = [
    *("hunter2-canary", "with a space-canary", "at@slash/canary#7", "ünï:canary?x=1", "quo'te\"canary"),
    "100%-of-canary",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    yield tmp_path
    forget()


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("quoted", [True, False])
def test_a_password_in_an_address(monkeypatch: pytest.MonkeyPatch, password: str, quoted: bool) -> None:
    shown = quote(password, safe="") if quoted else password
    address = f"postgresql://me:{shown}@one.test:5432/warehouse"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
    for text in (f"cannot read {address!r}", f"invalid port: {password[3:]}", f"'{password}' is refused"):
        error = ValueError(text)
        assert "canary" not in one_line(error)
        assert "canary" not in "".join(traceback.format_exception(error))
    assert "one.test" in one_line(ValueError(f"cannot read {address}"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DESTINATION__POSTGRES__CREDENTIALS__PASSWORD", "hunter2-canary"),
        ("LETTA__DESTINATION__POSTGRES__CREDENTIALS__PASSWORD", "hunter2-canary"),
        ("DESTINATION__FILESYSTEM__CREDENTIALS__AWS_SECRET_ACCESS_KEY", "hunter2-canary"),
        ("DESTINATION__BIGQUERY__CREDENTIALS", json.dumps({"private_key": "hunter2-canary"})),
        ("DESTINATION__MOTHERDUCK__CREDENTIALS", "md:warehouse?token=hunter2-canary"),
        ("DESTINATION__SNOWFLAKE__CREDENTIALS__PRIVATE_KEY_PASSPHRASE", "hunter2-canary"),
    ],
)  # fmt: skip
def test_secrets_of_variables(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert destination_redactor()("x hunter2-canary, project p, me") == "x ***, project p, me"


def test_secrets_of_files(folder: Path) -> None:
    configure(
        folder, "", '[destination.postgres.credentials]\nusername = "somebody"\npassword = "hunter2-canary"'
    )
    assert destination_redactor()("somebody: hunter2-canary") == "somebody: ***"


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "address", ["postgresql://me:{}@127.0.0.1:1/x", "postgresql://me:{}@127.0.0.1:port/x"]
)
def test_a_load_that_cannot_open_its_destination(
    server: Server, monkeypatch: pytest.MonkeyPatch, password: str, address: str
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address.format(password))
    with pytest.raises(ConfigError, match="postgres cannot be opened") as refused:
        load(Load({"base_url": server.base_url}, destination="postgres"))
    assert "canary" not in str(refused.value)
