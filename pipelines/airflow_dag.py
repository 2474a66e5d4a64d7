"""The scheduled load in Airflow 3: hourly, one task per shard. Put this file among your DAGs.

Airflow's workers need the package: `pip install "dlt-source-letta[postgres]"`, or the extra of another
DESTINATION. Everything else is set by two Airflow Variables, which are read when a run begins:

- `letta_shards`: how many tasks load in parallel, 1 by default;
- `dlt_secrets_toml`: the content of dlt's `secrets.toml`: `[sources.letta]` and the destination's
  credentials. dlt's own helper for Airflow reads it; the workers' environment variables work as well.

A failed try is retried with exponential backoff. It continues from the last load package: on the same machine
from dlt's working folder (DLT_DATA_DIR, by default ~/.dlt), on another from the state in the destination.
dlt's PipelineTasksGroup is not used: it gives each try an empty folder, and would skip the checks of `load`.

Unreadable items do not fail the load, because another try could not read them either. They are a warning in
the task's log and rows in `load_issues`, and the next run tries them again. The last task, `read_everything`,
fails, and with it the run, so that Airflow's alerts for failed runs apply.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta, timezone

from airflow.sdk import Variable, dag, task
from airflow.sdk.exceptions import AirflowFailException

DESTINATION = "postgres"
DATASET_NAME = "letta"

# dlt reads these when it is first imported.
DLT_SETTINGS = {
    # Otherwise dlt asks Airflow for a Variable for each of hundreds of settings, and takes any that is called
    # `timeout` or `credentials` for its own.
    "PROVIDERS__AIRFLOW_SECRETS__ONLY_TOML_FRAGMENTS": "true",
    # dlt's log of a failed load is long, and only the last line of the error matters.
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
        # Airflow reads this file every few seconds, so slow imports are here.
        import dlt

        from letta_source import Load, load

        # Before the source runs: within it, dlt would not find its settings from Airflow's Variables.
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
