"""The command `letta-source discover`."""

from __future__ import annotations

import argparse
from typing import Any

from letta_source.cli.arguments import add_command
from letta_source.errors import ExitCode


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    summary = "list the resources, their tables, keys and columns"
    add_command(commands, "discover", discover, summary).add_argument(
        "--json", action="store_true", help="print JSON"
    )


def discover(options: argparse.Namespace) -> int:
    """Print every resource with its tables, keys and columns."""
    import json

    print(json.dumps(described(), indent=2) if options.json else _text())
    return ExitCode.OK


def described() -> list[dict[str, Any]]:
    """Return every resource with its tables, keys and columns, as plain values."""
    from letta_source.schema.resources import RESOURCES

    return [
        {
            "resource": resource.name,
            "endpoint": resource.endpoint,
            "on_request": resource.on_request,
            "tables": [
                {
                    "table": table.name,
                    "description": table.description,
                    "primary_key": list(table.primary_key),
                    "columns": [
                        {
                            "name": column.name,
                            "type": column.type,
                            "nullable": column.nullable,
                            "description": column.description,
                            "references": column.references,
                        }
                        for column in table.columns
                    ],
                }
                for table in resource.tables
            ],
        }
        for resource in RESOURCES.values()
    ]


def _text() -> str:
    lines = []
    for resource in described():
        request = " (on request)" if resource["on_request"] else ""
        lines.append(f"{resource['resource']}{request}")
        for table in resource["tables"]:
            columns = ", ".join(column["name"] for column in table["columns"])
            lines.append(f"  {table['table']}: {table['description']}")
            lines.append(f"    key: {', '.join(table['primary_key'])}")
            lines.append(f"    columns: {columns}")
    return "\n".join(lines)
