"""Build the site of the documentation: `python docs/build_site.py [FOLDER]`, by default `site`.

Pages keep their text. Links between pages lead from page to page; links to other files become plain text,
because the site does not know where the repository is.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "docs" / "zensical.toml"
# Pages from other folders, or whose names would clash.
NAMED = {
    "README.md": "index.md",
    "docs/README.md": "documentation.md",
    "dbt/README.md": "dbt.md",
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
# Python-Markdown takes a fence with a second word for inline code, and all that follows it, too.
_FENCE = re.compile(r"^(```\w+) .+$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def pages() -> dict[str, str]:
    """Map each page's file in the repository to its file in the site."""
    docs = {f"docs/{file.name}": file.name for file in sorted((ROOT / "docs").glob("*.md"))}
    return {**docs, **NAMED}


def on_site(text: str, file: str) -> str:
    """Return a page's text with the site's links, and fences that have only their language.

    Args:
        text: Markdown.
        file: The page's path in the repository.
    """
    there = pages()

    def link(found: re.Match[str]) -> str:
        picture, shown, target, anchor = found.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        if picture:
            return f"![{shown}]({posixpath.basename(path)})"
        return f"[{shown}]({there[path]}{anchor or ''})" if path in there else shown

    return _LINK.sub(link, _FENCE.sub(r"\1", text))


def write(folder: Path) -> None:
    """Write the site's sources to a folder."""
    sources = folder / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    sources.mkdir(parents=True)
    for file, page in pages().items():
        (sources / page).write_text(on_site((ROOT / file).read_text("utf-8"), file), "utf-8")
    for picture in (ROOT / "docs").glob("*.png"):
        shutil.copy(picture, sources)
    config = CONFIG.read_text("utf-8").replace('paths = ["."]', f'paths = ["{ROOT.as_posix()}"]')
    (folder / "zensical.toml").write_text(config, "utf-8")


def main() -> None:
    """Build the site, and fail on any warning."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site").resolve()
    folder = ROOT / "build" / "site"
    write(folder)
    build = [sys.executable, "-m", "zensical", "build", "--strict", "-f", str(folder / "zensical.toml")]
    subprocess.run(build, check=True)
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(folder / "site", site)
    print(f"{site / 'index.html'}")


if __name__ == "__main__":
    main()
