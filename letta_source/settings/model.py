"""The settings, typed and validated.

An argument or option wins over variables `SOURCES__LETTA__…`, which win over Letta's own variables
(`LETTA_API_KEY`, `LETTA_BASE_URL`, `LETTA_PROJECT`), which win over dlt's files and vaults
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
from letta_source.settings.headers import headers_value
from letta_source.settings.masking import AS_GIVEN, MaskAction, Masking, masking_digest, merged
from letta_source.settings.memory_limit import LEAST, default_memory
from letta_source.settings.places import Configuration, Layer, lettas_variables
from letta_source.settings.values import (
    bytes_value,
    contract_value,
    duration_value,
    file_value,
    files_value,
    header_value,
    ids_value,
    is_loopback,
    key_value,
    mask_key_value,
    mask_value,
    moment_value,
    number_value,
    proxy_value,
    query_value,
    shard_value,
    url_value,
)
from letta_source.shards import WHOLE, Shard

CLOUD_URL = "https://api.letta.com"


Duration = Annotated[timedelta, BeforeValidator(duration_value)]
Moment = Annotated[datetime | None, BeforeValidator(moment_value)]
Count = Annotated[int, BeforeValidator(number_value)]
Ids = Annotated[tuple[str, ...], BeforeValidator(ids_value)]
Contract = Literal["evolve", "discard_value", "freeze"]
TableFormat = Literal["delta", "iceberg"]
Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """Everything that can be set. Durations are seconds, or a text such as `10m`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: Annotated[str, BeforeValidator(url_value)] = Field(
        CLOUD_URL, description="The server's address."
    )
    api_key: Annotated[SecretStr | None, BeforeValidator(key_value)] = Field(
        None, description="The API key; a self-hosted server may need none."
    )
    project: Annotated[str | None, BeforeValidator(header_value)] = Field(
        None, description="Cloud: the project's slug, sent as `X-Project`."
    )
    agent_ids: Ids = Field((), description="Load only these agents.")
    batch_ids: Ids = Field((), description="Load these batches too; the server lists no finished ones.")
    start_date: Moment = Field(None, description="Load only rows created then or later; cursors do not move.")
    end_date: Moment = Field(None, description="Load only rows created before; cursors do not move.")
    lag: Duration = Field(
        timedelta(minutes=10), description="Overlap: how much of the recent past each run reads again."
    )
    page_size: Count = Field(1000, ge=1, le=1000, description="Stored messages per request.")
    max_workers: Count = Field(8, ge=1, le=256, description="Concurrent requests.")
    # At a much lower rate, a load would seem to hang.
    requests_per_second: Annotated[float | None, BeforeValidator(number_value)] = Field(
        None, ge=0.001, allow_inf_nan=False, description="Limit on requests per second, for all workers."
    )
    timeout: Duration = Field(timedelta(seconds=60), description="Limit for one whole response.")
    retries: Count = Field(10, ge=0, description="How often a failed request is retried.")
    checkpoint_rows: Count = Field(
        1_000_000, ge=1, description="Rows per load package of the command and `letta_source.load`."
    )
    keep_states: Count = Field(
        10,
        ge=1,
        description="Number of states to keep, of the last loads by the command and `letta_source.load`.",
    )
    refresh: bool = Field(False, description="Read everything again from the start.")
    search_query: Annotated[str | None, BeforeValidator(query_value)] = Field(
        None, description="Cloud: the query of `message_search`."
    )
    shard: Annotated[Shard, BeforeValidator(shard_value)] = Field(
        WHOLE, description="Load only part I of N of the parents, such as 2/4; counted from 0."
    )
    table_format: TableFormat | None = Field(
        None, description="For files: delta or iceberg, whose rows can be replaced."
    )
    mask: Annotated[Mapping[str, MaskAction], BeforeValidator(mask_value)] = Field(
        {},
        description="Drop, hash, redact or keep a column, or `content`: all columns that can quote people.",
    )
    mask_key: Annotated[SecretStr | None, BeforeValidator(mask_key_value)] = Field(
        None, description="Secret key of the hashes; at least 16 characters."
    )
    images: Literal["keep", "drop", "hash"] = Field(
        "keep", description="Images in messages: keep, drop, or replace by hash and size (hash)."
    )
    schema_contract: Annotated[Contract, BeforeValidator(contract_value)] = Field(
        "evolve",
        description="Fields without a column: evolve keeps them in `extra`, discard_value drops them, freeze"
        " fails the load.",
    )
    headers: Annotated[Mapping[str, SecretStr], BeforeValidator(headers_value)] = Field(
        {}, description="Header fields of every request, such as those that a gateway needs; secret."
    )
    ca_bundle: Annotated[str | None, BeforeValidator(file_value)] = Field(
        None, description="PEM file of trusted certificate authorities; else SSL_CERT_FILE, then certifi's."
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
        description="Limit on the memory for responses and rows; by default 512MB, or half of the container's"
        " limit if that is below 1 GB. A single message may take an eighth of it.",
    )
    changes: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Ask only agents with news, if the server names them; auto: with more than 300 agents.",
    )
    sweep_interval: Duration = Field(
        timedelta(days=1), description="How often to sweep: ask every agent, and read recent messages again."
    )
    reread_window: Duration = Field(
        timedelta(days=7), description="How far back a sweep reads messages again, to find edited ones."
    )
    indexes: bool = Field(
        True, description="In PostgreSQL, MySQL and SQLite: create indexes for the merges of later loads."
    )
    strict: bool = Field(
        False, description="Exit code 3 also for known issues, which an earlier run has named."
    )
    same_server: bool = Field(
        False, description="Accept that the server has another address than when it filled the dataset."
    )
    validate_items: bool = Field(
        False,
        alias="validate",
        description="Validate every item against letta_source.models, and report misfits in load_issues.",
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
                "Letta Cloud needs a key: set LETTA_API_KEY; for a self-hosted server set LETTA_BASE_URL"
            )
        return self

    _where: dict[str, str] = PrivateAttr(default_factory=dict)
    _masking: Masking | None = PrivateAttr(None)

    def found(self, where: Mapping[str, str], masking: Masking) -> Settings:
        """Store the place of each setting and the masks of all places."""
        self._where, self._masking = dict(where), masking
        return self

    def place_of(self, name: str) -> str:
        """Return where a setting comes from, such as `LETTA_BASE_URL`."""
        return self._where.get(name, "the default")

    @property
    def masking(self) -> Masking:
        """The masks in force, with the place of each."""
        return self._masking or Masking([(AS_GIVEN, self.mask)])

    @property
    def is_masked(self) -> bool:
        """True if a mask, `images` or the schema contract may leave out values."""
        return self.masking_digest != masking_digest(Masking(), None)

    @property
    def masking_digest(self) -> str:
        """A digest that identifies these masks and the schema contract."""
        return masking_digest(self.masking, self.mask_key, self.schema_contract)

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The values that must never be shown."""
        given = (self.api_key, self.mask_key, self.proxy, *self.headers.values())
        return tuple(one for one in given if one is not None)

    @property
    def shows_key(self) -> bool:
        """True if the key or the headers leave this machine in plain text."""
        url = httpx.URL(self.base_url)
        # Requests to this machine do not go through a proxy.
        return bool(self.api_key or self.headers) and url.scheme == "http" and not is_loopback(url.host)

    @property
    def window(self) -> bool:
        """True if only a window of time is read; the state then stays unchanged."""
        return self.start_date is not None or self.end_date is not None


SETTINGS = tuple(field.alias or name for name, field in Settings.model_fields.items())
"""Names of all settings, as used in arguments, options and files."""


def make_settings(
    given: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    configuration: Configuration | None = None,
) -> Settings:
    """Return the settings from `given`, else the environment, else Letta's own variables, else files.

    Masks of all places are merged.

    Args:
        given: arguments by name; None counts as not given.
        environ: source of Letta's own variables, by default the environment of the process.
        configuration: settings from dlt's configuration providers.

    Raises:
        ConfigError: names each wrong setting and what it must be; never shows a secret.
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
    """Validate the values and return the model.

    Args:
        where: names of the values' places, for errors.

    Raises:
        ConfigError: names each wrong value and what it must be; never shows a secret.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(_described(detail, where or {}) for detail in error.errors(include_input=False))
    # Raised outside `except`: the frames of a chained error would hold the values.
    raise ConfigError(wrong)


def _described(detail: Mapping[str, Any], where: Mapping[str, str]) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    # "Input should be …" is pydantic's.
    message = str(detail["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    place = where.get(str(detail["loc"][0]), AS_GIVEN) if detail["loc"] else AS_GIVEN
    shown = f"{name}: {message}" if name else message
    return shown if place == AS_GIVEN else f"{shown} ({place})"
