"""The fence on MariaDB: a transaction keeps the lease until it ends; a machine that lost it cannot write."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import dlt
import pytest
from dlt.common.destination.exceptions import DestinationException
from dlt.common.schema import Schema
from sqlalchemy import event

from letta_source.destinations import lease as leases
from letta_source.destinations.dlt_guard import guard
from letta_source.destinations.lease import Lease
from letta_source.destinations.lease_holder import Holder
from tests.destinations.conftest import Databases
from tests.support.places import chosen

pytestmark = [
    pytest.mark.destinations,
    pytest.mark.skipif("mysql" not in chosen(), reason="ALL_DESTINATIONS leaves MySQL out"),
]


def client_of(url: str, lease: Lease | None = None, dataset: str = "fenced") -> Any:
    destination: Any = dlt.destinations.sqlalchemy(url)
    if lease:
        guard(destination, lease.session, lease.check_often, lease.fence(), lease.names_of_session())
    return destination.client(Schema("letta"), destination.spec()._bind_dataset_name(dataset_name=dataset))


def test_a_transaction_keeps_the_lease_and_a_former_holder_gets_none(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.mysql()
    monkeypatch.setattr(leases, "_LONGEST_WAIT", 1)
    crane, heron = (
        Lease(client_of(url).sql_client, "letta", Holder(name, name, 1)) for name in ("crane", "heron")
    )
    crane.make_table()
    crane.take()
    writer = client_of(url, crane)
    # The session is terminated in the middle of the block.
    with suppress(DestinationException), writer, writer.sql_client.begin_transaction():
        crane.check()
        with monkeypatch.context() as patch:
            patch.setattr(leases, "end_sessions", lambda client, session: None)
            with pytest.raises(DestinationException, match="Lock wait timeout"):
                heron.take(steal=True)
        heron.take(steal=True)
        with pytest.raises(DestinationException, match="Lost connection"):
            writer.sql_client.execute_sql("SELECT 1")
    assert may_write(url, heron)
    with pytest.raises(DestinationException, match="out of range"):
        may_write(url, crane)


def test_a_session_has_its_name_before_it_holds_the_lease(databases: Databases) -> None:
    """Else the session of a machine that stands still in between could not be terminated."""
    url = databases.mysql()
    # A dataset of its own, because all tests share one server.
    lease = Lease(client_of(url, dataset="named").sql_client, "letta", Holder("crane", "crane", 1))
    lease.make_table()
    lease.take()
    writer, statements = client_of(url, lease, "named"), []

    @event.listens_for(writer.sql_client.engine, "before_cursor_execute")
    def listen(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        statements.append(statement)

    with writer:
        writer.sql_client.execute_sql("SELECT 42")
    assert [word for one in statements for word in ("get_lock", "SHARE MODE", "42") if word in one] == [
        "get_lock",
        "SHARE MODE",
        "42",
    ]


def may_write(url: str, lease: Lease) -> bool:
    """Begin a transaction with the lease's fence."""
    client = client_of(url)
    with client, client.sql_client.begin_transaction():
        for statement in lease.fence():
            client.sql_client.execute_sql(statement)
    return True
