"""Letta's tables as assets in Dagster, loaded hourly into PostgreSQL: `dagster dev -f dagster_assets.py`.

It needs dagster-dlt beside the package. The API key, the server and the destination's credentials come from
dlt's config and secrets, or from environment variables. Unreadable items are in `load_issues`, and in a
warning in the run's log. A load that was killed starts over from the state in the destination.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import dlt
from dagster_dlt import DagsterDltResource, dlt_assets

from letta_source import letta
from letta_source.state.session import Session

session = Session()


@dlt_assets(
    dlt_source=letta(session=session),
    dlt_pipeline=dlt.pipeline("letta_dagster", destination="postgres", dataset_name="letta"),
    name="letta",
)
def letta_assets(context: dg.AssetExecutionContext, loader: DagsterDltResource) -> Iterator[Any]:
    yield from loader.run(context=context)
    if session.problems:
        context.log.warning(f"{session.problems} could not be read: see load_issues")


defs = dg.Definitions(
    assets=[letta_assets],
    resources={"loader": DagsterDltResource()},
    schedules=[
        dg.ScheduleDefinition(
            name="letta_hourly",
            target=[letta_assets],
            cron_schedule="17 * * * *",
            tags={"dagster/max_retries": "3"},
        )
    ],
)
