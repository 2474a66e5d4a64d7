"""The settings: their sources and types, which value wins, and the errors."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from letta_source.errors import ConfigError
from letta_source.settings import CLOUD_URL, Settings, make_settings

KEY = "sk-let-0123456789abcdef"
HOME = "http://localhost:8283"
UTC = timezone.utc


def made(**given: Any) -> Settings:
    return make_settings({"base_url": HOME, **given}, {})


def test_defaults() -> None:
    settings = make_settings({}, {"LETTA_API_KEY": KEY})
    assert settings.model_dump(exclude={"api_key"}) == {
        "base_url": CLOUD_URL,
        "project": None,
        "agent_ids": (),
        "batch_ids": (),
        "start_date": None,
        "end_date": None,
        "lag": timedelta(minutes=10),
        "page_size": 1000,
        "max_workers": 8,
        "timeout": timedelta(seconds=60),
        "retries": 10,
        "requests_per_second": None,
        "checkpoint_rows": 1_000_000,
        "keep_states": 10,
        "indexes": True,
        "refresh": False,
        "search_query": None,
        "shard": {"index": 0, "count": 1},
        "table_format": None,
        "mask": {},
        "mask_key": None,
        "images": "keep",
        "schema_contract": "evolve",
        "headers": {},
        "ca_bundle": None,
        "client_cert": None,
        "proxy": None,
        "memory_limit": 512_000_000,
        "changes": "auto",
        "sweep_interval": timedelta(days=1),
        "reread_window": timedelta(days=7),
        "validate_items": False,
        "strict": False,
        "same_server": False,
    }
    assert not settings.window


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        made().page_size = 5


def test_given_values_win_over_the_environment() -> None:
    environ = {"LETTA_API_KEY": KEY, "LETTA_BASE_URL": "http://there", "LETTA_PROJECT": "zoo"}
    settings = make_settings({"base_url": None, "api_key": None}, environ)
    assert (settings.base_url, settings.project) == ("http://there", "zoo")
    assert settings.api_key == SecretStr(KEY)
    settings = make_settings({"base_url": HOME, "api_key": "mine", "project": "park"}, environ)
    assert (settings.base_url, settings.project) == (HOME, "park")
    assert settings.api_key == SecretStr("mine")
    assert make_settings({"base_url": HOME}, {"LETTA_API_KEY": ""}).api_key is None


def test_the_default_environment_is_the_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", "http://there")
    assert make_settings({}).base_url == "http://there"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:8283/", HOME),
        (" http://localhost:8283/v1/ ", HOME),
        ("https://api.letta.com/v1", CLOUD_URL),
        ("http://[::1]:8283/letta", "http://[::1]:8283/letta"),
    ],
)
def test_base_url(given: str, url: str) -> None:
    assert made(base_url=given, api_key=KEY).base_url == url


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (600, 600),
        (0.5, 0.5),
        (timedelta(hours=1), 3600),
        ("600", 600),
        ("0.5s", 0.5),
        (" 10 M ", 600),
        ("2h", 7200),
        ("1d", 86400),
        (0, 0),
    ],
)
def test_durations(given: Any, seconds: float) -> None:
    assert made(lag=given).lag == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        (date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)),
        (datetime(2026, 1, 31, 12), datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (
            datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2))),
            datetime(2026, 1, 31, 10, tzinfo=UTC),
        ),
    ],
)
def test_dates_are_in_utc(given: Any, moment: datetime) -> None:
    settings = made(start_date=given)
    assert settings.start_date == moment
    assert settings.start_date.tzinfo is UTC
    assert settings.window


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (" a, b,,a ", ("a", "b")),
        (["b", "a", "b"], ("b", "a")),
        (iter(["a"]), ("a",)),
        ("", ()),
        (None, ()),
    ],
)
def test_ids(given: Any, ids: tuple[str, ...]) -> None:
    assert made(agent_ids=given).agent_ids == ids


def test_a_key_from_a_file_may_end_in_a_line_break() -> None:
    for given in (f"{KEY}\n", SecretStr(f" {KEY}\r\n")):
        assert made(api_key=given).api_key == SecretStr(KEY)


DURATION = "must be a duration such as 600, 10m or 2h"
DATE = "must be a date such as 2026-01-31"
IDS = "must be ids, in a list or with commas"
PLAIN = "must be plain ASCII, without line breaks"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("base_url", "localhost:8283", "must be a URL such as http://localhost:8283"),
        ("base_url", "ftp://localhost", "must be a URL"),
        ("base_url", "http://", "must be a URL"),
        ("base_url", "http://a b:x", "must be a URL"),
        ("base_url", 8283, "must be a URL"),
        ("base_url", "http://xn--a", "must be a URL"),
        ("base_url", "http://user@localhost", "must not hold a user or password: give the key as api_key"),
        ("api_key", "sk\nlet", PLAIN),
        ("api_key", SecretStr("sk\u2013let"), PLAIN),
        ("api_key", 5, "valid string"),
        ("api_key", b"sk-let\n", "must be a text"),
        ("project", "zoo\r\nx-evil: 1", PLAIN),
        ("project", ["zoo"], "valid string"),
        ("project", b"zoo\nx-evil: 1", "must be a text"),
        ("headers", '{"X-Zoo": "hidden", "X-Zoo": "other"}', "X-Zoo: is given twice"),
        ("headers", "X-Zoo: hidden\nX-Zoo: other", "X-Zoo: is given twice"),
        ("memory_limit", 10**400, "must be a size such as 512MB"),
        ("memory_limit", float("nan"), "must be a size such as 512MB"),
        ("memory_limit", float("-inf"), "must be a size such as 512MB"),
        ("agent_ids", 5, IDS),
        ("agent_ids", " , ", "names no id"),
        ("agent_ids", [5], IDS),
        ("batch_ids", [["a"]], IDS),
        ("start_date", "yesterday", DATE),
        ("start_date", 20260131, DATE),
        ("end_date", "2026-13-01", DATE),
        ("end_date", datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), DATE),
        ("lag", "soon", DURATION),
        ("lag", "-5m", DURATION),
        ("lag", True, DURATION),
        ("lag", None.__class__, DURATION),
        ("lag", float("nan"), DURATION),
        ("lag", "9999999999999d", DURATION),
        ("lag", -1, "must not be negative"),
        ("timeout", "", DURATION),
        ("timeout", 0, "must be more than 0"),
        ("timeout", timedelta(seconds=-1), "must be more than 0"),
        ("page_size", 0, "greater than or equal to 1"),
        ("page_size", 1001, "less than or equal to 1000"),
        ("page_size", "many", "valid integer"),
        ("max_workers", 0, "greater than or equal to 1"),
        ("max_workers", 257, "less than or equal to 256"),
        ("retries", -1, "greater than or equal to 0"),
        ("requests_per_second", 0, "greater than or equal to 0.001"),
        ("requests_per_second", 1e-300, "greater than or equal to 0.001"),
        ("requests_per_second", "inf", "finite number"),
        ("checkpoint_rows", 0, "greater than or equal to 1"),
        ("keep_states", 0, "greater than or equal to 1"),
        ("refresh", "perhaps", "valid boolean"),
        ("search_query", 5, "valid string"),
        ("search_query", "caf\udce9", "not UTF-8"),
        ("validate", "perhaps", "valid boolean"),
        ("schema_contract", "discard_row", "must not be discard_row"),
        ("schema_contract", "melt", "'evolve', 'discard_value' or 'freeze'"),
        ("schema_contract", {"rows": "freeze"}, "must be evolve, discard_value or freeze"),
        ("page_zise", 5, "not permitted"),
    ],
)
def test_an_invalid_value_is_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(**{name: value})
    assert name in str(caught.value)
    assert message in str(caught.value)


def test_all_invalid_values_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"lag: must be .*; page_size: "):
        made(lag="soon", page_size=0)


@pytest.mark.parametrize("start", ["2026-02-01", "2026-01-31"])
def test_the_start_is_before_the_end(start: str) -> None:
    with pytest.raises(ConfigError, match="start_date must be before end_date"):
        made(start_date=start, end_date="2026-01-31")


def test_the_cloud_needs_a_key() -> None:
    for given in ({}, {"base_url": f"{CLOUD_URL}/v1/"}, {"api_key": " "}):
        with pytest.raises(ConfigError, match="Cloud needs a key: set LETTA_API_KEY"):
            make_settings(given, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"page_size": 0},
        {"start_date": 2, "end_date": 1},
        {"api_key": f"{KEY}\nmore"},
        {"api_key": [KEY]},
        {"api_key": {"key": KEY}},
        {"base_url": f"http://{KEY}@localhost"},
        {"base_url": f"http://me:{KEY}@localhost"},
        {"start_date": "2026-02-01", "end_date": "2026-01-01"},
    ],
)
def test_the_key_is_in_no_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        made(**{"api_key": KEY, **wrong})
    assert KEY not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert caught.value.__context__ is None


def test_the_key_is_in_no_repr() -> None:
    settings = made(api_key=KEY)
    assert KEY not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
