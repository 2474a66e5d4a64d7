"""An empty destination for each test; all share one server of PostgreSQL and one of MariaDB."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from letta_source.demo import Server, serve
from tests.support.cli_loads import Loads
from tests.support.expected_rows import Expected
from tests.support.hours import Story
from tests.support.library_loads import small_letta
from tests.support.mariadb import is_installed, mariadb
from tests.support.places import Place, chosen, make_place
from tests.support.postgres import create_database, postgres
from tests.support.two_machines import Machines

# Read before the tests drop all settings of the user.
_MYSQL = os.environ.get("DESTINATION__MYSQL__CREDENTIALS")


class Databases:
    """Empty databases, in servers that start with the first one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._postgres: str | None = None
        self._mysql = _MYSQL

    def __enter__(self) -> Databases:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def postgres(self) -> str:
        """Return the URL of an empty database."""
        if self._postgres is None:
            self._postgres = self._open.enter_context(postgres(self._folder))
        return create_database(self._postgres, f"test_{uuid4().hex}")

    def mysql(self) -> str:
        """Return the URL of a server, without a database."""
        if self._mysql is None:
            if not is_installed():
                pytest.skip("needs mariadbd, or DESTINATION__MYSQL__CREDENTIALS of a server")
            self._mysql = self._open.enter_context(mariadb(self._folder))
        return self._mysql


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    with Databases(tmp_path_factory.mktemp("databases")) as databases:
        yield databases


@pytest.fixture(params=chosen())
def place(request: pytest.FixtureRequest, tmp_path: Path, databases: Databases) -> Iterator[Place]:
    place = make_place(request.param, tmp_path, databases)
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
def resources() -> Sequence[str]:
    """Return the names of the resources to load; none means all, and some modules need fewer."""
    return ()


@pytest.fixture
def loads(place: Place, server: Server, story: Story, resources: Sequence[str]) -> Loads:
    return Loads(place, server, story, resources)


@pytest.fixture
def expected(place: Place, server: Server, story: Story, resources: Sequence[str]) -> Expected:
    return Expected(place, server, story, resources)


def _machines(kind: str, folder: Path, databases: Databases) -> Iterator[Machines]:
    if kind not in chosen():
        pytest.skip(f"ALL_DESTINATIONS leaves {kind} out")
    letta = small_letta(6)
    place = make_place(kind, folder, databases)
    with serve(letta) as server:
        machines = Machines(place, letta, server)
        yield machines
        machines.close()
    place.close()


@pytest.fixture
def machines(tmp_path: Path, databases: Databases) -> Iterator[Machines]:
    yield from _machines("postgres", tmp_path, databases)


@pytest.fixture
def of_mysql(tmp_path: Path, databases: Databases) -> Iterator[Machines]:
    yield from _machines("mysql", tmp_path, databases)
