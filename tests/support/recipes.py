"""The SQL of `docs/recipes.md`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "recipes.md").read_text("utf-8")


AFTERWARDS = "-- DuckDB alone, after the transaction"


def afterwards(title: str) -> list[str]:
    """Return the statements of a section that DuckDB runs after the transaction."""
    section = PAGE.partition(f"### {title}\n")[2]
    code = section.partition(AFTERWARDS)[2].partition("```")[0].partition("\nCREATE")
    return [statement.strip() for statement in f"CREATE{code[2]}".split(";") if statement.strip()]


@dataclass(frozen=True)
class Recipe:
    """A code block.

    Attributes:
        title: the title of its section.
        engine: the database it is for; empty for any.
    """

    title: str
    engine: str
    sql: str

    def __str__(self) -> str:
        return f"{self.title} {self.engine}".strip()


def recipes(engine: str) -> list[Recipe]:
    """Return those that this database runs."""
    return [recipe for recipe in _all("sql") if recipe.engine in ("", engine)]


def recipe(title: str, at: int = 0, language: str = "sql") -> str:
    """Return the code of one section."""
    return [recipe.sql for recipe in _all(language) if recipe.title == title][at]


def _all(language: str) -> list[Recipe]:
    found = []
    for section in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        for engine, sql in re.findall(
            rf"^```{language} ?(\w*)\n(.+?)^```", section, re.MULTILINE | re.DOTALL
        ):
            # Statements that cannot run in a transaction have a test of their own.
            found.append(Recipe(title, engine, sql.partition(AFTERWARDS)[0]))
    return found
