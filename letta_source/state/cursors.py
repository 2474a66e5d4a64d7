"""Cursors: how far each parent was read. Independent of HTTP; the state is a plain dict that dlt keeps.

Rows come in the server's sequence, not by date, and rows committed late can appear among those already read.
So a cursor stops before anything within the overlap (`lag`), the next load reads on from there, and the
merge removes the repeats.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from letta_source.times import Overlap, created_at, newest_of, parse_time

logger = logging.getLogger(__name__)

Cursor = tuple[str | None, str | None]


Between = tuple[str, str]
"""A gap: the ids of the items before and after it; the first is empty at the start of the list."""


class RereadMarks:
    """The point from which a sweep reads each parent again: edits move no date, so only rereading finds them.

    `state["reread"]`, parent id -> [created_at, id], keeps the newest item before the window.
    Kept for parents with items in the window; both are null if all of a parent's items are in it.

    Args:
        state: the state of the dlt resource.
        window_start: a sweep reads items created since then again.
    """

    def __init__(self, state: MutableMapping[str, Any], window_start: datetime) -> None:
        self._window_start = window_start
        self._marks: dict[str, Cursor] = {}
        self._in_window: set[str] = set()
        self.bind(state)

    def bind(self, state: MutableMapping[str, Any]) -> None:
        """Continue with the state dict of the next load package."""
        self._state = state

    def get(self, parent_id: str) -> Cursor | None:
        """Return [created_at, id] to read again from; None if the parent has no items in the window."""
        stored = self._state.get("reread", {}).get(parent_id)
        return (stored[0], stored[1]) if stored else None

    def observe(
        self, parent_id: str, items: Sequence[Mapping[str, Any]], cursor: Cursor | None, are_old: bool
    ) -> None:
        """Note items that the parent's cursor passes.

        Args:
            cursor: the cursor before these items.
            are_old: all items are known to be older than the window.
        """
        self._marks.setdefault(parent_id, self.get(parent_id) or cursor or (None, None))
        if parent_id in self._in_window:
            return
        for item in items[-1:] if are_old else items:
            time = created_at(item)
            if time is not None and time >= self._window_start:
                self._in_window.add(parent_id)
                return
            self._marks[parent_id] = (time.isoformat() if time else None, item["id"])

    def restart(self, parent_id: str) -> None:
        """Start a parent again."""
        self._marks[parent_id] = (None, None)
        self._in_window.discard(parent_id)

    def commit(self, parent_id: str, cursor: Cursor | None) -> None:
        """Store the parent's mark if its items reach into the window; drop it otherwise."""
        date = cursor[0] if cursor else None
        is_recent = date is not None and parse_time(date) >= self._window_start
        if cursor and (is_recent or parent_id in self._in_window):
            self._state.setdefault("reread", {})[parent_id] = list(self._marks[parent_id])
        elif "reread" in self._state:
            self._state["reread"].pop(parent_id, None)


