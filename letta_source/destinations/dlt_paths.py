"""Paths and addresses with any characters, taken literally where dlt and its libraries see escapes."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from letta_source.destinations.dlt_internals import (
    DuckDbCredentials,
    FilesystemClient,
    PostgresCredentials,
    iceberg_library,
)
from letta_source.destinations.duckdb_files import assert_usable_file
from letta_source.errors import ConfigError

_listed_by_dlt = FilesystemClient.list_files_with_prefixes
_location_by_dlt = FilesystemClient.get_open_table_location
_shown_by_dlt = DuckDbCredentials.__str__
# delta-rs turns the table's URL into a path: it decodes these twice, panics, or fails when all is read.
_NOT_DELTA = re.compile(r"[\x00-\x1f\x7f\[\]|^\\]|%[0-9A-Fa-f]{2}")


def take_paths_literally() -> None:
    """Have dlt find files below a folder of any name, from now on.

    dlt lists them by `glob`, which reads `lake[1]` as `lake1`: earlier state and rows would not be found.
    And pyiceberg does not decode the URL that dlt gives it: the files would go beside the folder, into
    `my%20lake`, where nobody finds them.
    """
    client: Any = FilesystemClient
    client.list_files_with_prefixes, client.get_open_table_location = _listed, _location


def _listed(client: Any, table_dir: str, prefixes: list[str]) -> list[str]:
    if not glob.has_magic(table_dir):
        return _listed_by_dlt(client, table_dir, prefixes)
    found = client.fs_client.find(table_dir)
    if client.is_local_filesystem:
        found = [str(Path(path)) for path in found]
    return [
        path for path in found if path.startswith(tuple(prefixes)) and client.pathlib.basename(path) != "init"
    ]


def _location(client: Any, table_format: Any, table_name: str, schema_name: str | None = None) -> str:
    location = _location_by_dlt(client, table_format, table_name, schema_name)
    if table_format != "iceberg" or not client.is_local_filesystem:
        return location
    # dlt calls this function to find an existing table again.
    iceberg_library().make_location = lambda path, config: _undecoded(config.make_url(path))
    return _undecoded(location)


def _undecoded(url: str) -> str:
    """Return the path of a file URL with escapes, else the URL: older tables have it in their metadata."""
    path = unquote(url.removeprefix("file://"))
    return path if url.startswith("file:///") and quote(path) != path else url


def quote_addresses() -> None:
    """Have dlt write PostgreSQL URLs as libpq reads them, from now on.

    dlt writes them by SQLAlchemy, which leaves spaces as they are, though libpq refuses them, and writes a
    plus for a space in the query, which libpq reads as a plus. SQLAlchemy 2.0 quotes nothing in the
    database's name.
    """
    credentials: type = PostgresCredentials
    credentials.to_native_representation = _written  # type: ignore[attr-defined]


def _written(credentials: PostgresCredentials) -> str:
    url = credentials.to_url()
    without_database = url.set(database="").render_as_string(hide_password=False)
    before, mark, query = without_database.partition("?")
    database = quote(url.database or "", safe="")
    return f"{before.replace(' ', '%20')}{database}{mark}{query.replace('+', '%20')}"


def show_duckdb_paths() -> None:
    """Have dlt show a DuckDB file without importing SQLAlchemy, from now on.

    dlt shows the destination after each load, by SQLAlchemy where it is installed: 0.3 s of a small load.
    """
    credentials: type = DuckDbCredentials
    credentials.__str__ = _shown  # type: ignore[method-assign, assignment]


def _shown(credentials: DuckDbCredentials) -> str:
    path = str(credentials.database)
    # SQLAlchemy escapes other characters.
    return f"duckdb:///{path}" if re.fullmatch(r"[A-Za-z0-9_./-]+", path) else _shown_by_dlt(credentials)


def path_of_uri(uri: str) -> str:
    """Return the path, or the bucket's URL, of an escaped URI from deltalake."""
    return unquote(uri.removeprefix("file://"))


def as_pattern(path: str) -> str:
    """Return the DuckDB file pattern that matches only this path."""
    return re.sub(r"([\[*?])", r"[\1]", path)


def assert_usable_path(client: Any, table_format: str | None) -> None:
    """Refuse a missing bucket, or a path that the destination's library mistakes for another.

    Raises:
        ConfigError: it is refused; names the bucket, or the characters.
    """
    if isinstance(client, FilesystemClient):
        path = str(client.dataset_path)
        _assert_no_host(str(client.config.bucket_url))
        if table_format == "delta" and (odd := _NOT_DELTA.search(path)):
            raise _odd(path, odd[0], "deltalake")
        if table_format == "iceberg" and not client.is_local_filesystem and (odd := re.search("[#?]", path)):
            raise _odd(path, odd[0], "pyiceberg")
        _assert_bucket(client)
        return
    assert_usable_file(client)


def _assert_no_host(url: str) -> None:
    """Refuse `file://lake/letta`, whose `lake` is a host: dlt would write into /lake, at the root."""
    host = urlsplit(url).netloc if url.startswith("file://") and os.sep == "/" else ""
    if host:
        path = url[len("file://") :]
        raise ConfigError(
            f"bucket_url = {url} names a host, {host}: write file:///{path} for a folder of the root, or"
            f" {path} for one in this folder"
        )


def _odd(path: str, characters: str, library: str) -> ConfigError:
    return ConfigError(f"{library} cannot use a path with {characters}: {path}: choose another folder")


def _assert_bucket(client: Any) -> None:
    """Check that a bucket or container exists: dlt would try to create it after everything is read."""
    bucket, files = client.bucket_path.partition("/")[0], client.fs_client
    try:
        match client.config.protocol:
            case "s3" | "s3a":
                files.call_s3("head_bucket", Bucket=bucket)
            case "gs" | "gcs":
                # Not `info`, which also lists, and retries for a minute.
                files.call("GET", "b/{}", bucket, json_out=True)
            case "az" | "azure" | "abfs" | "abfss" | "adl":
                files.info(bucket)
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no bucket {bucket}: make it, or set DESTINATION__FILESYSTEM__BUCKET_URL to another"
        ) from error
    except Exception as error:  # Libraries raise their own, except for S3.
        # Credentials limited to a path of the bucket may not look the bucket up.
        if not _is_forbidden(error):
            raise


def _is_forbidden(error: Exception) -> bool:
    of_gcs = type(error) is OSError and str(error).startswith("Forbidden")
    return isinstance(error, PermissionError) or of_gcs or getattr(error, "status_code", None) == 403
