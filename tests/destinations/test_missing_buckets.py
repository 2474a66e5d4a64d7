"""A missing bucket is named before anything is read; without permission to check, the load continues.

The errors are those that the libraries raised for responses of a server on loopback: s3fs 2026.9,
gcsfs 2026.10 (404: FileNotFoundError, 403: OSError), adlfs 2026.8 (404: FileNotFoundError, 403:
HttpResponseError, which has a status). tests/destinations/test_buckets.py has a server for S3.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from letta_source.destinations import dlt_paths
from letta_source.destinations.dlt_paths import assert_usable_path
from letta_source.errors import ConfigError


class AzureError(Exception):
    """Like azure.core's error, which is not derived from one of Python's."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"ErrorCode:{status_code}")
        self.status_code = status_code


class Files:
    """A file system with one answer to each question about a bucket."""

    def __init__(self, answer: Exception | None) -> None:
        self.asked: list[str] = []
        self._answer = answer

    def _asked(self, bucket: str) -> None:
        self.asked.append(bucket)
        if self._answer:
            raise self._answer

    def call_s3(self, method: str, Bucket: str) -> None:
        assert method == "head_bucket"
        self._asked(Bucket)

    def call(self, method: str, path: str, bucket: str, json_out: bool) -> None:
        assert (method, path, json_out) == ("GET", "b/{}", True)
        self._asked(bucket)

    def info(self, container: str) -> None:
        self._asked(container)


@pytest.fixture(autouse=True)
def _clients_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlt_paths, "FilesystemClient", SimpleNamespace)


def client_of(protocol: str, files: Files) -> Any:
    path = "conversations/eu/letta"
    config = SimpleNamespace(protocol=protocol, bucket_url=f"{protocol}:///{path}")
    return SimpleNamespace(
        config=config, fs_client=files, bucket_path=path, dataset_path=path, is_local_filesystem=False
    )


REMOTE = ["s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl"]


@pytest.mark.parametrize("protocol", REMOTE)
def test_a_missing_bucket_is_named(protocol: str) -> None:
    with pytest.raises(ConfigError, match="there is no bucket conversations: make it"):
        assert_usable_path(client_of(protocol, Files(FileNotFoundError("b/conversations"))), None)


@pytest.mark.parametrize("protocol", REMOTE)
def test_an_existing_bucket_is_requested_once(protocol: str) -> None:
    files = Files(None)
    assert_usable_path(client_of(protocol, files), None)
    assert files.asked == ["conversations"]


FORBIDDEN = [
    ("s3", PermissionError("Forbidden")),
    ("gs", OSError("Forbidden: b/conversations\ndenied")),
    ("az", AzureError(403)),
]


@pytest.mark.parametrize(("protocol", "answer"), FORBIDDEN)
def test_without_permission_to_check_the_load_continues(protocol: str, answer: Exception) -> None:
    assert_usable_path(client_of(protocol, Files(answer)), None)


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [("s3", OSError("the network is down")), ("gs", ValueError("401")), ("az", AzureError(401))],
)
def test_other_errors_are_raised(protocol: str, answer: Exception) -> None:
    with pytest.raises(type(answer)):
        assert_usable_path(client_of(protocol, Files(answer)), None)


@pytest.mark.parametrize("protocol", ["file", "sftp", "memory"])
def test_other_destinations_are_not_checked(protocol: str) -> None:
    files = Files(FileNotFoundError())
    assert_usable_path(client_of(protocol, files), None)
    assert files.asked == []