class Cursors:
    """Cursors in `state["cursors"]`: parent id -> [created_at, id] of the newest item before the overlap.

    A cursor passes unreadable parts. `state["gaps"]`, parent id -> [[after id, before id], ...], keeps these,
    so that later loads retry them without reading everything after them.

    Observed items take effect with `commit`, to be called once the rows were handed over.

    Args:
        state: the state of the dlt resource.
        overlap: the overlap with the last load; a cursor stops before the first item within it.
        frozen: cursors are neither read nor moved, for a window of time.
        ignored: cursors are not read, for reading everything again.
        window: how far back a sweep reads again.
        sweeps: this load is a sweep.
    """

    def __init__(
        self,
        state: MutableMapping[str, Any],
        overlap: Overlap,
        frozen: bool = False,
        ignored: bool = False,
        window: timedelta = timedelta(0),
        sweeps: bool = False,
    ) -> None:
        self._window_start = overlap.before_start(window)
        self._sweeps = sweeps
        self._frozen = frozen
        self._overlap = overlap
        self._ignored = ignored or frozen
        self._pending: dict[str, Cursor | None] = {}
        self._moved: set[str] = set()
        self._stopped: set[str] = set()
        self._gaps: dict[str, list[Between]] = {}
        self._ahead: dict[str, Between] = {}
        self._marks = RereadMarks({}, self._window_start)
        self.bind(state)

    def bind(self, state: MutableMapping[str, Any]) -> None:
        """Continue with the state dict of the next load package."""
        self._state = {} if self._frozen else state
        self._stored: MutableMapping[str, Any] = self._state.setdefault("cursors", {})
        self._marks.bind(self._state)

    def get(self, parent_id: str) -> Cursor | None:
        """Return [created_at, id] to read on from; None for a parent that was never read."""
        mark = self._marks.get(parent_id) if self._sweeps else None
        return mark if mark and not self._ignored else self._reached(parent_id)

    def _reached(self, parent_id: str) -> Cursor | None:
        stored = None if self._ignored else self._stored.get(parent_id)
        return (stored[0], stored[1]) if stored else None

    def gaps(self, parent_id: str) -> tuple[Between, ...]:
        """Return the gaps that the parent's cursor passed."""
        if parent_id not in self._gaps:
            stored = () if self._ignored else self._state.get("gaps", {}).get(parent_id, ())
            self._gaps[parent_id] = [(after_id, before_id) for after_id, before_id in stored]
        return tuple(self._gaps[parent_id])

    def observe(self, parent_id: str, items: Sequence[Mapping[str, Any]]) -> int:
        """Note items that were read, in order; return how many of them the cursor passes."""
        if parent_id in self._stopped:
            return 0
        # Mostly no item is within the overlap; then only the last one matters.
        newest = self._newest(items)
        all_old = newest is not None and newest < self._overlap.start
        passed = len(items) - 1 if all_old else 0
        cursor = self._pending.get(parent_id) or self.get(parent_id) or (None, None)
        last: tuple[datetime | None, str] | None = None
        start, end = self._overlap.start, self._overlap.end
        for item in items[passed:]:
            time = created_at(item)
            if time is not None and time > end:
                # Until that time, the cursor could pass no item after it.
                logger.warning("%s has a date in the future (%s): treated as undated", item["id"], time)
                time = None
            if time is not None and time >= start:
                self._stopped.add(parent_id)
                # A gap before it is not kept: the next load reads on from before it, and meets it again.
                break
            gap = self._ahead.pop(parent_id, None)
            # A sweep meets known gaps again.
            if gap and gap not in self.gaps(parent_id):
                self._gaps[parent_id] = [*self.gaps(parent_id), gap]
            last = time, item["id"]
            passed += 1
        if last:
            cursor = (last[0].isoformat() if last[0] else None, last[1])
        self._put(parent_id, cursor)
        before_window = newest is not None and newest < self._window_start
        self._marks.observe(parent_id, items[:passed], self._reached(parent_id), before_window)
        return passed

    def _newest(self, items: Sequence[Mapping[str, Any]]) -> datetime | None:
        """Return the newest date of a page; None if there is none, or each item has to be looked at."""
        try:
            return newest_of([item.get("date") or item.get("created_at") for item in items])
        except ValueError:
            return None

    def meet_gap(self, parent_id: str, gap: Between) -> None:
        """Note an unreadable part; the cursor passes it with the next item, if there is one."""
        if gap[1] and parent_id not in self._stopped:
            self._ahead[parent_id] = gap

    def replace_gap(self, parent_id: str, gap: Between, left: Between | None) -> None:
        """Replace a gap that was retried by what is left of it."""
        self._gaps[parent_id] = [
            new for old in self.gaps(parent_id) if (new := left if old == gap else old) is not None
        ]
        self.observe(parent_id, ())

    def stop(self, parent_id: str) -> None:
        """Keep the cursor where it is, as the items after it were not all read."""
        self.observe(parent_id, ())
        self._stopped.add(parent_id)

    def restart(self, parent_id: str) -> None:
        """Start the parent again, as the item under its cursor is gone."""
        self._put(parent_id, (None, None))
        self._marks.restart(parent_id)
        self._gaps[parent_id] = []
        self._ahead.pop(parent_id, None)
        self._stopped.discard(parent_id)

    def forget(self, parent_id: str) -> None:
        """Drop the cursor of a parent that is gone."""
        self._put(parent_id, None)

    def __contains__(self, parent_id: str) -> bool:
        return parent_id in self._stored

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def open(self) -> set[str]:
        """Parents to read again: with items in the overlap, with gaps, or not read to their end."""
        return self._stopped | set(self._state.get("gaps", ()))

    def keep_only(self, parent_ids: Collection[str]) -> None:
        """Forget all other parents, which the server no longer has."""
        for parent_id in [one for one in self._stored if one not in parent_ids]:
            self.forget(parent_id)

    def _put(self, parent_id: str, cursor: Cursor | None) -> None:
        self._pending[parent_id] = cursor
        self._moved.add(parent_id)

    def commit(self) -> None:
        """Store the cursors as observed."""
        for parent_id in self._moved:
            cursor = self._pending[parent_id]
            self._marks.commit(parent_id, cursor)
            if cursor is None:
                self._stored.pop(parent_id, None)
            else:
                self._stored[parent_id] = list(cursor)
            if cursor and (gaps := self.gaps(parent_id)):
                self._state.setdefault("gaps", {})[parent_id] = [list(gap) for gap in gaps]
            elif "gaps" in self._state:
                self._state["gaps"].pop(parent_id, None)
        self._moved.clear()
