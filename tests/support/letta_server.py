"""The real Letta server on loopback: PostgreSQL, its schema, a stand-in for the model, and the API."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.environments import environment_python
from tests.support.language_model import serve_model
from tests.support.paths import ROOT
from tests.support.postgres import create_database, postgres
from tests.support.tethered import free_port, tethered, wait_for

logger = logging.getLogger(__name__)

REQUIREMENTS = ROOT / "tests" / "live" / "letta-server.txt"

# The versions that the pinned server allows. The list was resolved with the first, which is tried first.
PYTHON_VERSIONS = ("3.11", "3.12", "3.13")

# The package has no migrations: the tables are created from its models. Those leave the default of
# `messages.sequence_id` to a sequence that only the migrations would create.
# The same process then serves, because Letta's imports take seconds.
CREATE_SCHEMA_AND_SERVE = """
import os
import letta.orm
from letta.main import app
from letta.orm.base import Base
from sqlalchemy import create_engine, text
engine = create_engine(os.environ["LETTA_PG_URI"])
with engine.begin() as connection:
    connection.execute(text("create extension vector"))
    connection.execute(text("create sequence message_seq_id"))
    Base.metadata.create_all(connection)
    connection.execute(
        text("alter table messages alter column sequence_id set default nextval('message_seq_id')")
    )
engine.dispose()
app()
"""


@dataclass(frozen=True)
class LettaServer:
    """A running server.

    Attributes:
        base_url: Where the API answers, without a trailing slash.
        database_url: The server's own database, `postgresql://…`.
        model_url: Where the stand-in for the model answers; agents must use it.
    """

    base_url: str
    database_url: str
    model_url: str


@contextmanager
def letta_server(work_dir: Path) -> Iterator[LettaServer]:
    """Run a fresh, empty Letta server; its logs and its home stay in `work_dir`.

    Raises:
        RuntimeError: Something did not start; the message ends with the end of its log.
    """
    with _timed("environment"):
        python = environment_python("letta-server", REQUIREMENTS, PYTHON_VERSIONS)
    work_dir.mkdir(parents=True, exist_ok=True)
    with serve_model() as model_url, postgres(work_dir) as postgres_url:
        database_url = create_database(postgres_url, "letta")
        environment = _server_environment(python, work_dir, database_url, model_url)
        port = free_port()
        base_url = f"http://127.0.0.1:{port}"
        command = [str(python), "-c", CREATE_SCHEMA_AND_SERVE, "server", "--host", "127.0.0.1"]
        log = work_dir / "letta.log"
        with tethered([*command, "--port", str(port)], log, "TERM", cwd=work_dir, env=environment) as process:
            with _timed("Letta"):
                wait_for(process, log, lambda: _is_healthy(base_url))
            yield LettaServer(base_url, database_url, model_url)


def _server_environment(python: Path, work_dir: Path, database_url: str, model_url: str) -> dict[str, str]:
    """Return the whole environment of the server: none of the caller's keys and settings reach it."""
    home = work_dir / "home"
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)]),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "LETTA_DIR": str(home / ".letta"),
        "LETTA_PG_URI": f"{database_url}?sslmode=disable",
        # A pool makes seeding faster. But after an agent's relation that the server fails to render, one of
        # its connections answers 500 until it is recycled, which takes seconds.
        "LETTA_DISABLE_SQLALCHEMY_POOLING": "false",
        "LETTA_PG_POOL_RECYCLE": "1",
        "LETTA_DISABLE_TRACING": "true",
        "LETTA_TRACK_PROVIDER_TRACE": "false",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": model_url,
        # The server downloads tokenizer data at start. A proxy that refuses at once avoids time-outs on a
        # machine without a network, and traffic on one with it.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def _is_healthy(base_url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{base_url}/v1/health/").is_success
    return False


@contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    logger.info("%s: %.1f s", what, time.monotonic() - started)
