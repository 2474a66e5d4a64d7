"""Who may import whom: each module only what is left of it in the line, and the package nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import letta_source

# What stands on the left can be read, tested and changed without what stands on its right.
LINE = (
    "errors",
    "times",
    "text",
    "limits",
    "mysql",
    "redact",
    "shards",
    "config",
    "pace",
    "session",
    "answers",
    "retries",
    "client",
    "columns",
    "columnar",
    "trail",
    "pages",
    "fence",
    "walk",
    "whole",
    "stream",
    "cursors",
    "reading",
    "lists",
    "message_jobs",
    "unit_jobs",
    "jobs",
    "entities",
    "tables",
    "models",
    "shapes",
    "arrow",
    "columnar_tables",
    "flatten",
    "images",
    "mask",
    "once",
    "settled",
    "extract",
    "destinations",
    "loaded",
    "resources",
    "source",
    "__init__",
    "check",
    "progress",
    "summary",
    "adoption",
    "target",
    "packages",
    "appends",
    "plain_files",
    "iceberg",
    "run",
    "stop",
    "export",
    "report",
    "showcase",
    "cli",
)
# The small Letta stands beside the line: the command line shows it, and tests use it.
DEMO = "demo"
MAY_SHOW_IT = {"showcase", "cli"}
HEAVY = {"dlt", "httpx", "pandas", "pyarrow", "pydantic"}
PACKAGE = Path(letta_source.__file__).parent


def _modules() -> dict[str, list[Path]]:
    """The files of each module; those of a package within the package are one."""
    modules: dict[str, list[Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        modules.setdefault(name, []).append(file)
    return modules


MODULES = _modules()


def _imported(code: str, package: tuple[str, ...]) -> Iterator[str]:
    """The dotted names that code in a package imports, wherever in it: in functions, for type checkers."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _used(module: str) -> set[str]:
    """The other modules of this package that a module imports."""
    used = set()
    for file in MODULES[module]:
        package = (PACKAGE.name, *file.relative_to(PACKAGE).parent.parts)
        for dotted in _imported(file.read_text(encoding="utf-8"), package):
            root, _, rest = dotted.partition(".")
            name = rest.partition(".")[0]
            if root == PACKAGE.name:
                used.add(name if name in MODULES else "__init__")
    return used - {module}


def test_imports_are_found_wherever_they_are() -> None:
    code = (
        "import a\nfrom b import c\nfrom . import d\nfrom ..e import f\n"
        "if TYPE_CHECKING:\n    import g.h\ndef i():\n    from .j import k\n"
    )
    assert set(_imported(code, ("p", "q"))) == {"a", "b.c", "p.q.d", "p.e.f", "g.h", "p.q.j.k"}


def test_every_module_has_its_place() -> None:
    missing = set(MODULES) - {*LINE, DEMO}
    assert not missing, f"no place in the line yet: {missing}; put each right of all that it imports"


@pytest.mark.parametrize("module", sorted(set(MODULES) & set(LINE)))
def test_modules_import_only_from_the_left(module: str) -> None:
    left = set(LINE[: LINE.index(module)])
    wrong = _used(module) - left - {DEMO}
    assert not wrong, (
        f"{module} imports {wrong}, not left of it in the line: so it could no longer be read, tested and "
        f"changed without them. Move what both need to the left."
    )


def test_the_demo_stands_alone() -> None:
    assert not _used(DEMO), "the small Letta must not repeat a misreading of the package: it shares nothing"
    users = {module for module in MODULES if DEMO in _used(module)}
    assert users <= MAY_SHOW_IT, "what loads data must not know the small Letta: only what shows it may"


@pytest.mark.parametrize("module", ["letta_source", "letta_source.cli.main"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY} & set(sys.modules)))"
    root = PACKAGE.parent
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=root, capture_output=True, text=True
    )
    assert answer.stdout.split() == [], (
        f"{module} takes a second to import with these: import them where used"
    )
