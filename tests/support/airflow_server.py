"""A real Airflow on loopback: API server, scheduler and DAG processor, with our DAG and nothing else."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.support.paths import ROOT
from tests.support.tethered import free_port, run_to_end, tethered, wait_for

DAG_FILE = ROOT / "pipelines" / "airflow_dag.py"
COMPONENTS = ("api-server", "scheduler", "dag-processor")

# Seconds.
RUN_TIMEOUT = 120
POLL = 0.5

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Airflow:
    """A running Airflow; each method is a request to its API.

    Attributes:
        client: An HTTP client with its address and a token.
    """

    client: httpx.Client

    def set_variable(self, key: str, value: str) -> None:
        self._ask("POST", "variables", {"key": key, "value": value})

    def unpause(self) -> str:
        """Return the id of the run that the schedule then begins."""
        self._ask("PATCH", "dags/letta", {"is_paused": False})
        while not (runs := self._ask("GET", "dags/letta/dagRuns")["dag_runs"]):
            time.sleep(POLL)
        return str(runs[0]["dag_run_id"])

    def trigger(self) -> str:
        """Return the id of the run."""
        return str(self._ask("POST", "dags/letta/dagRuns", {"logical_date": None})["dag_run_id"])

    def wait(self, run_id: str) -> str:
        """Return the final state of a run: success or failed.

        Raises:
            TimeoutError: It took longer than RUN_TIMEOUT.
        """

        def ended() -> str | None:
            state = str(self._ask("GET", f"dags/letta/dagRuns/{run_id}")["state"])
            return state if state in ("success", "failed") else None

        return self._until(run_id, ended)

    def wait_for_failed_try(self, run_id: str) -> None:
        """Wait until a task of a run is up for retry.

        Raises:
            TimeoutError: It took longer than RUN_TIMEOUT.
        """
        self._until(run_id, lambda: any(task["state"] == "up_for_retry" for task in self.tasks(run_id)))

    def _until(self, run_id: str, happened: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + RUN_TIMEOUT
        while time.monotonic() < deadline:
            if what := happened():
                return what
            time.sleep(POLL)
        raise TimeoutError(f"it did not come so far: {self.tasks(run_id)}")

    def tasks(self, run_id: str) -> list[Json]:
        """Return each task's final `task_id`, `map_index`, `state`, `try_number` and more."""
        instances = self._ask("GET", f"dags/letta/dagRuns/{run_id}/taskInstances")["task_instances"]
        return sorted(instances, key=lambda task: (task["task_id"], task["map_index"]))

    def log(self, run_id: str, task: Json, try_number: int) -> str:
        """Return the log of one try of a task."""
        path = f"dags/letta/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{try_number}"
        return str(self._ask("GET", path, map_index=task["map_index"])["content"])

    def _ask(self, method: str, path: str, body: Json | None = None, **params: Any) -> Json:
        response = self.client.request(method, f"/api/v2/{path}", json=body, params=params)
        assert response.is_success, response.text
        return dict(response.json())


@contextmanager
def airflow(python: Path, work_dir: Path, settings: Mapping[str, str]) -> Iterator[Airflow]:
    """Run Airflow with an empty database of its own; its home and logs stay in `work_dir`.

    Args:
        settings: More environment variables, also for its tasks.

    Raises:
        RuntimeError: Something did not come up; the message ends with the end of its log.
    """
    port = free_port()
    env = {**_environment(python, work_dir, port), **settings}
    dags = work_dir / "dags"
    dags.mkdir()
    shutil.copy(DAG_FILE, dags)
    command = str(python.with_name("airflow"))
    run_to_end([command, "db", "migrate"], env, work_dir)
    with ExitStack() as stack:
        begun = {}
        for component in COMPONENTS:
            log = work_dir / f"{component}.log"
            process = stack.enter_context(tethered([command, component], log, "KILL", cwd=work_dir, env=env))
            stack.callback(_kill_session, process.pid)
            begun[component] = process, log
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30))
        wait_for(*begun["api-server"], lambda: _is_there(client, "/api/v2/version"))
        token = client.get("/auth/token").json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        wait_for(*begun["dag-processor"], lambda: _is_there(client, "/api/v2/dags/letta"))
        yield Airflow(client)


def _kill_session(session: int) -> None:
    """Kill a component and all its processes: each task has a process group of its own.

    Nothing of it is kept. When asked to stop, the scheduler sometimes waits for its workers forever.
    """
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            _name, _, fields = stat.read_text().rpartition(")")
            if int(fields.split()[3]) == session:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def _is_there(client: httpx.Client, path: str) -> bool:
    with suppress(httpx.TransportError):
        return client.get(path).is_success
    return False


def _environment(python: Path, work_dir: Path, port: int) -> dict[str, str]:
    """Return the whole environment: none of the caller's keys and settings reach it."""
    return {
        "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)]),
        "LANG": "C.UTF-8",
        "HOME": str(work_dir),
        # Instead of installing the project: all checkouts share the environment.
        "PYTHONPATH": str(ROOT),
        "AIRFLOW_HOME": str(work_dir / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(work_dir / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "2",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "true",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
    }
