"""Write the lower part of `docs/tables.md` from `letta_source.schema.tables`: `python docs/generate.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from letta_source.schema.card import Resource
from letta_source.schema.columns import Column
from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.schema.tables import ERASED, LOAD_ISSUES, LOAD_LOG, Table

PAGE = Path(__file__).with_name("tables.md")
_MARK = "by docs/generate.py, from letta_source/schema. -->\n"
# Its children represent those of all messages.
_SHOWN = "agent_messages"
_DIAGRAM = (
    "Keys and references of the tables loaded by default. The other tables of messages have the"
    f" same four children as `{_SHOWN}`."
)

_CONTENT = (
    "The mask `content` covers every column that can quote people. The other tables of messages have"
    f" the children of `{_SHOWN}`."
)


def page() -> str:
    """Return the whole page; everything above the mark is written by hand."""
    head, mark, _ = PAGE.read_text("utf-8").partition(_MARK)
    parts = [f"{head}{mark}\n## Diagram\n\n{_DIAGRAM}\n\n```mermaid\n{diagram()}\n```\n"]
    parts.append(f"## What content covers\n\n{_CONTENT}\n\n{covered()}\n")
    written: list[Table] = []
    for resource in RESOURCES.values():
        parts.append(_heading(resource))
        for table in resource.tables:
            if table is not resource.root:
                parts.append(f"### {table.name}\n\n{table.description}\n")
            parts.append(_columns(table, resource.parent, written))
            written.append(table)
    for table in (LOAD_ISSUES, LOAD_LOG, ERASED):
        parts.append(f"## {table.name}\n\n{table.description}\n")
        parts.append(_columns(table, None, written))
    return "\n".join(parts)


def covered() -> str:
    """Return a line for each table with the columns that the mask `content` covers."""
    lines = []
    for table in all_tables():
        root, _, child = table.name.partition("__")
        names = tuple(column.name for column in table.columns if column.content)
        if names and (not child or root == _SHOWN):
            lines.append(f"- `{table.name}`: {_names(names)}")
    return "\n".join(lines)


def diagram() -> str:
    """Return Mermaid's `erDiagram` of what is loaded by default: keys and references only."""
    shown = [
        table
        for resource in RESOURCES.values()
        if not resource.on_request
        for table in (resource.tables if resource.name == _SHOWN else (resource.root,))
    ]
    lines = ["erDiagram"]
    for table in shown:
        lines.append(f"    {table.name} {{")
        for column in table.columns:
            marks = ["PK"] * (column.name in table.primary_key) + ["FK"] * (column.references is not None)
            if marks:
                lines.append(f"        {column.type} {column.name} {', '.join(marks)}")
        lines.append("    }")
    for table in shown:
        lines.extend(f"    {line}" for line in _relations(table))
    return "\n".join(lines)


def _relations(table: Table) -> Iterator[str]:
    root, _, child = table.name.partition("__")
    if child:
        yield f'{root} ||--o{{ {table.name} : "{", ".join(RESOURCES[root].root.primary_key)}"'
        return
    for column in table.columns:
        if column.references:
            other = column.references.partition(".")[0]
            yield f'{other} {"|o" if column.nullable else "||"}--o{{ {table.name} : "{column.name}"'


def _heading(resource: Resource) -> str:
    loaded = " Loaded on request only." if resource.on_request else ""
    return f"## {resource.name}\n\n{resource.root.description}{loaded} From `{resource.endpoint}`.\n"


def _columns(table: Table, parent: Column | None, written: list[Table]) -> str:
    """Return the table's key and columns, or the name of an earlier table that has the same columns."""
    own = _without_parents(table)
    for other in written:
        if own == _without_parents(other):
            theirs = f"`{other.columns[0].name}`"
            change = f"with {_cell(parent)} in place of {theirs}" if parent else f"without {theirs}"
            key = _names(table.primary_key)
            return f"Key: {key}. The columns of [{other.name}](#{other.name}), {change}.\n"
    rows = "\n".join(f"| `{c.name}` | {c.type} |{_marks(c)} | {_described(c)} |" for c in table.columns)
    key = f"Key: {_names(table.primary_key)}."
    return f"{key}\n\n| column | type | | |\n| --- | --- | --- | --- |\n{rows}\n"


def _without_parents(table: Table) -> list[tuple[str, str, str, bool, bool]]:
    """Return what identifies the columns of a table, without the column of the parent's id."""
    resource = RESOURCES.get(table.name.partition("__")[0])
    parent = resource.parent.name if resource and resource.parent else None
    return [(c.name, c.type, c.description, c.nullable, c.content) for c in table.columns if c.name != parent]


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(column: Column) -> str:
    return f"`{column.name}` ({_described(column)})"


def _marks(column: Column) -> str:
    return f"{' never null' * (not column.nullable)}{' content' * column.content}"


def _described(column: Column) -> str:
    return column.description + (f" → `{column.references}`" if column.references else "")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
