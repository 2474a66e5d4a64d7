"""The documentation builds as a site without dead links and without external resources."""

from __future__ import annotations

import json
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs import build_site
from tests.support.environments import extras_python
from tests.support.paths import ROOT


class Page(HTMLParser):
    """A parser that collects the ids, links and resources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {value for value in (given.get("id"), given.get("name")) if value}
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if (tag in ("script", "img") and given.get("src")) or (tag == "link" and given.get("href")):
            self.resources.append(str(given.get("src") or given["href"]))


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("docs/README.md", "[dbt](../dbt/README.md#turns)", "[dbt](dbt.md#turns)"),
        ("dbt/README.md", "[a](../docs/README.md), [b](models/x.sql)", "[a](documentation.md), b"),
        ("README.md", "![p](docs/report.png) [c](docs/configure.md)", "![p](report.png) [c](configure.md)"),
        ("README.md", "[a](https://a.example) [b](#here)", "[a](https://a.example) [b](#here)"),
        ("docs/install.md", "The [Dockerfile](../Dockerfile) is", "The Dockerfile is"),
        ("docs/recipes.md", "```sql duckdb\nSELECT 1\n```", "```sql\nSELECT 1\n```"),
    ],
)
def test_pages_are_adapted_to_the_site(file: str, text: str, expected: str) -> None:
    assert build_site.on_site(text, file) == expected


def test_every_page_is_in_the_menu() -> None:
    menu = build_site.CONFIG.read_text("utf-8").partition("[project.theme]")[0]
    assert [page for page in build_site.pages().values() if f'"{page}"' not in menu] == []
    assert len(set(build_site.pages().values())) == len(build_site.pages())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [str(extras_python("docs")), str(ROOT / "docs" / "build_site.py"), str(folder)]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def read(site: Path) -> dict[Path, Page]:
    return {file: Page(file.read_text("utf-8")) for file in site.rglob("*.html") if file.name != "404.html"}


@pytest.mark.docs
def test_no_link_is_dead_and_no_resource_is_external(site: Path, read: dict[Path, Page]) -> None:
    dead = []
    for file, page in read.items():
        for link in [*page.links, *page.resources]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.resources:
                    dead.append((file.name, link))
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            known = read[target].ids if target in read else set()
            if not target.exists() or (
                parts.fragment and target in read and unquote(parts.fragment) not in known
            ):
                dead.append((str(file.relative_to(site)), link))
    assert dead == []
    assert sum(len(page.links) for page in read.values()) > 500


@pytest.mark.docs
def test_it_has_each_page_a_search_and_the_docstrings(site: Path, read: dict[Path, Page]) -> None:
    pages = {file.parent.name for file in read} | {"index"}
    assert {Path(page).stem for page in build_site.pages().values()} <= pages
    searched = json.dumps(json.loads((site / "search.json").read_text("utf-8")))
    assert all(word in searched for word in ("agent_messages__tool_calls", "--steal-lock", "open_dataset"))
    python = read[site / "python" / "index.html"]
    assert {
        "letta_source.source.letta",
        "letta_source.loading.run.load",
        "letta_source.export.chats",
    } <= python.ids
