"""How far each parent was read. Knows no HTTP; the state is a plain dict that dlt keeps.

Rows come in the server's sequence, not by date, and rows committed late can take a place among those that
were read. So a cursor stays behind everything younger than the overlap (`lag`), and the next run reads
from there; the merge takes the repeats out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import Any

from letta_source.state.overlap import Overlap
from letta_source.times import created_at, newest_of

logger = logging.getLogger(__name__)

Cursor = tuple[str | None, str | None]


Between = tuple[str, str]
"""A gap: the ids of the items before it and after it, the former empty at the start of the list."""


class Cursors:
    """Cursors by parent, in `state["cursors"]`: parent id -> [created_at, id] of the newest settled item.

    A cursor passes what could not be read; `state["gaps"]`, parent id -> [[after id, before id], ...], keeps
    it, so that each load tries it again without reading all that follows.

    What was observed is kept aside until `commit`, to be called once the rows were handed over.

    Args:
        state: of the dlt resource.
        overlap: with the last load; a cursor stops before the first item within it.
        frozen: neither read nor moved, for a window of time.
        ignored: not read, for reading everything again.
    """

    def __init__(
        self,
        state: MutableMapping[str, Any],
        overlap: Overlap,
        frozen: bool = False,
        ignored: bool = False,
    ) -> None:
        self._frozen = frozen
        self._overlap = overlap
        self._ignored = ignored or frozen
        self._pending: dict[str, Cursor | None] = {}
        self._moved: set[str] = set()
        self._stopped: set[str] = set()
        self._gaps: dict[str, list[Between]] = {}
        self._ahead: dict[str, Between] = {}
        self.bind(state)

    def bind(self, state: MutableMapping[str, Any]) -> None:
        """Goes on in the state of the next load package."""
        self._state = {} if self._frozen else state
        self._stored: MutableMapping[str, Any] = self._state.setdefault("cursors", {})

    def get(self, parent_id: str) -> Cursor | None:
        """[created_at, id] to read on from; None for a parent that was never read."""
        stored = None if self._ignored else self._stored.get(parent_id)
        return (stored[0], stored[1]) if stored else None

    def gaps(self, parent_id: str) -> tuple[Between, ...]:
        """Gaps that the cursor passed, by parent."""
        if parent_id not in self._gaps:
            stored = () if self._ignored else self._state.get("gaps", {}).get(parent_id, ())
            self._gaps[parent_id] = [(after_id, before_id) for after_id, before_id in stored]
        return tuple(self._gaps[parent_id])

    def observe(self, parent_id: str, items: Sequence[Mapping[str, Any]]) -> int:
        """Notes items that were read, in order; returns how many of them the cursor passes."""
        if parent_id in self._stopped:
            return 0
        # Mostly none is young: then only the last one counts.
        passed = len(items) - 1 if len(items) > 1 and self._are_old(items) else 0
        cursor = self._pending.get(parent_id) or self.get(parent_id) or (None, None)
        last: tuple[datetime | None, str] | None = None
        start, end = self._overlap.start, self._overlap.end
        for item in items[passed:]:
            time = created_at(item)
            if time is not None and time > end:
                # Until then nothing after it would be taken for old.
                logger.warning("%s is dated %s, which is yet to come: taken as undated", item["id"], time)
                time = None
            if time is not None and time >= start:
                self._stopped.add(parent_id)
                # The next load reads on from before the gap and meets it again.
                self._ahead.pop(parent_id, None)
                break
            if gap := self._ahead.pop(parent_id, None):
                self._gaps[parent_id] = [*self.gaps(parent_id), gap]
            last = time, item["id"]
            passed += 1
        if last:
            cursor = (last[0].isoformat() if last[0] else None, last[1])
        self._put(parent_id, cursor)
        return passed

    def _are_old(self, items: Sequence[Mapping[str, Any]]) -> bool:
        """True if it can be told at once that all of them are older than the overlap."""
        try:
            newest = newest_of([item.get("date") or item.get("created_at") for item in items])
        except ValueError:
            return False
        return newest is None or newest < self._overlap.start

    def meet_gap(self, parent_id: str, gap: Between) -> None:
        """Note a part that cannot be read; the cursor passes it with the next item, if there is one."""
        if gap[1] and parent_id not in self._stopped:
            self._ahead[parent_id] = gap

    def replace_gap(self, parent_id: str, gap: Between, left: Between | None) -> None:
        """Replace a gap that was tried again by what is left of it."""
        self._gaps[parent_id] = [
            new for old in self.gaps(parent_id) if (new := left if old == gap else old) is not None
        ]
        self.observe(parent_id, ())

    def stop(self, parent_id: str) -> None:
        """Keeps the cursor where it is: what follows was not all read."""
        self.observe(parent_id, ())
        self._stopped.add(parent_id)

    def restart(self, parent_id: str) -> None:
        """The item under the cursor is gone: what was observed starts anew."""
        self._put(parent_id, (None, None))
        self._gaps[parent_id] = []
        self._ahead.pop(parent_id, None)
        self._stopped.discard(parent_id)

    def forget(self, parent_id: str) -> None:
        """The parent is gone."""
        self._put(parent_id, None)

    def _put(self, parent_id: str, cursor: Cursor | None) -> None:
        self._pending[parent_id] = cursor
        self._moved.add(parent_id)

    def commit(self) -> None:
        """Moves the cursors to what was observed."""
        for parent_id in self._moved:
            cursor = self._pending[parent_id]
            if cursor is None:
                self._stored.pop(parent_id, None)
            else:
                self._stored[parent_id] = list(cursor)
            if cursor and (gaps := self.gaps(parent_id)):
                self._state.setdefault("gaps", {})[parent_id] = [list(gap) for gap in gaps]
            elif "gaps" in self._state:
                self._state["gaps"].pop(parent_id, None)
        self._moved.clear()
