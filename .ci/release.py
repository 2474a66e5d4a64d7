"""Steps of a release that take more than a command: `check TAG`, and `links URL TAG`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:)([^)]*)\)")


def version() -> str:
    """Return the package's version.

    Raises:
        SystemExit: pyproject.toml has none.
    """
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    if not found:
        raise SystemExit("pyproject.toml: no version")
    return found[1]


def check(tag: str) -> None:
    """Check that the tag, the package and the changelog have the same version.

    Raises:
        SystemExit: The versions differ.
    """
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    if not tag == f"v{version()}" == f"v{titles[0]}":
        raise SystemExit(f"the tag is {tag}, pyproject.toml has {version()}, CHANGELOG.md {titles[0]}")


def absolute(text: str, url: str, tag: str) -> str:
    """Return Markdown whose links into the repository are absolute, to the files as of a tag.

    Args:
        text: The page, whose links start at the repository's root.
        url: The repository's address.
        tag: The version to link to.
    """

    def link(found: re.Match[str]) -> str:
        picture, shown, target = found.groups()
        path, _, anchor = target.partition("#")
        path = path or "README.md"
        kind = "raw" if picture else "tree" if path.endswith("/") or (ROOT / path).is_dir() else "blob"
        fragment = f"#{anchor}" if anchor else ""
        return f"{picture}[{shown}]({url}/{kind}/{tag}/{path}{fragment})"

    return _LINK.sub(link, text)


def links(url: str, tag: str) -> None:
    """Make the links of README.md absolute, in place."""
    readme = ROOT / "README.md"
    readme.write_text(absolute(readme.read_text("utf-8"), url, tag), "utf-8")


if __name__ == "__main__":
    {"check": check, "links": links}[sys.argv[1]](*sys.argv[2:])
