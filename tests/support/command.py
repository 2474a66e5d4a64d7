"""The command line, run in this process, and its output."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import duckdb
import pytest

from letta_source.cli import main
from letta_source.demo import Letta, Server
from tests.support.full_letta import FullLetta
from tests.support.library_loads import quiet_agent

KEY = "sk-let-canary"
SOME = ("--resources", "agents,agent_messages")


@dataclass(frozen=True)
class Said:
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Lines of standard error without their times, and without the line that says what is read."""
        lines = [re.sub(r"^\S+Z (?=\w+: )", "", line) for line in self.err.splitlines()]
        return [line for line in lines if not line.startswith("info: reads ")]

    def column(self, name: str) -> dict[str, str]:
        """Return a column of the printed table, by resource."""
        head, *rows = [line.split() for line in self.out.replace("new items", "new").splitlines()]
        return {row[0]: row[head.index(name)] for row in rows}


def log_lines(said: Said) -> list[str]:
    """Return the lines of standard error that are not `info`."""
    return [line for line in said.errors if not line.startswith("info: ")]


class Command:
    """`letta-source` in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Said:
        self._capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as left:
            # argparse exits this way.
            code = int(left.code or 0)
        return Said(code, *self._capsys.readouterr())

    def load(self, server: Server, *options: str) -> Said:
        """Run, by default for two resources only, because all take seconds."""
        some = () if "--resources" in options else SOME
        return self("run", "--base-url", server.base_url, *some, *options)

    def rows(self, query: str, file: str = "letta_db.duckdb") -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.folder / file)) as connection:
            return connection.sql(query).fetchall()

    def count(self, table: str, file: str = "letta_db.duckdb", dataset: str = "letta") -> int:
        return len(self.rows(f"SELECT 1 FROM {dataset}.{table}", file))

    def files(self) -> list[str]:
        """Return all files in the folder: the tables, and dlt's state of what was loaded."""
        return sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())


def two_agents() -> FullLetta:
    """Return two agents with a turn each, older than the overlap of the next run."""
    letta = FullLetta()
    for _ in range(2):
        letta.talk(quiet_agent(letta), "hello", tools=["roll_dice"], date=ago(hours=2))
    return letta


def ago(**span: int) -> datetime:
    return datetime.now(timezone.utc) - timedelta(**span)


def one_of(letta: Letta) -> str:
    """Return the id of an agent."""
    return next(iter(letta.tables["agents"].rows))


def messages(letta: Letta) -> int:
    """Return the number of all messages' items, which is that of rows in agent_messages."""
    return sum(len(message.items) for message in letta.messages.rows.values())


@contextmanager
def web_server(status: int, content_type: str, body: bytes, echo: Collection[str] = ()) -> Iterator[str]:
    """Serve the same answer to every request, as a server that is not Letta.

    Args:
        echo: headers of the request to append to the body.

    Yields:
        Its URL.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = body + "".join(self.headers.get(name, "") for name in echo).encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            """Write nothing: standard error is tested."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
