"""A small S3 on loopback, from moto, and commands that can access it, in an environment of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.support.environments import environment_python
from tests.support.forks import Forks
from tests.support.paths import ROOT
from tests.support.tethered import free_port, tethered, wait_for

BUCKET = "of-the-tests"
# It accepts any key; these contain characters that URLs must quote.
_KEY, _SECRET = "AKIAOFTHETESTS", "secret/of+the=tests"

# Its first argument is code to run first.
_PROGRAM = """
import sys
exec(sys.argv.pop(1))
from letta_source.cli import command
command()
"""
_IMPORTED = (
    "letta_source.cli.run", "letta_source.loading.run", "letta_source.export",
    "dlt.destinations.impl.filesystem.filesystem", "dlt.destinations.impl.filesystem.sql_client",
    "dlt.sources.helpers.requests", "anyio._backends._asyncio", "httpcore", "pandas", "pyarrow.parquet",
    "s3fs", "dlt.common.libs.deltalake", "dlt.common.libs.pyiceberg", "pyiceberg.catalog.sql",
    "pyiceberg.io.pyarrow", "tests.support.type_hints", "tests.support.frozen",
)  # fmt: skip


class Buckets:
    """Commands of `letta-source` that load into buckets."""

    def __init__(self, forks: Forks, url: str) -> None:
        self._forks = forks
        self._url = url

    def run(
        self, folder: Path, arguments: list[str], environment: Mapping[str, str], code: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in a folder to its end.

        Args:
            code: Python code to run first.
        """
        credentials = {
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "ENDPOINT_URL": self._url,
            "REGION_NAME": "us-east-1",
        }
        named = {f"DESTINATION__FILESYSTEM__CREDENTIALS__{name}": one for name, one in credentials.items()}
        return self._forks.run([code, *arguments], folder, {**os.environ, **named, **environment})


@contextmanager
def buckets(folder: Path) -> Iterator[Buckets]:
    """Run the server with one empty bucket; its log stays in `folder`.

    Raises:
        RuntimeError: it did not start.
    """
    python = environment_python("s3", ROOT / "tests" / "destinations" / "s3.txt")
    port = free_port()
    log = folder / "s3.log"
    command = [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with tethered(command, log, "TERM", cwd=folder) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(process, log, lambda: _answers(url))
        # This one request does not need a library.
        with urlopen(Request(f"{url}/{BUCKET}", method="PUT")):
            pass
        forks = Forks(python, _PROGRAM, _IMPORTED, variables={"PYTHONPATH": str(ROOT)})
        with closing(forks):
            yield Buckets(forks, url)


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/moto-api/") as answer:
            return bool(answer.status == 200)
    except URLError:
        return False
