"""A lease in a database: only one machine at a time loads a given pipeline into a dataset.

A row of the table `_letta_lease` says who holds a pipeline and until when, by the database's clock. The
holder renews it in the background; once it has expired, others take it. A holder that lost it cannot merge
any more: each transaction that writes reads the row first, and locks it against takeover until its end.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dlt.common.destination.exceptions import DestinationException

from letta_source.destinations.dlt_internals import DatabaseException
from letta_source.destinations.lease_holder import Holder, shown_time
from letta_source.destinations.lease_sql import (
    LONGEST_NAME,
    end_sessions,
    fence_of,
    lease_table,
    make_lease_table,
    names_of_session,
    now_of,
    wait_at_most,
)
from letta_source.errors import ConfigError, ExitCode, LettaError

logger = logging.getLogger(__name__)

SECONDS = 300.0
"""Duration of a lease that is not renewed."""
_RENEWALS = 10
# Seconds between two checks of who holds it.
_POLL = 2.0
# Seconds for which a check remains valid.
_FRESH = 1.0
# Seconds to wait for a holder that is in the middle of a transaction.
_LONGEST_WAIT = 10


class LeaseLost(LettaError):
    """Another process took the lease over; nothing more may be written."""

    exit_code = ExitCode.FAILED


class Lease:
    """The lease of one pipeline.

    Args:
        client: a SQL client of the dataset that nothing else uses; each use opens a connection.
        pipeline: its name; each shard has its own.

    Attributes:
        session: the name for database sessions that write.
        generation: how often the lease was taken, including this time; 0 before that.
    """

    def __init__(
        self,
        client: Any,
        pipeline: str,
        me: Holder | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.me = me or Holder.me()
        self.session = self.me.session
        self.generation = 0
        self._sleep = sleep
        self._client = client
        self._pipeline = pipeline
        self._key = pipeline
        if len(pipeline) > LONGEST_NAME:
            self._key = hashlib.sha256(pipeline.encode()).hexdigest()
        self._one_at_a_time = threading.Lock()
        self._checked = 0.0
        self._is_released = False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease, which must be held, in the background while the block runs, then release it."""
        stop = threading.Event()
        # A daemon: a stuck load must not keep the process from ending.
        renewing = threading.Thread(target=self._keep, args=(stop,), name="letta_source.lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            stop.set()
            renewing.join(_LONGEST_WAIT)
            try:
                self.release()
            except DestinationException as error:
                logger.warning(
                    "the lease of %s could not be released, and expires in %.0f s: %s",
                    self._pipeline, SECONDS, type(error.__cause__ or error).__name__,
                )  # fmt: skip

    def make_table(self) -> None:
        """Create the dataset and the table if they are missing.

        Raises:
            DatabaseException: they cannot be created.
        """
        with self._opened() as client:
            make_lease_table(client)

    def take(self, steal: bool = False) -> None:
        """Take the lease if nobody holds it, or if its holder is dead or does not renew it.

        Waits until it is released or expires, but not for a holder that renews it meanwhile: that is alive.

        Args:
            steal: take it whoever holds it.

        Raises:
            ConfigError: another process holds it; says which.
            DestinationUndefinedEntity: there is no table.
        """
        seen: Holder | None = None
        while (held := self._try_to_take(steal)).id != self.me.id:
            if seen is None:
                logger.info(
                    "%s is being loaded by %s: waiting until that ends or its lease expires, at %s",
                    self._pipeline, held, shown_time(held.until),
                )  # fmt: skip
                seen = held
            if (held.id, held.until) != (seen.id, seen.until):
                raise ConfigError(
                    f"the pipeline {self._pipeline} is being loaded into this dataset by {held}; its lease"
                    f" ends at {shown_time(held.until)} unless it is renewed: wait for it, or end it and use"
                    " --steal-lock"
                )
            self._sleep(min(_POLL, SECONDS / _RENEWALS))
        self.generation, self._checked, self._is_released = held.generation, time.time(), False

    def _try_to_take(self, steal: bool) -> Holder:
        """Try once; return who holds the lease then."""
        with self._opened() as client:
            # Read before any statement that would wait for a holder that hangs in a transaction.
            held = self._read(client) or self._first(client)
            if held.until == 0:
                self._move(client, "until = 0")
                held = self._read(client) or held
            if held.id == self.me.id:
                return held
            if steal or held.is_dead():
                return self._take_over(client, held, "1 = 1")
            if held.until <= held.now:
                return self._take_over(client, held, f"until <= {now_of(client)}")
            return held

    def _first(self, client: Any) -> Holder:
        now = now_of(client)
        try:
            client.execute_sql(
                f"INSERT INTO {lease_table(client)}"
                " (pipeline, holder, machine, pid, since, until, generation)"
                f" VALUES (%s, %s, %s, %s, {now}, {now} + {SECONDS}, 1)",
                self._key, self.me.id, self.me.machine, self.me.pid,
            )  # fmt: skip
        except DatabaseException:
            # Another process was faster.
            if self._read(client) is None:
                raise
        found = self._read(client)
        assert found is not None
        return found

    def _take_over(self, client: Any, held: Holder, condition: str) -> Holder:
        """Take the lease from this holder, unless the condition is false by now or another took it."""
        logger.info("%s: takes the lease over from %s", self._pipeline, held)
        end_sessions(client, held.session)
        with client.begin_transaction():
            wait_at_most(client, _LONGEST_WAIT)
            self._move(client, f"holder = %s AND {condition}", held.id)
        found = self._read(client)
        assert found is not None
        return found

    def _move(self, client: Any, condition: str, *values: Any) -> None:
        now = now_of(client)
        client.execute_sql(
            f"UPDATE {lease_table(client)} SET holder = %s, machine = %s, pid = %s, since = {now},"
            f" until = {now} + {SECONDS}, generation = generation + 1 WHERE pipeline = %s AND {condition}",
            self.me.id, self.me.machine, self.me.pid, self._key, *values,
        )  # fmt: skip

    def check(self, fresh: float = 0.0) -> None:
        """Renew the lease, unless that was done within `fresh` seconds, or it was released.

        Whoever reads by the load's pipeline afterwards neither needs it nor keeps others from taking it.

        Raises:
            LeaseLost: another process has taken it since.
            DestinationException: the database is unreachable.
        """
        # Not time.monotonic, which stops while the machine sleeps.
        if self._is_released or 0 <= time.time() - self._checked < fresh:
            return
        began = time.time()
        with self._opened() as client:
            client.execute_sql(
                f"UPDATE {lease_table(client)} SET until = {now_of(client)} + {SECONDS}"
                " WHERE pipeline = %s AND holder = %s",
                self._key, self.me.id,
            )  # fmt: skip
            now = self._read(client)
        if now is None or now.id != self.me.id:
            raise LeaseLost(
                f"the pipeline {self._pipeline} was taken over by {now or 'another run'} because this run"
                " stopped responding: it writes nothing more, and the next run reads again what is not loaded"
            )
        self._checked = began

    def check_often(self) -> None:
        """Check, unless that was done within the last second."""
        self.check(_FRESH)

    def loss(self) -> LeaseLost | None:
        """Return the error if the lease is lost; None if it is held, or cannot be checked."""
        try:
            self.check()
        except LeaseLost as lost:
            return lost
        except DestinationException as error:
            logger.debug("the lease of %s could not be checked: %r", self._pipeline, error)
        return None

    def release(self) -> None:
        """Release the lease, so that others can take it."""
        with self._opened() as client:
            client.execute_sql(
                f"UPDATE {lease_table(client)} SET until = 0 WHERE pipeline = %s AND holder = %s",
                self._key, self.me.id,
            )  # fmt: skip
        self._is_released = True

    def fence(self) -> Sequence[str]:
        """Return statements that fail unless the lease is held, and lock it until their transaction ends."""
        return fence_of(self._client, self.me.id, SECONDS)

    def names_of_session(self) -> Sequence[str]:
        """Return statements that name a new session after `session`, where its URL cannot."""
        return names_of_session(self._client, self.session)

    def hold(self, client: Any) -> None:
        """Keep others from taking the lease until the transaction of this client ends.

        Raises:
            LeaseLost: another process has taken it.
            DestinationException: the same, a moment later, or the database is unreachable.
        """
        self.check()
        for statement in self.fence():
            client.execute_sql(statement)

    def _keep(self, stop: threading.Event) -> None:
        """Renew the lease periodically, until told to stop or it is lost."""
        while not stop.wait(SECONDS / _RENEWALS):
            try:
                self.check()
            except LeaseLost as lost:
                logger.warning("%s", lost)
                return
            except DestinationException as error:
                # The lease lasts for a while yet, and the next write checks it.
                logger.debug("the lease of %s could not be renewed: %r", self._pipeline, error)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with self._one_at_a_time, self._client as client:
            # This session may hang too, in the middle of a renewal.
            for statement in self.names_of_session():
                client.execute_sql(statement)
            yield client

    def _read(self, client: Any) -> Holder | None:
        rows = client.execute_sql(
            f"SELECT holder, machine, pid, since, until, generation, {now_of(client)}"
            f" FROM {lease_table(client)} WHERE pipeline = %s",
            self._key,
        )
        if not rows:
            return None
        holder, machine, pid, since, until, generation, now = rows[0]
        return Holder(holder, machine, int(pid), float(since), float(until), int(generation), float(now))
