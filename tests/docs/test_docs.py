"""The pages of `docs/` say what the code does."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import letta_source
from docs import generate
from letta_source.demo import recorded_letta, serve
from letta_source.schema.resources import RESOURCES
from tests.support.library_loads import EVERY_RESOURCE, TABLES, Merged, columns_of, small_letta
from tests.support.paths import ROOT

TESTS = ROOT / "tests"
PACKAGE = Path(letta_source.__file__).parent
QUIRKS = re.split("^### ", (generate.PAGE.parent / "quirks.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
# Resources whose endpoints only Cloud answers.
ON_CLOUD = ("steps", "message_search")


def test_the_tables_page_is_up_to_date() -> None:
    assert generate.PAGE.read_text("utf-8") == generate.page(), "run python docs/generate.py"


@pytest.mark.parametrize("resource", RESOURCES)
def test_resources_name_the_endpoint_they_are_read_from(resource: str) -> None:
    method, path = RESOURCES[resource].endpoint.split()
    pattern = re.sub(r"\{\w+\}", "[^/]+", path)
    with serve(small_letta(), "cloud" if resource in ON_CLOUD else "self-hosted") as server:
        Merged().load(server, resource, search_query="hi")
        asked = [request for request in server.requests if request.method == method]
    assert any(re.fullmatch(pattern, request.path) for request in asked)


def test_references_name_ids_of_the_same_kind() -> None:
    merged = Merged()
    with serve(recorded_letta()) as server:
        merged.load(server, *EVERY_RESOURCE)

    def kinds(table: str, column: str) -> set[str]:
        """Return the prefixes of a column's ids: run, agent, …"""
        place = columns_of(table).index(column)
        return {row[place].partition("-")[0] for row in merged.rows(table) if row[place]}

    met = set()
    for table in TABLES.values():
        for column in table.columns:
            if column.references and (found := kinds(table.name, column.name)):
                assert found == kinds(*column.references.split(".")), f"{table.name}.{column.name}"
                met.add(f"{table.name}.{column.name}")
    assert {"agent_messages.run_id", "steps.run_id", "runs.agent_id", "batch_messages.agent_id"} <= met


def test_there_are_quirks() -> None:
    assert len(QUIRKS) > 30


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.partition("\n")[0])
def test_modules_and_tests_named_by_quirks_exist(quirk: str) -> None:
    found = re.search(r"^Where: (.+)\. Tests: (.+)\.$", quirk, re.MULTILINE)
    assert found, "says nothing of modules and tests"
    modules, tests = (re.findall("`([^`]+)`", names) for names in found.groups())
    assert modules
    assert [name for name in modules if not (PACKAGE / f"{name}.py").exists()] == []
    assert tests
    assert [test for test in tests if not is_test(test)] == []


def is_test(name: str) -> bool:
    file, _, function = name.partition("::")
    path = TESTS / file
    return path.exists() and function in {
        node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)
    }


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


def text_of(page: Path) -> str:
    """Return the Markdown of a page, or of a notebook's cells."""
    text = page.read_text("utf-8")
    if page.suffix != ".ipynb":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n".join("".join(cell["source"]) for cell in cells)


PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    # Not pytest's own, in .pytest_cache.
    *ROOT.glob("[!.]*/README.md"),
    *(ROOT / "docs").glob("*.ipynb"),
]


@pytest.mark.parametrize("page", sorted(set(PAGES)), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_are_valid(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text_of(page))
    dead = []
    for path, anchor in links:
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{path}#{anchor}")
    assert dead == []


def test_modules_named_by_the_architecture_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = re.findall(r"`([a-z_]+/[a-z_]+)`", page)
    assert len(named) > 20
    assert [name for name in named if not (PACKAGE / f"{name}.py").exists()] == []
