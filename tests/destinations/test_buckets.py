"""S3 buckets: a load is killed, continued from a new working folder, and exported."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from letta_source.demo import Letta, Server, serve
from tests.support.command import ago, messages, one_of, two_agents
from tests.support.s3_server import BUCKET, Buckets, buckets

pytestmark = pytest.mark.destinations

# Kill when all files are there, and the load is not yet recorded as completed.
KILLED = """
import os, signal
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
FilesystemClient.complete_load = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buckets]:
    with buckets(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture
def letta() -> Letta:
    return two_agents()


@pytest.fixture
def server(letta: Letta) -> Iterator[Server]:
    with serve(letta) as server:
        yield server


@pytest.mark.parametrize(
    ("table_format", "path"),
    [(None, "my lake [1] % ü"), ("delta", "my lake ü"), ("iceberg", "my lake % ü")],
)
def test_a_killed_load_continues_from_a_new_working_folder(
    s3: Buckets, letta: Letta, server: Server, tmp_path: Path, table_format: str | None, path: str
) -> None:
    to = ["--destination", "filesystem"]
    form = ["--table-format", table_format] if table_format else []
    load = ["run", "--base-url", server.base_url, "--resources", "agents,agent_messages", *to, *form]
    place = {"DESTINATION__FILESYSTEM__BUCKET_URL": f"s3://{BUCKET}/{table_format}/{path}"}

    def run(working_folder: str, arguments: list[str], code: str = "") -> tuple[int, str, str]:
        environment = {**place, "DLT_DATA_DIR": str(tmp_path / working_folder)}
        done = s3.run(tmp_path, arguments, environment, code)
        assert "Traceback" not in done.stderr
        assert "secret/of" not in done.stderr + done.stdout
        return done.returncode, done.stdout, done.stderr

    assert run("first", load, KILLED)[0] == -signal.SIGKILL
    code, _, said = run("second", load)
    assert code == 0, said
    letta.add_message(one_of(letta), date=ago(hours=1))
    code, _, said = run("third", load)
    assert code == 0, said
    code, out, said = run("third", ["export", "agent_messages", "--columns", "id,position", *to])
    rows = {tuple(json.loads(line).values()) for line in out.splitlines()}
    assert (code, len(rows), out.count("\n")) == (0, messages(letta), messages(letta)), said


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_missing_bucket(s3: Buckets, server: Server, tmp_path: Path, command: str) -> None:
    place = {"DESTINATION__FILESYSTEM__BUCKET_URL": "s3://forgotten/letta"}
    done = s3.run(tmp_path, [command, "--base-url", server.base_url, "--destination", "filesystem"], place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("letta-source: there is no bucket forgotten: make it")
    assert len(server.requests) <= (1 if command == "run" else 11)
