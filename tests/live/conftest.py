"""The running, seeded server that every live test reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.support.letta_server import LettaServer, letta_server
from tests.support.seed import Seeded, more, seed
from tests.support.truth import Truth, read_truth


@dataclass(frozen=True)
class Letta:
    """A server filled by `seed`, its ids by name, and a client of its API."""

    server: LettaServer
    client: httpx.Client
    ids: Seeded

    def truth(self) -> Truth:
        """Return the server's current content."""
        return read_truth(self.server.database_url)

    def more(self) -> None:
        """Change the server's content in every way that a load must notice; works once."""
        more(self.server, self.client, self.ids)


@pytest.fixture(scope="session")
def letta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Letta]:
    with (
        letta_server(tmp_path_factory.mktemp("letta")) as server,
        httpx.Client(base_url=server.base_url) as client,
    ):
        yield Letta(server, client, seed(server, client))
