"""A destination for each test, empty and its own; PostgreSQL is one server for all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from letta_source.demo import Server, serve
from tests.support.cli_loads import Loads
from tests.support.expected_rows import Expected
from tests.support.hours import Story
from tests.support.places import Place, chosen, make_place
from tests.support.postgres import create_database, postgres


class Databases:
    """Empty ones, in a PostgreSQL that starts with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._url: str | None = None

    def __enter__(self) -> Databases:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def make(self) -> str:
        """Returns its URL."""
        if self._url is None:
            self._url = self._open.enter_context(postgres(self._folder))
        return create_database(self._url, f"test_{uuid4().hex}")


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with Databases(tmp_path_factory.mktemp("postgres")) as databases:
        yield databases


@pytest.fixture(params=chosen())
def place(request: pytest.FixtureRequest, tmp_path: Path, databases: Databases) -> Iterator[Place]:
    place = make_place(request.param, tmp_path, databases.make)
    yield place
    place.close()


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def server(story: Story) -> Iterator[Server]:
    with serve(story.letta) as server:
        yield server


@pytest.fixture
def loads(place: Place, server: Server, story: Story) -> Loads:
    return Loads(place, server, story)


@pytest.fixture
def expected(place: Place, server: Server, story: Story) -> Expected:
    return Expected(place, server, story)
