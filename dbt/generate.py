"""Write the files here that follow from `letta_source`: schema, staging models, the pairing of tool calls.

Run it when a table or the pairing changes, with `letta_source` importable: `python dbt/generate.py`. A test
checks that the files are up to date.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from letta_source.export import pairing
from letta_source.schema.columns import DELETED, Column
from letta_source.schema.resources import RESOURCES
from letta_source.schema.tables import ERASED, LOAD_ISSUES, LOAD_LOG, Table

PACKAGE = Path(__file__).parent
STAGING = PACKAGE / "models" / "staging"
SCHEMA = PACKAGE / "macros" / "letta_schema.sql"
PAIRING = PACKAGE / "macros" / "letta_pairing.sql"

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
      - {name: _dlt_loads, description: "dlt's own table: one row for each completed load."}
"""
# Not that of _dlt_loads: a run that finds nothing new completes no load.
_FRESHNESS = """\
        config:
          loaded_at_field: ended_at
          freshness:
            warn_after: {count: "{{ var('letta_freshness_hours', 24) | int }}", period: hour}
            filter: exit_code in (0, 3)
"""
_ONLY = "Only rows of completed loads; each key once."
_MACRO = """\
{#- Made by generate.py: the tables of letta_source, with their columns as `name type`.

If a family has a parent, its key and its columns begin with the parent's id. -#}
{% macro letta_schema() %}
"""
_PAIRING = """\
{{#- Made by generate.py from letta_source/export/pairing.py, whose rule the export runs, too.

letta_events returns common table expressions over calls, approvals and returns (staging rows); the last is
`event`. letta_pairs returns some over `happened` (events with their times); the last is `paired`, one row per
call with the keys of its decision and of its end. -#}}
{{% macro letta_events() %}}
{events}
{{%- endmacro %}}

{{% macro letta_pairs() %}}
{pairs}
{{%- endmacro %}}

{{% macro letta_outcome(approve, status) %}}
{outcome}
{{%- endmacro %}}
"""


def files() -> dict[Path, str]:
    """Return the text of every file that follows from the schema, by path."""
    made = {
        SCHEMA: _schema(),
        PAIRING: _pairing(),
        STAGING / "_letta__sources.yml": _sources(),
        STAGING / "_letta__staging.yml": _described(),
    }
    read = _read_by_others()
    for _, table in _tables():
        # If disabled, a model that others read is empty, and one that none reads is not built.
        more = ", always=true" if table.name in read else ""
        made[STAGING / f"stg_letta__{table.name}.sql"] = f"{{{{ letta_staging('{table.name}'{more}) }}}}\n"
    return made


def _tables() -> Iterator[tuple[str, Table]]:
    """Yield each table with the family that switches it; a root comes before its children."""
    for name, resource in RESOURCES.items():
        for table in resource.tables:
            yield name, table
    yield LOAD_ISSUES.name, LOAD_ISSUES


def _read_by_others() -> set[str]:
    """Return the tables whose staging models other models of the package read."""
    models = PACKAGE / "models"
    written = [*models.glob("intermediate/*.sql"), *models.glob("marts/*.sql")]
    return {name for path in written for name in re.findall(r"ref\('stg_letta__(\w+)'\)", path.read_text())}


def _schema() -> str:
    """Return the macro; columns that several tables share are written once."""
    shapes: dict[str, str] = {}
    families: list[str] = []
    children: dict[str, str] = {}
    for family, table in _tables():
        card = RESOURCES.get(family)
        parent = card.parent if card else None
        own = ", ".join(f"{c.name} {c.type}" for c in _columns(table) if c != parent)
        shape = shapes.setdefault(own, table.name)
        key = [name for name in table.primary_key if parent is None or name != parent.name]
        entry = f"{{'key': {key}, 'columns': {shape}"
        if child := table.name.removeprefix(family).removeprefix("__"):
            children.setdefault(child, f"        '{child}': {entry}}},\n")
        else:
            on = str(card is None or not card.on_request).lower()
            above = f"'{parent.name}'" if parent else "none"
            families.append(f"        '{family}': {entry}, 'parent': {above}, 'on': {on}}},\n")
    sets = (
        f"{{%- set {name} -%}}\n{textwrap.fill(text, 108)}\n{{%- endset -%}}\n"
        for text, name in shapes.items()
    )
    return (
        f"{_MACRO}{''.join(sets)}{{{{- return({{\n    'families': {{\n{''.join(families)}    }},\n"
        f"    'children': {{\n{''.join(children.values())}    }},\n}}) -}}}}\n{{% endmacro %}}\n"
    )


