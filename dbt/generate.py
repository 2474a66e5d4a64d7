"""Writes what of this package is a copy of `letta_source.schema.tables`: the sources and the staging models.

Run by hand, with `letta_source` importable, when a table changes: `python dbt/generate.py`. A test holds that
the files are as this makes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from letta_source.schema.columns import DELETED, Column
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import LOAD_ISSUES, Table

PACKAGE = Path(__file__).parent
STAGING = PACKAGE / "models" / "staging"

_SOURCES = """\
# Made by generate.py.
version: 2

sources:
  - name: letta
    description: "Letta as `letta-source run` loads it."
    database: "{{ var('letta_database', target.database) }}"
    schema: "{{ var('letta_schema', 'letta') }}"
    loader: dlt
    tables:
      - name: _dlt_loads
        description: "dlt's own: a row for each finished load."
        config:
          loaded_at_field: inserted_at
          freshness:
            warn_after: {count: "{{ var('letta_freshness_hours', 24) | int }}", period: hour}
"""


def files() -> dict[str, str]:
    """The text of every file in the folder of the staging models, by its name."""
    read = _read_by_others()
    made = {"_letta__sources.yml": _sources()}
    for family, tables in _families().items():
        made[f"stg_letta__{family}.yml"] = _described(tables)
        for table in tables:
            made[f"stg_letta__{table.name}.sql"] = _model(family, table, table.name in read)
    return made


def _families() -> dict[str, tuple[Table, ...]]:
    """The tables that one variable switches, by its name; a root comes before its children."""
    return {
        **{name: resource.tables for name, resource in RESOURCES.items()},
        LOAD_ISSUES.name: (LOAD_ISSUES,),
    }


def _read_by_others() -> set[str]:
    """The tables whose staging models other models of the package read."""
    models = PACKAGE / "models"
    written = [*models.glob("intermediate/*.sql"), *models.glob("marts/*.sql")]
    return {name for path in written for name in re.findall(r"ref\('stg_letta__(\w+)'\)", path.read_text())}


def _sources() -> str:
    tables = (table for tables in _families().values() for table in tables)
    named = (f"      - {{name: {t.name}, description: {_quoted(t.description)}}}\n" for t in tables)
    return _SOURCES + "".join(named)


def _model(family: str, table: Table, read: bool) -> str:
    on_request = family in RESOURCES and RESOURCES[family].on_request
    using = f"var('letta__using_{family}', {str(not on_request).lower()})"
    # Off, a model that others read is empty, and one that none reads is not built.
    config = "" if read else f"{{{{ config(enabled={using}) }}}}\n\n"
    columns = "".join(f"        ('{column.name}', '{column.type}'),\n" for column in _columns(table))
    return (
        f"-- Made by generate.py.\n{config}{{{{ letta_staging(\n"
        f"    using={using},\n"
        f"    table=source('letta', '{table.name}'),\n"
        f"    loads=source('letta', '_dlt_loads'),\n"
        f"    key={list(table.primary_key)},\n"
        f"    columns=[\n{columns}    ],\n"
        f") }}}}\n"
    )


def _described(tables: tuple[Table, ...]) -> str:
    lines = ["# Made by generate.py.", "version: 2", "", "models:"]
    for table in tables:
        child = table is not tables[0]
        lines += [
            f"  - name: stg_letta__{table.name}",
            f"    description: {_quoted(f'{table.description} Only rows of finished loads, each key once.')}",
            "    data_tests:",
            f"      - letta_key: {{arguments: {{columns: [{', '.join(table.primary_key)}]}}}}",
            *(_child_test(table, tables[0]) if child else ()),
            "    columns:",
        ]
        for column in _columns(table):
            lines += [f"      - name: {column.name}", f"        description: {_quoted(column.description)}"]
            lines += () if child else _parent_test(column)
    return "\n".join(lines) + "\n"


def _child_test(table: Table, root: Table) -> Iterator[str]:
    # A child's key is its root's, and its index.
    yield "      - letta_relationship:"
    yield "          arguments:"
    yield f"            columns: [{', '.join(table.primary_key[:-1])}]"
    yield f"            to: ref('stg_letta__{root.name}')"
    yield f"            to_columns: [{', '.join(root.primary_key)}]"


def _parent_test(column: Column) -> Iterator[str]:
    """A warning where what a message hangs from is not loaded."""
    if column.references and not column.nullable:
        parent = column.references.partition(".")[0]
        enabled = f"{{{{ var('letta__using_{parent}', true) }}}}"
        yield "        data_tests:"
        yield "          - relationships:"
        yield f"              arguments: {{to: ref('stg_letta__{parent}'), field: id}}"
        yield f'              config: {{severity: warn, enabled: "{enabled}"}}'


def _columns(table: Table) -> list[Column]:
    return [column for column in table.columns if column.name != DELETED.name]


def _quoted(description: str) -> str:
    return json.dumps(description, ensure_ascii=False)


def main() -> None:
    made = files()
    for path in STAGING.glob("*"):
        path.unlink()
    for name, text in made.items():
        (STAGING / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
