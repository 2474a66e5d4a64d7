"""The pipeline of one load, with the maintenance that it needs besides dlt's own steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import dlt

from letta_source.api.memory_budget import give_back_memory
from letta_source.destinations.capabilities import Capabilities, capabilities_of
from letta_source.destinations.dlt_files import drop_unfinished
from letta_source.destinations.dlt_internals import is_kind, local_value
from letta_source.destinations.dlt_storage import damage_explained, make_tables_again
from letta_source.destinations.duckdb import (
    appendable,
    delete_unfinished,
    kept_for_large_rows,
    kept_open,
    lift_memory_limit,
    memory_limited,
)
from letta_source.destinations.existing_rows import erased_ids, has_rows
from letta_source.destinations.file_rewrite import rewrite_file
from letta_source.destinations.iceberg import add_columns, merge_in_one_commit
from letta_source.destinations.indexes import index_staging, index_tables
from letta_source.destinations.lease import Lease
from letta_source.destinations.mysql import quiet_merges
from letta_source.destinations.old_states import drop_old_states
from letta_source.destinations.tables import Drift, changed_by_hand, make_tables, mend_staging
from letta_source.loading import earlier_masks
from letta_source.loading.error_text import failure_logged
from letta_source.loading.recovery import drop_empty, forget_half_written, forget_loaded, mend_after_kill
from letta_source.loading.shard_state import adopt, forget_resources, is_superseded, stored_states
from letta_source.loading.target import Target
from letta_source.schema.resources import RESOURCES, all_tables
from letta_source.settings import Settings

logger = logging.getLogger(__name__)

# Resources that another working folder loaded, until this one has read them to their end: a load that was
# killed there may have merged some tables, and not others.
_TO_TAKE_OVER = "letta_source_to_take_over"
# Generation of the lease when this working folder last had it.
_GENERATION = "letta_source_lease_generation"
_NOT_REWRITTEN = "replaced values remain in the file's free space until the next run, which tries again"
# Rows. With fewer, returning the few MB would take a tenth of the load's time.
_MANY_ROWS = 5_000


class Workspace:
    """One target's pipeline, opened; tests pass one that touches no disk.

    Attributes:
        pipeline: dlt's.
        capabilities: what its destination can do.
        lease: the target's.
        load_ids: the loads finished so far.
    """

    pipeline: dlt.Pipeline
    capabilities: Capabilities
    lease: Lease | None = None

    def __init__(self, target: Target, settings: Settings) -> None:
        self._target, self._settings = target, settings
        self._shard = settings.shard
        self.lease = target.lease
        self.load_ids: list[str] = []
        self._gone = Drift()
        self._file, self._large_rows = ExitStack(), ExitStack()
        self._has_large_rows = self._is_unlimited = False
        try:
            self.open()
        except BaseException:
            self.close()
            raise

    def open(self) -> None:
        """Open the pipeline; clean up files and packages that a kill left unfinished or superseded."""
        self.pipeline = self._target.pipeline(self._file)
        if forget_half_written(self.pipeline):
            self.pipeline = self._target.pipeline(self._file)
        self._keep_open()
        self.capabilities = capabilities_of(self.pipeline, self._settings)
        mend_after_kill(self.pipeline)
        delete_unfinished(self.pipeline)
        self._find_other_shards()
        if why := self._why_not_finished():
            logger.info("discarding an unfinished earlier load, its rows will be read again: %s", why)
            # With its state: what nobody else has taken over is read again.
            earlier_masks.drop_unfinished_load(self.pipeline, self._settings)
            self.pipeline = self._target.pipeline(self._file)
            earlier_masks.set_rewrite_due(self.pipeline, self._settings.is_masked)
            self._find_other_shards()
        if self.lease:
            self.pipeline.set_local_state_val(_GENERATION, self.lease.generation)

    def _keep_open(self) -> None:
        self._file.enter_context(kept_open(self.pipeline))

    @contextmanager
    def file_closed(self) -> Iterator[None]:
        """Let others open the DuckDB file while the block runs; otherwise it is kept open until `close`."""
        self._file.close()
        yield
        self._keep_open()

    def _why_not_finished(self) -> str | None:
        if not self.pipeline.has_pending_data:
            return None
        if is_superseded(self.pipeline, self._shard, self._others) or self._was_leased_to_others():
            return "other loads have continued since"
        if earlier_masks.was_masked_otherwise(self.pipeline, self._settings):
            return "it had other masks"
        return None

    def _was_leased_to_others(self) -> bool:
        """Return True if another working folder may have loaded since this one last had the lease."""
        before = self.lease.generation - 1 if self.lease else 0
        # Versions without leases stored no generation.
        return before > 0 and local_value(self.pipeline, _GENERATION) != before

    def assert_leased(self) -> None:
        """Check that no other load has taken the lease.

        Raises:
            LeaseLost: one has.
        """
        if self.lease:
            self.lease.check_often()

    def _find_other_shards(self) -> None:
        self._others, self._seen = stored_states(self.pipeline, self._target.pipeline_name, self._shard)

    def look_at_tables(self, resources: Collection[str]) -> None:
        """Compare the tables with the stored schema; missing ones will be created and read again.

        Raises:
            ConfigError: somebody changed a column of these resources, or the table format; says what to do.
        """
        self._gone = gone = changed_by_hand(self.pipeline, resources)
        gone.assert_format(self.capabilities.hints.get("table_format"))
        dataset = self.pipeline.dataset_name
        gone.assert_mendable(dataset, self._settings.refresh, self.capabilities.writes == "append")
        if gone:
            resources = gone.resources()
            again = f" and reading {', '.join(sorted(resources))} from the start" if resources else ""
            logger.warning("%s: %s, though it was loaded: creating it again%s", dataset, gone, again)

    def finish_pending(self) -> None:
        """Load what an earlier load left in the working folder."""
        if self.pipeline.has_pending_data:
            logger.info("an earlier load was left unfinished: finishing it first")
            # Not by `run`: it would drop the package of a first load, as the dataset does not exist yet.
            self.pipeline.normalize()
            self._prepare()
            self._load()

    def take_over(self) -> None:
        """Continue from the destination's state, and from where other shards ended."""
        if self.capabilities.writes == "append":
            # Reading all of it again would double the rows.
            self.pipeline.config.restore_from_destination = True
        if self.pipeline.config.restore_from_destination:
            with damage_explained(self.pipeline):
                self.pipeline.sync_destination()
        adopt(self.pipeline, self._shard, self._others, self._seen)
        # If a load is killed while it reads these again, no cursor that skips them may remain.
        forget_resources(self.pipeline, self._gone.resources())

    def to_take_over(self) -> list[str]:
        """Return the resources that another working folder loaded and this one has not read to their end."""
        known: list[str] | None = local_value(self.pipeline, _TO_TAKE_OVER)
        if known is None:
            if self.capabilities.writes == "append" and self._shard.is_whole:
                drop_unfinished(self.pipeline)
            # Rows may be there without a state.
            loaded = self.pipeline.state.get("sources") or has_rows(self.pipeline, all_tables())
            known = list(RESOURCES) if loaded else []
            self.set_to_take_over(known)
        return known

    def set_to_take_over(self, resources: list[str]) -> None:
        """Store those resources in the local state."""
        self.pipeline.set_local_state_val(_TO_TAKE_OVER, resources)

    def erased(self) -> frozenset[str]:
        """Return the ids that `letta-source erase` removed."""
        return erased_ids(self.pipeline)

    def keep_masking(self) -> None:
        """Record these masks for the packages of this load."""
        earlier_masks.keep_masking(self.pipeline, self._settings)

    def appendable(self, resources: Iterable[str]) -> set[str]:
        """Return the resources whose rows can be appended to empty tables."""
        return appendable(self.pipeline, resources)

    def load_package(self, appends: bool, rows: int, has_large_rows: bool = False) -> None:
        """Normalize and load the extracted package.

        Args:
            appends: rows are appended to empty tables.
            rows: how many were extracted.
            has_large_rows: the destination takes much memory for a few thousand of them.
        """
        # Even without rows, dlt's steps would look settings up.
        if not (self.pipeline.has_pending_data or self._gone):
            return
        self.pipeline.normalize()
        if rows >= _MANY_ROWS or has_large_rows:
            give_back_memory()
        self._prepare()
        if has_large_rows and not self._has_large_rows and is_kind("duckdb", self.pipeline):
            self._has_large_rows = True
            self._large_rows.enter_context(kept_for_large_rows(self.pipeline, self._most))
        most = self._most if self._has_large_rows else None
        is_limited = (appends or most is not None) and not self._is_unlimited
        try:
            with memory_limited(self.pipeline, most) if is_limited else nullcontext():
                self._load(one_by_one=self._has_large_rows)
        except Exception:
            if not (is_limited and self.pipeline.has_pending_data):
                raise
            # Messages of many MB need more memory than that.
            self._is_unlimited = True
            lift_memory_limit(self.pipeline)
            delete_unfinished(self.pipeline)
            give_back_memory()
            self._load(one_by_one=True)
        forget_loaded(self.pipeline)
        # Another shard would create them at the same moment.
        if not self._shard.index:
            self._index(index_tables)

    def drop_old_states(self) -> None:
        """Drop old states of this pipeline if a load was finished."""
        if self.load_ids:
            with failure_logged("old rows of _dlt_pipeline_state could not be dropped"):
                drop_old_states(self.pipeline, self._settings.keep_states)

    def rewrite_file(self) -> None:
        """Rewrite a local database if values that masks hide may be in its free blocks."""
        if earlier_masks.is_rewrite_due(self.pipeline):
            self._large_rows.close()
            with self.file_closed(), failure_logged(_NOT_REWRITTEN):
                rewrite_file(self.pipeline)
                earlier_masks.set_rewrite_due(self.pipeline, False)

    def close(self) -> None:
        """Close the DuckDB file, if it was kept open."""
        self._large_rows.close()
        self._file.close()

    @property
    def _most(self) -> int:
        """Bytes that the destination may take for large rows."""
        return self._settings.memory_limit * 3 // 4

    def _prepare(self) -> None:
        """Prepare tables and packages where dlt's own load would fail."""
        mend_staging(self.pipeline)
        if self._gone:
            make_tables_again(self.pipeline, None)
            self._gone = Drift()
        if not self.capabilities.takes_empty:
            drop_empty(self.pipeline)
        if self.capabilities.hints.get("table_format") == "iceberg":
            add_columns(self.pipeline)
            merge_in_one_commit()
        if not (self.capabilities.takes_empty and self._shard.is_whole):
            make_tables(self.pipeline, self._shard)
        self._index(index_staging)

    def _index(self, create: Callable[[dlt.Pipeline], None]) -> None:
        with failure_logged("an index could not be created, so that loads take longer"):
            if self._settings.indexes:
                create(self.pipeline)

    def _load(self, one_by_one: bool = False) -> None:
        self.assert_leased()
        try:
            with quiet_merges():
                loaded = self.pipeline.load(workers=1) if one_by_one else self.pipeline.load()
            self.load_ids += loaded.loads_ids
        except Exception as error:
            # The database's error would only say that some statement failed.
            if self.lease and (lost := self.lease.loss()):
                raise lost from error
            raise
