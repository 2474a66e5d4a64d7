"""The settings: typed, checked, and where each comes from.

An argument wins over dlt's config (`SOURCES__LETTA__…`, `.dlt/config.toml`, `.dlt/secrets.toml`), which
wins over Letta's own variables (`LETTA_API_KEY`, `LETTA_BASE_URL`, `LETTA_PROJECT`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from ipaddress import ip_address
from typing import Annotated, Any, Literal, TypeVar

import httpx
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from letta_source.errors import ConfigError
from letta_source.shards import WHOLE, Shard
from letta_source.times import parse_time

CLOUD_URL = "https://api.letta.com"
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|d)?\s*", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> Any:
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        value = float(match[1]) * _UNITS[(match[2] or "s").lower()]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return timedelta(seconds=value)
    if isinstance(value, timedelta):
        return value
    raise ValueError("must be a duration such as 600, 10m or 2h")


def _moment(value: Any) -> Any:
    if value is None:
        return None
    with suppress(ValueError):
        if isinstance(value, (str, date)):
            return parse_time(value if isinstance(value, str) else value.isoformat())
    raise ValueError("must be a date such as 2026-01-31 or 2026-01-31T12:00:00Z")


def _ids(value: Any) -> Any:
    if value is None:
        return ()
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    ids = list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(one, str) for one in ids):
        raise ValueError("must be ids, in a list or with commas between them")
    return tuple(dict.fromkeys(ids))


def _shard(value: Any) -> Any:
    return value if isinstance(value, Shard) else Shard.parse(str(value))


def _mask(value: Any) -> Any:
    if value is None:
        return {}
    if isinstance(value, str):
        pairs = (part.partition("=") for part in value.split(",") if part.strip())
        value = {name.strip(): how.strip() for name, _, how in pairs}
    if not isinstance(value, Mapping):
        raise ValueError("must be actions by column, such as text=hash,agents.system=drop")
    for name, how in value.items():
        if how not in ("drop", "hash", "redact", "keep") and not callable(how):
            raise ValueError(f"{name}: {how!r} is not drop, hash, redact or keep")
    return dict(value)


def _mask_key(value: Any) -> Any:
    key = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(key, str) and len(key) < 16:
        raise ValueError("must have at least 16 characters: a shorter one can be guessed")
    return value


def _header(value: Any) -> Any:
    """Goes into a header: an error about it there would show it."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, str):
        # Keys read from a file end in a line break.
        value = value.strip()
        if not (value.isascii() and value.isprintable()):
            raise ValueError("must be plain ASCII, without line breaks")
    return value


def _url(value: Any) -> Any:
    url = str(value).strip().rstrip("/").removesuffix("/v1")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("must be a URL such as http://localhost:8283")
    if parsed.userinfo:
        raise ValueError("must not hold a user or password: give the key as api_key")
    return url


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Ids = Annotated[tuple[str, ...], BeforeValidator(_ids)]
TableFormat = Literal["delta", "iceberg"]
Model = TypeVar("Model", bound=BaseModel)
MaskAction = Literal["drop", "hash", "redact", "keep"] | Callable[[str], str | None]


class Settings(BaseModel):
    """Everything that can be set. Durations are seconds, or a text such as `10m`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: Annotated[str, BeforeValidator(_url)] = Field(CLOUD_URL, description="Where Letta answers.")
    api_key: Annotated[SecretStr | None, BeforeValidator(_header)] = Field(
        None, description="The key; a self-hosted server may need none."
    )
    project: Annotated[str | None, BeforeValidator(_header)] = Field(
        None, description="Cloud: slug of the project, sent as X-Project."
    )
    agent_ids: Ids = Field((), description="Only these agents.")
    batch_ids: Ids = Field((), description="These batches too; the server's list forgets finished ones.")
    start_date: Moment = Field(None, description="Only rows created at or after; leaves the state alone.")
    end_date: Moment = Field(None, description="Only rows created before; leaves the state alone.")
    lag: Duration = Field(timedelta(minutes=10), description="How far each run overlaps the last one.")
    page_size: int = Field(1000, ge=1, le=1000, description="Stored messages a request.")
    max_workers: int = Field(8, ge=1, le=256, description="Requests in flight.")
    requests_per_second: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Requests a second at most, of all workers together."
    )
    timeout: Duration = Field(timedelta(seconds=60), description="Longest wait for an answer, all of it.")
    retries: int = Field(10, ge=0, description="How often a failed request is sent again.")
    checkpoint_rows: int = Field(
        1_000_000, ge=1, description="Of the command line: rows after which what was read is loaded."
    )
    refresh: bool = Field(False, description="Read everything again, from the start.")
    search_query: str | None = Field(None, description="Cloud: what message_search searches for.")
    shard: Annotated[Shard, BeforeValidator(_shard)] = Field(
        WHOLE, description="Only this part of the parents, such as 2/4; counted from 0."
    )
    table_format: TableFormat | None = Field(None, description="Of files: what can merge, not only add.")
    mask: Annotated[Mapping[str, MaskAction], BeforeValidator(_mask)] = Field(
        {}, description="By column, or `content` for all that was said: drop, hash, redact or keep."
    )
    mask_key: Annotated[SecretStr | None, BeforeValidator(_mask_key)] = Field(
        None, description="Secret that the hashes are made with; at least 16 characters."
    )
    images: Literal["keep", "drop", "hash"] = Field(
        "keep", description="Images in messages: hash puts their hash and size in their place."
    )
    validate_items: bool = Field(
        False,
        alias="validate",
        description="Hold every item to letta_source.models; what does not fit is named.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.start_date and self.end_date and self.start_date >= self.end_date:
            raise ValueError("start_date must be before end_date")
        if self.lag < timedelta(0):
            raise ValueError("lag must not be negative")
        if self.timeout <= timedelta(0):
            raise ValueError("timeout must be more than 0")
        if "hash" in self.mask.values() and not self.mask_key:
            raise ValueError("mask: hash needs a mask_key, set as SOURCES__LETTA__MASK_KEY")
        if self.base_url == CLOUD_URL and not self.api_key:
            raise ValueError(
                "Letta Cloud needs a key: set LETTA_API_KEY; for a server of your own set LETTA_BASE_URL"
            )
        return self

    @property
    def shows_key(self) -> bool:
        """Whether the key leaves this machine in plain text."""
        url = httpx.URL(self.base_url)
        is_here = url.host == "localhost"
        with suppress(ValueError):
            is_here = is_here or ip_address(url.host).is_loopback
        return bool(self.api_key) and url.scheme == "http" and not is_here

    @property
    def window(self) -> bool:
        """Whether only a window of time is read, which leaves the state alone."""
        return self.start_date is not None or self.end_date is not None


def make_settings(given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from what was given (None is not given) and Letta's own variables.

    Raises:
        ConfigError: naming each setting that is wrong, and what it must be; never a secret's value.
    """
    values = {name: value for name, value in given.items() if value is not None}
    for name, variable in (
        ("api_key", "LETTA_API_KEY"),
        ("base_url", "LETTA_BASE_URL"),
        ("project", "LETTA_PROJECT"),
    ):
        if environ.get(variable):
            values.setdefault(name, environ[variable])
    return validated(Settings, values)


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The model of these values.

    Raises:
        ConfigError: naming each that is wrong, and what it must be; never a secret's value.
    """
    try:
        return model(**values)
    except ValidationError as error:
        raise ConfigError("; ".join(_said(detail) for detail in error.errors())) from None


def _said(detail: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