def _pairing() -> str:
    """Return the macros of the rule that pairs tool calls, in this package's lower case."""
    sql = _PAIRING.format(
        events=pairing.EVENTS.format(tool_calls="calls", tool_returns="returns", approvals="approvals"),
        pairs=pairing.PAIRS,
        outcome=pairing.OUTCOME.format(approve="{{ approve }}", status="{{ status }}"),
    )
    return re.sub(r"\b[A-Z]{2,}\b", lambda word: word[0].lower(), sql)


def _sources() -> str:
    tables = [*(table for _, table in _tables()), LOAD_LOG, ERASED]
    return _SOURCES + "".join(map(_source, tables))


def _source(table: Table) -> str:
    if table is LOAD_LOG:
        return f"      - name: {table.name}\n        description: {_quoted(table.description)}\n{_FRESHNESS}"
    return f"      - {{name: {table.name}, description: {_quoted(table.description)}}}\n"


def _described() -> str:
    """Return the descriptions and tests; a column that several tables share is described in the first."""
    lines = ["# Made by generate.py.", "version: 2", "", "models:"]
    written: dict[tuple[str, str], str] = {}
    for family, table in _tables():
        root = RESOURCES[family].root if family in RESOURCES else table
        parent = RESOURCES[family].parent if family in RESOURCES else None
        lines += [
            f"  - name: stg_letta__{table.name}",
            f"    description: {_quoted(f'{table.description} {_ONLY}')}",
            "    data_tests:",
            f"      - letta_key: {{arguments: {{columns: [{', '.join(table.primary_key)}]}}}}",
            *(_child_test(table, root) if table is not root else ()),
        ]
        entries: list[str] = []
        for column in _columns(table):
            known = (column.name, column.description)
            if column == parent and table is root and parent.references:
                entries.append(f"{{{_described_column(column)}, {_parent_test(parent)}}}")
            elif known in written:
                entries.append(f"*{written[known]}")
            else:
                written[known] = f"{table.name}-{column.name}"
                entries.append(f"&{written[known]} {{{_described_column(column)}}}")
        lines += _listed(entries)
    return _without_lone_anchors("\n".join(lines) + "\n")


def _listed(entries: list[str]) -> Iterator[str]:
    """Yield the lines of a table's columns; columns that are described elsewhere share lines."""
    if not all(entry.startswith("*") for entry in entries[1:]):
        yield "    columns:"
        yield from (f"      - {entry}" for entry in entries)
        return
    first, rest = entries[0], ", ".join(entries[1:])
    yield f"    columns: [{first},"
    yield from textwrap.wrap(
        f"{rest}]", 104, initial_indent="      ", subsequent_indent="      ", break_on_hyphens=False
    )


def _described_column(column: Column) -> str:
    return f"name: {column.name}, description: {_quoted(column.description)}"


def _without_lone_anchors(text: str) -> str:
    used = set(re.findall(r"[\s\[]\*([\w-]+)", text))
    return re.sub(r"([\[ ])&([\w-]+) ", lambda found: str(found[0]) if found[2] in used else found[1], text)


def _child_test(table: Table, root: Table) -> Iterator[str]:
    # A child's key is its root's key and its index.
    yield "      - letta_relationship:"
    yield "          arguments:"
    yield f"            columns: [{', '.join(table.primary_key[:-1])}]"
    yield f"            to: ref('stg_letta__{root.name}')"
    yield f"            to_columns: [{', '.join(root.primary_key)}]"


def _parent_test(column: Column) -> str:
    """Return a test that warns if the parent of messages is not loaded."""
    parent = str(column.references).partition(".")[0]
    return (
        f"data_tests: [{{letta_parent: {{arguments: {{to: ref('stg_letta__{parent}'), table: {parent}}},"
        " config: {severity: warn}}}]"
    )


def _columns(table: Table) -> list[Column]:
    return [column for column in table.columns if column.name != DELETED.name]


def _quoted(description: str) -> str:
    return json.dumps(description, ensure_ascii=False)


def main() -> None:
    for path in STAGING.glob("*"):
        path.unlink()
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
