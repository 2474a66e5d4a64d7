"""The settings, typed and checked.

An argument or option wins over variables `SOURCES__LETTA__…`, those over Letta's own variables
(`LETTA_API_KEY`, `LETTA_BASE_URL`, `LETTA_PROJECT`), and those over dlt's files and vaults
(`.dlt/config.toml`, `.dlt/secrets.toml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

import httpx
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)

from letta_source.errors import ConfigError
from letta_source.settings.given import Given
from letta_source.settings.masking import AS_GIVEN, MaskAction, Masking, masking_digest, merged
from letta_source.settings.memory import LEAST, default_memory
from letta_source.settings.places import Configuration, Layer, lettas_variables
from letta_source.settings.values import (
    bytes_value,
    contract_value,
    duration_value,
    file_value,
    files_value,
    header_value,
    headers_value,
    ids_value,
    is_loopback,
    mask_key_value,
    mask_value,
    moment_value,
    proxy_value,
    shard_value,
    url_value,
)
from letta_source.shards import WHOLE, Shard

CLOUD_URL = "https://api.letta.com"


Duration = Annotated[timedelta, BeforeValidator(duration_value)]
Moment = Annotated[datetime | None, BeforeValidator(moment_value)]
Ids = Annotated[tuple[str, ...], BeforeValidator(ids_value)]
Contract = Literal["evolve", "discard_value", "freeze"]
TableFormat = Literal["delta", "iceberg"]
Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """Everything that can be set. Durations are seconds, or a text such as `10m`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: Annotated[str, BeforeValidator(url_value)] = Field(
        CLOUD_URL, description="Where Letta answers."
    )
    api_key: Annotated[SecretStr | None, BeforeValidator(header_value)] = Field(
        None, description="The key; a self-hosted server may need none."
    )
    project: Annotated[str | None, BeforeValidator(header_value)] = Field(
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
    keep_states: int = Field(
        10, ge=1, description="Of the command line: how many states are kept, of the last loads."
    )
    refresh: bool = Field(False, description="Read everything again, from the start.")
    search_query: str | None = Field(None, description="Cloud: what message_search searches for.")
    shard: Annotated[Shard, BeforeValidator(shard_value)] = Field(
        WHOLE, description="Only this part of the parents, such as 2/4; counted from 0."
    )
    table_format: TableFormat | None = Field(None, description="Of files: what can merge, not only add.")
    mask: Annotated[Mapping[str, MaskAction], BeforeValidator(mask_value)] = Field(
        {}, description="By column, or `content` for all that was said: drop, hash, redact or keep."
    )
    mask_key: Annotated[SecretStr | None, BeforeValidator(mask_key_value)] = Field(
        None, description="Secret that the hashes are made with; at least 16 characters."
    )
    images: Literal["keep", "drop", "hash"] = Field(
        "keep", description="Images in messages: hash puts their hash and size in their place."
    )
    schema_contract: Annotated[Contract, BeforeValidator(contract_value)] = Field(
        "evolve",
        description="New fields of Letta's: evolve keeps them in `extra`, discard_value drops them, freeze"
        " ends the load.",
    )
    headers: Annotated[Mapping[str, SecretStr], BeforeValidator(headers_value)] = Field(
        {}, description="Header fields for every request, such as those a gateway asks for; secret."
    )
    ca_bundle: Annotated[str | None, BeforeValidator(file_value)] = Field(
        None, description="PEM file of certificate authorities to trust; else SSL_CERT_FILE, then certifi's."
    )
    client_cert: Annotated[str | None, BeforeValidator(files_value)] = Field(
        None, description="PEM file with a client certificate and its key, or two files as CERT,KEY."
    )
    proxy: Annotated[SecretStr | None, BeforeValidator(proxy_value)] = Field(
        None, description="URL of a proxy, or none; else HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."
    )
    memory_limit: Annotated[int, BeforeValidator(bytes_value)] = Field(
        default_factory=default_memory,
        ge=LEAST,
        description="Bytes that bodies and rows may take while they are read; by default 512MB, or half of"
        " what the control group may take where that is less than 1 GB. One message may take an eighth.",
    )
    changes: Literal["auto", "on", "off"] = Field(
        "auto", description="Ask the server which agents have news, instead of asking every agent."
    )
    sweep_interval: Duration = Field(
        timedelta(days=1), description="How often every agent is asked, and recent messages are read again."
    )
    reread_window: Duration = Field(
        timedelta(days=7), description="How far back a sweep reads messages again, for edits."
    )
    strict: bool = Field(False, description="Exit code 3 also for issues that an earlier run named already.")
    same_server: bool = Field(
        False, description="The dataset was filled from another address, of the same server: go on with it."
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
        for name in ("sweep_interval", "reread_window"):
            if getattr(self, name) < timedelta(0):
                raise ValueError(f"{name} must not be negative")
        if self.api_key and "authorization" in {name.lower() for name in self.headers}:
            raise ValueError("headers: Authorization is set from api_key: leave out one of them")
        if "hash" in self.mask.values() and not self.mask_key:
            raise ValueError("mask: hash needs a mask_key, set as SOURCES__LETTA__MASK_KEY")
        if self.base_url == CLOUD_URL and not self.api_key:
            raise ValueError(
                "Letta Cloud needs a key: set LETTA_API_KEY; for a server of your own set LETTA_BASE_URL"
            )
        return self

    _where: dict[str, str] = PrivateAttr(default_factory=dict)
    _masking: Masking | None = PrivateAttr(None)

    def found(self, where: Mapping[str, str], masking: Masking) -> Settings:
        """Keep where each setting comes from, and the masks of all places."""
        self._where, self._masking = dict(where), masking
        return self

    def place_of(self, name: str) -> str:
        """Return where a setting comes from, such as `LETTA_BASE_URL`."""
        return self._where.get(name, "the default")

    @property
    def masking(self) -> Masking:
        """The masks in force, and where each comes from."""
        return self._masking or Masking([(AS_GIVEN, self.mask)])

    @property
    def masking_digest(self) -> str:
        """A digest that tells these masks from others."""
        return masking_digest(self.masking, self.mask_key, self.schema_contract)

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """Everything that must show nowhere."""
        given = (self.api_key, self.mask_key, self.proxy, *self.headers.values())
        return tuple(one for one in given if one is not None)

    @property
    def shows_key(self) -> bool:
        """True if the key leaves this machine in plain text."""
        url = httpx.URL(self.base_url)
        # Nothing to this machine goes through a proxy.
        return bool(self.api_key or self.headers) and url.scheme == "http" and not is_loopback(url.host)

    @property
    def window(self) -> bool:
        """True if only a window of time is read, which leaves the state alone."""
        return self.start_date is not None or self.end_date is not None


SETTINGS = tuple(field.alias or name for name, field in Settings.model_fields.items())
"""Names of all settings, as arguments, options and files call them."""


def make_settings(
    given: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    configuration: Configuration | None = None,
) -> Settings:
    """Return the settings: what was given, then the environment, then Letta's own variables, then files.

    Masks of all places add up.

    Args:
        given: arguments by name; None is not given.
        environ: where Letta's own variables are, by default the environment of the process.
        configuration: what dlt's providers of configuration say.

    Raises:
        ConfigError: naming each setting that is wrong, and what it must be; never a secret's value.
    """
    configuration = configuration or Configuration()
    layers = [
        Layer(Given.of(given), {}),
        *configuration.environment,
        lettas_variables(environ),
        *configuration.files,
    ]
    values, where = Given(), dict[str, str]()
    for layer in layers:
        for name in layer.values.keys() - values.keys():
            values[name] = layer.values[name]
            where[name] = layer.where.get(name, AS_GIVEN)
    masking = merged(layers)
    for name in ("mask", "images"):
        if found := getattr(masking, name):
            values[name] = found
    return validated(Settings, values, where).found(where, masking)


def validated(model: type[Model], values: Mapping[str, Any], where: Mapping[str, str] | None = None) -> Model:
    """Return the model of these values.

    Args:
        where: what to call the place of a value, for errors.

    Raises:
        ConfigError: naming each that is wrong, and what it must be; never a secret's value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(_said(detail, where or {}) for detail in error.errors(include_input=False))
    # Not within `except`: the error that led to this one would have the values in its frames.
    raise ConfigError(wrong)


def _said(detail: Mapping[str, Any], where: Mapping[str, str]) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    place = where.get(str(detail["loc"][0]), AS_GIVEN) if detail["loc"] else AS_GIVEN
    shown = f"{name}: {message}" if name else message
    return shown if place == AS_GIVEN else f"{shown} ({place})"
