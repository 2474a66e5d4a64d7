"""Dumps of schema, rows and dlt's tables as plain JSON, in one form for commit cc101f0 and the tested code.

This module imports only public names of the code, so that it runs with either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Rows = list[Json]

MESSAGES = ("agent_messages", "group_messages", "step_messages", "conversation_messages", "messages")
LOAD_ID = "1700000000.5"
SEQUENCE = 1_700_000_000_000_000
# By name, dlt's destination, its credentials, and the table format.
DESTINATIONS: dict[str, tuple[str, dict[str, str], str | None]] = {
    "duckdb": ("duckdb", {"credentials": "letta_db.duckdb"}, None),
    "postgres": ("postgres", {"credentials": "postgresql://letta:letta@localhost/letta"}, None),
    "sqlite": ("sqlalchemy", {"credentials": "sqlite:///letta.db"}, None),
    "files": ("filesystem", {"bucket_url": "lake"}, None),
    "delta": ("filesystem", {"bucket_url": "lake"}, "delta"),
    "iceberg": ("filesystem", {"bucket_url": "lake"}, "iceberg"),
}


@dataclass(frozen=True)
class Page:
    """The body of one response; parsing it is part of the comparison.

    Attributes:
        name: Its name in test results.
        again: True if its messages were loaded before, so that tombstones are added.
    """

    name: str
    resource: str
    parent_id: str
    body: str
    again: bool = False

    @property
    def is_walked(self) -> bool:
        """True for a list of messages, whose pages that commit parsed with a parser of their own.

        Messages of steps and batches had the common parser.
        """
        return self.resource in MESSAGES and self.resource != "step_messages"


def schema_dump(resources: Mapping[str, Any], tables: Iterable[Any]) -> Json:
    """Return everything promised about tables and resources, except descriptions.

    Args:
        resources, tables: `RESOURCES` and `all_tables()` of `letta_source`.
    """
    return {
        "resources": {
            name: {
                "endpoint": each.endpoint,
                "root": each.root.name,
                "children": {child: table.name for child, table in (each.children or {}).items()},
                "parent": each.parent and each.parent.name,
                "on_request": each.on_request,
                "divided": each.divided,
            }
            for name, each in resources.items()
        },
        "tables": {
            table.name: {
                "primary_key": list(table.primary_key),
                "merge_key": list(table.merge_key),
                "columns": {
                    column.name: {
                        "type": column.type,
                        "arrow": str(table.arrow_schema.field(column.name).type),
                        "nullable": table.arrow_schema.field(column.name).nullable,
                        "field": column.field,
                        "content": column.content,
                        "references": column.references,
                    }
                    for column in table.columns
                },
            }
            for table in tables
        },
    }


def dlt_dump(schema: Any) -> Json:
    """Return a dlt schema's tables, without dlt's own, with all hints except descriptions."""
    return {
        name: {
            **{
                hint: value for hint, value in table.items() if hint not in ("name", "columns", "description")
            },
            "columns": {
                column["name"]: {
                    hint: value for hint, value in column.items() if hint not in ("name", "description")
                }
                for column in table["columns"].values()
            },
        }
        for name, table in sorted(schema.tables.items())
        if not name.startswith("_dlt")
    }


def dlt_dumps(folder: Path, base_url: str, cloud_url: str) -> Json:
    """Return dlt's hints for the tables, by destination; nothing is loaded or connected.

    Args:
        folder: For dlt's own files.
        base_url, cloud_url: URLs of the same Letta, self-hosted and as Cloud.
    """
    import dlt

    from letta_source import letta

    def extracted(name: str, source: Any) -> Json:
        kind, credentials, _ = DESTINATIONS[name]
        destination = dlt.destination(kind, **credentials)
        pipeline = dlt.pipeline(
            f"letta_{name}", str(folder / name), destination=destination, dataset_name="letta"
        )
        try:
            pipeline.extract(source)
            return dlt_dump(pipeline.default_schema)
        finally:
            pipeline.deactivate()

    every = [name for name in letta(base_url).resources if name != "message_search"]
    dumped = {
        name: extracted(name, letta(base_url, table_format=table_format).with_resources(*every))
        for name, (_, _, table_format) in DESTINATIONS.items()
    }
    search = letta(cloud_url, search_query="day").with_resources("message_search")
    dumped["duckdb"] |= extracted("duckdb", search)
    return dumped


def rows_dump(tables: Mapping[str, Any]) -> dict[str, Rows]:
    """Return the rows of non-empty pyarrow tables, by name, without nulls and with times as texts."""
    return {
        name: [
            {column: plain(value) for column, value in row.items() if value is not None}
            for row in table.to_pylist()
        ]
        for name, table in sorted(tables.items())
        if table.num_rows
    }


def plain(value: Any) -> Any:
    """Return a time as text, and other values unchanged."""
    return value.isoformat() if isinstance(value, datetime) else value


def to_line(value: Any) -> str:
    """Return one line of JSON; a lone surrogate, which no row may hold, raises UnicodeEncodeError."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    text.encode()
    return text
