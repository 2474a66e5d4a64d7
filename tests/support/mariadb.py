"""A real MariaDB on loopback from this machine's packages, such as Debian's `mariadb-server`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from tests.support.tethered import free_port, run_to_end, tethered, wait_for

# Folders that are only on root's PATH.
_FOLDERS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
# One statement a line.
_USER = "CREATE USER letta@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO letta@'%';"
_SETTINGS = (
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=0",
    # The longest text of the tests comes in one statement.
    "--max-allowed-packet=256M",
    # The default of older servers, in which a dataset must not be created.
    "--character-set-server=latin1",
)


def is_installed() -> bool:
    """Return True if this machine has the server."""
    return bool(shutil.which("mariadbd", path=_FOLDERS))


@contextmanager
def mariadb(work_dir: Path) -> Iterator[str]:
    """Run MariaDB on temporary data; its log stays in `work_dir`.

    Yields:
        Its URL without a database, `mysql+pymysql://user:password@host:port`.

    Raises:
        RuntimeError: It did not start; the message ends with the end of its log.
    """
    server, install = (str(shutil.which(one, path=_FOLDERS)) for one in ("mariadbd", "mariadb-install-db"))
    with TemporaryDirectory(prefix="letta-mariadb-") as name:
        folder = Path(name)
        user = None
        if os.geteuid() == 0:
            # It refuses to run as root.
            user = "nobody"
            shutil.chown(folder, user)
        data = f"--datadir={folder / 'data'}"
        run_to_end([install, "--no-defaults", data, "--skip-test-db"], os.environ, folder, user)
        (folder / "user.sql").write_text(_USER)
        port = free_port()
        command = [server, "--no-defaults", data, f"--port={port}", f"--socket={folder / 'socket'}"]
        command += [f"--init-file={folder / 'user.sql'}", *_SETTINGS]
        log = work_dir / "mariadb.log"
        with tethered(command, log, "TERM", cwd=folder, user=user) as process:
            # Else PyMySQL reads all certificates of this machine for each connection: 15 ms.
            url = f"mysql+pymysql://letta:secret@127.0.0.1:{port}/?ssl_disabled=true"
            wait_for(process, log, lambda: _answers(url))
            yield url


def _answers(url: str) -> bool:
    engine = create_engine(url)
    try:
        engine.connect().close()
    except OperationalError:
        return False
    finally:
        engine.dispose()
    return True
