"""The scheduled load in Airflow 3: hourly, one task a shard. Put this file among your DAGs.

Airflow's workers need the package: `pip install "dlt-source-letta[postgres]"`, or with the extra of another
DESTINATION. Two Airflow Variables, read when a run begins, say the rest:

- `letta_shards`: how many tasks load at once, by default 1;
- `dlt_secrets_toml`: what dlt's `secrets.toml` would hold, `[sources.letta]` and the destination's
  credentials. dlt's own helper for Airflow reads it; environment variables of the workers do as well.

A failed try is repeated with growing waits. It goes on from the last load package: on the same machine from
dlt's working folder (DLT_DATA_DIR, by default ~/.dlt), on another from the state in the destination. dlt's
PipelineTasksGroup is not used: it gives each try an empty folder, and would skip the checks of `load`.

Something that could not be read fails no load, for another try would not read it either. It is a warning in
the task's log and a row in `load_issues`, the next run tries it again, and the last task, `read_everything`,
fails, and with it the run: what Airflow does about failed runs tells people.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta, timezone

from airflow.sdk import Variable, dag, task
from airflow.sdk.exceptions import AirflowFailException

DESTINATION = "postgres"
DATASET_NAME = "letta"

# Read by dlt when it is first imported.
DLT_SETTINGS = {
    # It would ask Airflow for a Variable for each of hundreds of settings, and take one that is called
    # `timeout` or `credentials` for its own, whosever it is.
    "PROVIDERS__AIRFLOW_SECRETS__ONLY_TOML_FRAGMENTS": "true",
    # What it logs of a load that fails is long; what counts of it is the last line of the error.
    "RUNTIME__LOG_LEVEL": "CRITICAL",
}

logger = logging.getLogger(__name__)


@dag(
    dag_id="letta",
    schedule="@hourly",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(hours=1),
        "execution_timeout": timedelta(hours=3),
    },
)
def letta() -> None:
    @task
    def shards() -> list[str]:
        count = int(Variable.get("letta_shards", default="1"))
        return [f"{index}/{count}" for index in range(count)]

    @task(map_index_template="{{ task.op_kwargs['shard'] }}")
    def load(shard: str) -> int:
        os.environ.update(DLT_SETTINGS)
        # Airflow reads this file every few seconds: what takes a second to import is imported here.
        import dlt

        from letta_source import Load, load

        # Now, for within a source dlt would not find its settings of Airflow's Variables.
        dlt.current.run_context()
        loaded = load(Load({"shard": shard}, destination=DESTINATION, dataset_name=DATASET_NAME))
        logger.info("shard %s\n%s", shard, loaded.summary())
        if loaded.new_problems:
            logger.warning("%d could not be read: see load_issues", loaded.new_problems)
        return loaded.new_problems

    @task(retries=0)
    def read_everything(problems: list[int]) -> None:
        if any(problems):
            raise AirflowFailException(f"{sum(problems)} could not be read: see load_issues")

    read_everything(load.expand(shard=shards()))


letta()
