"""One server per dataset: refuse a load from another host than the one that filled it.

Cursors, sweeps and deletions hold for one server. With two in one dataset, each load would take the other
server's rows for deleted, and continue lists from the other server's cursors.
"""

from __future__ import annotations

from contextlib import suppress

import dlt
import httpx
import pyarrow.parquet as pq
from dlt.common.destination.exceptions import DestinationUndefinedEntity, SqlClientNotAvailable

from letta_source.destinations.dlt_files import Files
from letta_source.destinations.dlt_internals import is_kind
from letta_source.errors import ConfigError, ExitCode
from letta_source.schema.tables import LOAD_LOG
from letta_source.settings import Settings
from letta_source.settings.values import is_loopback

# Exit codes of runs that read something, even if nothing was new.
_ENDED = (ExitCode.OK.value, ExitCode.INCOMPLETE.value)


def assert_same_server(pipeline: dlt.Pipeline, settings: Settings) -> None:
    """Check by its load_log that the dataset was filled from this host.

    Raises:
        ConfigError: it was filled from another one; says what to do.
    """
    if settings.same_server:
        return
    if other := _other_host(pipeline, settings.base_url):
        raise ConfigError(
            f"{pipeline.dataset_name} was filled from {other}, and this load would read"
            f" {settings.base_url}: choose another --dataset-name for another server; if it is the same one"
            " under a new address, give --same-server (setting same_server)"
        )


def _other_host(pipeline: dlt.Pipeline, host: str) -> str | None:
    """Return the host that the last run read, if it is another one and any run wrote rows."""
    if is_kind("filesystem", pipeline):
        return _other_in_files(pipeline, host)
    found: list[tuple[str, str, int]] = []
    with suppress(DestinationUndefinedEntity, SqlClientNotAvailable), pipeline.sql_client() as client:
        table = client.make_qualified_table_name(LOAD_LOG.name)
        names = ("host", "run_id", "exit_code", "rows_written")
        of_run, run_id, code, rows = map(client.escape_column_name, names)
        sql = (
            f"SELECT max({run_id}), {of_run}, sum({rows}) FROM {table}"
            f" WHERE {code} IN {_ENDED} OR {rows} > 0 GROUP BY {of_run}"
        )
        found = [(row[0], row[1], row[2] or 0) for row in client.execute_sql(sql) or ()]
    if not any(rows_written for _, _, rows_written in found):
        # The server had nothing, perhaps because the address was wrong.
        return None
    last = max(found)[1]
    return None if _address(last) == _address(host) else last


def _other_in_files(pipeline: dlt.Pipeline, host: str) -> str | None:
    """Return the same as `_other_host`, from one file per run, named by its run_id."""
    last: str | None = None
    with Files.opened(pipeline) as files:
        assert files is not None
        for path in sorted(files.of_table(LOAD_LOG.name), reverse=True):
            with files.filesystem.open(path, "rb") as file:
                of_run = pq.read_table(file).to_pylist()
            written = any(row["rows_written"] for row in of_run)
            if written or of_run[0]["exit_code"] in _ENDED:
                last = last or str(of_run[0]["host"])
                if _address(last) == _address(host):
                    return None
            if written:
                return last
    return None


def _address(base_url: str) -> tuple[str, int | None, str]:
    """Return host, port and path; http and https are the same, and so are all names of this machine."""
    url = httpx.URL(base_url)
    return "localhost" if is_loopback(url.host) else url.host, url.port, url.path.rstrip("/")
