"""The view load_issues_current: the issues that are open now."""

from __future__ import annotations

import hashlib
import logging

import dlt
from dlt.common.destination.exceptions import SqlClientNotAvailable

from letta_source.destinations.dlt_internals import dialect_of, is_kind, local_value
from letta_source.loading.error_text import one_line
from letta_source.schema.tables import CURRENT_ISSUES, ISSUE_KEY, LOAD_ISSUES

logger = logging.getLogger(__name__)

_MADE = "letta_source_issues_view"


def keep_view(pipeline: dlt.Pipeline) -> None:
    """Create the view, unless this version already has; a filesystem has none."""
    held = pipeline.default_schema.tables.get(LOAD_ISSUES.name, {}).get("columns", {})
    if is_kind("filesystem", pipeline) or "known" not in held:
        return
    try:
        with pipeline.sql_client() as client:
            table, view = map(client.make_qualified_table_name, (LOAD_ISSUES.name, CURRENT_ISSUES))
            # An SQLite view may name no other database, and dlt's name for its file counts as one.
            sql = current_issues(LOAD_ISSUES.name if dialect_of(client) == "sqlite" else table)
            made = hashlib.sha256(f"{view} {sql}".encode()).hexdigest()
            if local_value(pipeline, _MADE) == made:
                return
            # Before the attempt: if it fails, the log says so once.
            pipeline.set_local_state_val(_MADE, made)
            # PostgreSQL cannot replace a view that has other columns, and SQLite none at all.
            client.execute_sql(f"DROP VIEW IF EXISTS {view}")
            client.execute_sql(f"CREATE VIEW {view} AS {sql}")
    except SqlClientNotAvailable:
        return
    except Exception as error:  # Drivers have exceptions of their own.
        logger.warning("the view %s could not be created: %s", CURRENT_ISSUES, one_line(error))


def current_issues(table: str) -> str:
    """Return the query for open issues: those that the last attempt did not resolve."""
    key = ", ".join(ISSUE_KEY)
    on = " AND ".join(f"tried.{name} = issue.{name}" for name in ISSUE_KEY)
    return (
        f"SELECT {', '.join(f'issue.{name}' for name in ISSUE_KEY)}, issue.detail, tried.first_seen_at,"
        " tried.last_tried_at, tried.tries, issue.next_try_at"
        f" FROM {table} issue JOIN (SELECT {key}, min(load_started_at) AS first_seen_at,"
        " max(load_started_at) AS last_tried_at, count(*) AS tries"
        f" FROM {table} WHERE known IS NOT NULL GROUP BY {key}) tried"
        f" ON {on} AND issue.load_started_at = tried.last_tried_at WHERE issue.resolved IS NULL"
    )
