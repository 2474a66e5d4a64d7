"""Every public definition says what it is, in a sentence that opens with a verb or names the thing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "letta_source"
FILES = sorted(PACKAGE.rglob("*.py"))
# A docstring that starts with one of these words is a fragment.
FRAGMENTS = (
    "Of", "What", "Whether", "As", "Where", "Who", "With", "That", "Those", "By", "How", "When", "Which",
    "The same", "For", "If", "To", "In", "And", "It", "Also", "Such",
)  # fmt: skip
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(tree: ast.Module) -> Iterator[tuple[Definition, bool]]:
    """Yield the definitions of a module and of its classes, with True for public ones."""
    for node in tree.body:
        if isinstance(node, Definition):
            yield node, not node.name.startswith("_")
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, Definition):
                    is_public = not (node.name.startswith("_") or inner.name.startswith("_"))
                    yield inner, is_public and not (node.bases and inner.name in documented())


@cache
def documented() -> set[str]:
    """Return the names of methods that some class documents, so that overrides need no docstring."""
    return {
        inner.name
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
        for inner in node.body
        if isinstance(inner, Definition) and ast.get_docstring(inner)
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_docstrings(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"))
    assert ast.get_docstring(tree), "the module says nothing of itself"
    wrong = []
    for node, is_public in definitions(tree):
        text = ast.get_docstring(node)
        if text is None:
            if is_public:
                wrong.append(f"{node.lineno} {node.name}: has no docstring")
        elif text.startswith(tuple(f"{word} " for word in FRAGMENTS)):
            wrong.append(f"{node.lineno} {node.name}: {text.splitlines()[0]}")
    assert wrong == []
