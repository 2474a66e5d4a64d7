"""What the command line prints: the tables of a load, of resources and of families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from letta_source.schema.tables import RESOURCES
from letta_source.state.session import Session


def summary(session: Session, new: Mapping[str, int]) -> str:
    """Resource, parents, new items, requests, seconds, problems: a row each, and what they add up to."""
    rows: list[Sequence[str]] = []
    for name, counts in session.counts.items():
        if counts.skipped:
            rows.append((name, "", counts.skipped, "", "", ""))
            continue
        parents = f"{counts.parents:,}" if counts.parents else "-"
        added = f"{new.get(name, counts.items):,}"
        rows.append(
            (name, parents, added, f"{counts.requests:,}", f"{counts.seconds:.1f}", f"{counts.problems:,}")
        )
    return columns(("resource", "parents", "new items", "requests", "seconds", "problems"), rows)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for people: the first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def described() -> list[dict[str, Any]]:
    """Every resource with its tables, keys and columns, as plain values."""
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


def described_text() -> str:
    """The same for a person."""
    lines = []
    for resource in described():
        request = " (on request)" if resource["on_request"] else ""
        lines.append(f"{resource['resource']}{request}")
        for table in resource["tables"]:
            names = ", ".join(column["name"] for column in table["columns"])
            lines.append(f"  {table['table']}: {table['description']}")
            lines.append(f"    key: {', '.join(table['primary_key'])}")
            lines.append(f"    columns: {names}")
    return "\n".join(lines)
