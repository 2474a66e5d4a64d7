"""The dlt source."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import dlt
from dlt.common.configuration import configspec
from dlt.common.configuration.specs import BaseConfiguration
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource

from letta_source.destinations.dlt_internals import SOURCE_SECTIONS, source_context
from letta_source.extract.resources import make_resource
from letta_source.rows.mask import check_mask
from letta_source.schema.resources import RESOURCES
from letta_source.settings import SETTINGS, make_settings
from letta_source.settings.given import Given
from letta_source.settings.places import Configuration, configured, paths
from letta_source.settings.unknown import refuse_unknown
from letta_source.state.session import Session

logger = logging.getLogger(__name__)


@configspec
class _Nothing(BaseConfiguration):
    """Empty spec, as dlt would also look up arguments without their section (dlt-hub/dlt#2848)."""


@dlt.source(name="letta", section="letta", max_table_nesting=0, spec=_Nothing)
def letta(
    base_url: str | None = None,
    api_key: TSecretStrValue | None = None,
    project: str | None = None,
    agent_ids: list[str] | None = None,
    batch_ids: list[str] | None = None,
    start_date: str | date | datetime | None = None,
    end_date: str | date | datetime | None = None,
    lag: str | float | timedelta | None = None,
    page_size: int | None = None,
    max_workers: int | None = None,
    requests_per_second: float | None = None,
    timeout: str | float | timedelta | None = None,
    retries: int | None = None,
    checkpoint_rows: int | None = None,
    keep_states: int | None = None,
    refresh: bool | None = None,
    search_query: str | None = None,
    validate: bool | None = None,
    strict: bool | None = None,
    shard: str | None = None,
    table_format: str | None = None,
    mask: dict[str, Any] | None = None,
    mask_key: TSecretStrValue | None = None,
    images: str | None = None,
    schema_contract: str | dict[str, str] | None = None,
    headers: dict[str, TSecretStrValue] | None = None,
    ca_bundle: str | None = None,
    client_cert: str | None = None,
    proxy: TSecretStrValue | None = None,
    memory_limit: str | int | None = None,
    changes: str | None = None,
    sweep_interval: str | float | timedelta | None = None,
    reread_window: str | float | timedelta | None = None,
    same_server: bool | None = None,
    indexes: bool | None = None,
    session: Session | None = None,
) -> Sequence[DltResource]:
    """Letta's agents, groups, runs, steps, conversations, batches, and their messages.

    Settings that are not given come from dlt's config (`sources.letta.…`), then from LETTA_API_KEY,
    LETTA_BASE_URL and LETTA_PROJECT, then from the defaults of `letta_source.settings.Settings`, which
    documents each setting. No request is made until the source is extracted.

    Memory (`blocks`, `agent_blocks`, `archives`, `passages`), `tools`, `identities`, `step_metrics`,
    `conversation_messages`, `messages` and `message_search` are loaded only on request:
    `letta().with_resources("blocks")`; `message_search` also when `search_query` is given.

    Args:
        shard: such as `2/4`; each needs a pipeline of its own, and in a database a
            `staging_dataset_name_layout`: `letta_source.load` sets up both, and moves state between shards
            when their number changes.
        session: receives the settings, and the counts while loading, for progress and the summary.

    Raises:
        ConfigError: a setting is wrong.
    """
    given = Given.of({name: value for name, value in locals().items() if name != "session"})
    # Crash reporters send local variables; the base URL may hold a password by mistake.
    del base_url, api_key, mask_key, headers, proxy
    settings = make_settings(given, configuration=_configuration(session))
    check_mask(settings)
    if settings.shows_key:
        logger.warning("%s: the key goes over the network unencrypted; use https", settings.base_url)
    session = session or Session()
    session.settings = settings
    made = {name: make_resource(resource, session) for name, resource in RESOURCES.items()}
    for name, resource in RESOURCES.items():
        if resource.needs and getattr(settings, resource.needs):
            made[name].selected = True
    return list(made.values())


def _configuration(session: Session | None) -> Configuration:
    """Return the configuration of this source.

    Raises:
        ConfigError: a configured setting is unknown, or cannot be read.
    """
    source, pipeline = source_context()
    at = paths(source, (session and session.pipeline_name) or pipeline)
    refuse_unknown(SETTINGS, {source, *RESOURCES, *SOURCE_SECTIONS}, at)
    return configured(SETTINGS, at)
