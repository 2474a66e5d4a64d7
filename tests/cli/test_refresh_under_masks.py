"""Under a mask, DuckDB's file holds no replaced or discarded value that it hides."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from string import ascii_letters

import pytest
from dlt.destinations.impl.duckdb.duck import DuckDbClient

from letta_source.demo import Server
from letta_source.loading import workspace
from letta_source.loading.run import Load, load
from tests.support.command import SOME, Command, ago, one_of
from tests.support.full_letta import FullLetta

pytestmark = pytest.mark.whole

# Too long and random to be compressed.
SECRETS = ["".join(random.Random(seed).choices(ascii_letters, k=3000)).encode() for seed in range(4)]
MASKED = ("--refresh", "--mask", "content=redact")


def left(folder: Path) -> int:
    """Return how many of the secrets are in any file of the folder."""
    contents = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    return sum(any(secret[:100] in content for content in contents) for secret in SECRETS)


def load_secrets(letta: FullLetta, letta_source: Command, server: Server) -> None:
    """Load twice, so that one package is merged by way of the staging dataset."""
    for begin in (0, 2):
        for secret in SECRETS[begin : begin + 2]:
            letta.talk(one_of(letta), secret.decode(), tools=["roll"], date=ago(hours=5))
        assert letta_source.load(server).code == 0
    assert left(letta_source.folder) == len(SECRETS)


def test_one_refresh_leaves_nothing(letta_source: Command, letta: FullLetta, server: Server) -> None:
    load_secrets(letta, letta_source, server)
    assert letta_source.load(server, *MASKED).code == 0
    assert left(letta_source.folder) == 0


def test_a_rewrite_that_was_stopped_or_failed_is_done_by_the_next_run(
    letta_source: Command, letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_secrets(letta, letta_source, server)
    with monkeypatch.context() as patch:
        patch.setattr(workspace, "rewrite_file", raising(KeyboardInterrupt()))
        assert letta_source.load(server, *MASKED).code == 130
        patch.setattr(workspace, "rewrite_file", raising(OSError("no room")))
        said = letta_source.load(server, *MASKED[1:])
    assert said.code == 0
    assert "replaced values remain in the file's free space until the next run, which tries again" in said.err
    assert left(letta_source.folder)
    assert letta_source.load(server, *MASKED[1:]).code == 0
    assert left(letta_source.folder) == 0


def test_an_unfinished_load_without_masks_leaves_nothing(
    letta_source: Command, letta: FullLetta, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert letta_source.load(server, *MASKED[1:]).code == 0
    for secret in SECRETS:
        letta.talk(one_of(letta), secret.decode(), tools=["roll"], date=ago(hours=5))
    with monkeypatch.context() as patch:
        patch.setattr(DuckDbClient, "complete_load", raising(KeyboardInterrupt()))
        assert letta_source.load(server).code == 130
    assert left(letta_source.folder) == len(SECRETS)
    said = letta_source.load(server, *MASKED[1:])
    assert (said.code, "discarding an unfinished earlier load" in said.err) == (0, True)
    assert left(letta_source.folder) == 0


def test_a_run_with_new_masks_says_that_earlier_rows_keep_their_values(
    letta_source: Command, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warns(*options: str) -> bool:
        said = letta_source.load(server, *SOME, *options)
        assert said.code == 0
        return "the masks are not those of the last run" in said.err

    monkeypatch.setenv("SOURCES__LETTA__MASK_KEY", "0123456789abcdef")
    assert not warns()
    assert warns("--mask", "content=hash")
    assert not warns("--mask", "content=hash")
    monkeypatch.setenv("SOURCES__LETTA__MASK_KEY", "fedcba9876543210")
    assert warns("--mask", "content=hash")
    assert not warns()
    assert not warns("--mask", "content=hash", "--refresh")


def test_rows_that_keep_masked_values_are_counted(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    gone, other = letta.add_agent(name="gone"), one_of(letta)
    letta.add_block("a secret", agent_ids=[other])
    letta.poison(letta.add_message(other, text="unreadable", date=ago(hours=5)))
    letta.add_message(other, text="readable", date=ago(hours=4))
    assert letta_source.load(server, "--resources", "agents,agent_messages,blocks").code == 3
    letta.delete_agent(gone)
    kept = "load_issues 1, agents 1, agent_messages 1, agent_messages__content 1"
    said = letta_source.load(server, *MASKED)
    assert f"keep what is masked now: {kept}, blocks 1. This run did not load" in said.err
    said = letta_source.load(server, *MASKED, "--resources", "agents,agent_messages,blocks")
    assert f"keep what is masked now: {kept}. This run did not load" in said.err


def test_rows_loaded_under_the_same_masks_are_not_counted(
    letta_source: Command, letta: FullLetta, server: Server
) -> None:
    gone = letta.add_agent(name="gone")
    assert letta_source.load(server, *MASKED[1:]).code == 0
    letta.delete_agent(gone)
    assert "keep what is masked now" not in letta_source.load(server, *MASKED).err


def test_rows_of_another_function_are_counted(
    letta_source: Command, letta: FullLetta, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    gone = letta.add_agent(name="gone")
    for mask in (str.upper, str.lower, "redact"):
        caplog.clear()
        settings = {"base_url": server.base_url, "mask": {"agents.name": mask}, "refresh": True}
        load(Load(settings, resources=["agents"], destination="duckdb"))
        letta.tables["agents"].rows.pop(gone, None)
        assert ("keep what is masked now: agents 1." in caplog.text) == (mask is not str.upper)


@pytest.mark.parametrize(("more", "kept"), [((), True), (("--table-format", "delta"), False)])
def test_rows_of_files_that_keep_masked_values_are_counted(
    letta_source: Command,
    letta: FullLetta,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
    kept: bool,
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(letta_source.folder / "lake"))
    letta.talk(one_of(letta), "a secret", date=ago(hours=5))
    for masked in ((), MASKED):
        said = letta_source.load(server, "--destination", "filesystem", *more, *masked)
        assert said.code == 0
    assert ("keep what is masked now: agents " in said.err) == kept


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail
