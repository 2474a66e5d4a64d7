"""Name what could not be read: in the log, in the counts, and as rows of load_issues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from letta_source.paging.events import Gap
from letta_source.rows.arrow import table_of, to_arrays
from letta_source.rows.flatten import Nameless
from letta_source.rows.mask import Mask
from letta_source.schema.card import Resource
from letta_source.schema.tables import LOAD_ISSUES
from letta_source.state.counts import Counts

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)


class Issues:
    """Issues of one resource in one load.

    Args:
        mask: hides in a detail what it hides in rows.
        validate: hold each item to the models; what does not fit is an issue.
    """

    def __init__(
        self, resource: Resource, started_at: datetime, counts: Counts, mask: Mask, validate: bool
    ) -> None:
        self._resource = resource.name
        self._started_at = started_at
        self._counts = counts
        self._mask = mask
        self._misfit = _validator(resource) if validate else None
        self._rows: list[dict[str, Any]] = []

    def gap(self, parent_id: str, gap: Gap) -> None:
        """Names messages between two others that cannot be read."""
        self.report("unreadable", parent_id, gap.detail, gap.after_id, gap.before_id)

    def without_id(self, parent_id: str, others: Sequence[Nameless]) -> None:
        """Names elements of a page that cannot be rows."""
        for elements, after_id, before_id in others:
            kinds = ", ".join(sorted({type(element).__name__ for element in elements}))
            detail = f"{len(elements)} without an id: {kinds}"
            self.report("no_id", parent_id, detail, after_id, before_id)

    def misfits(self, parent_id: str, items: Sequence[Any]) -> None:
        """Names items that do not fit the models, if that was asked for."""
        for item in items if self._misfit else ():
            if self._misfit and (wrong := self._misfit(item)):
                item_id = str(item.get("id", "")) if isinstance(item, dict) else ""
                self.report("invalid", parent_id, wrong, item_id, item_id)

    def report(self, kind: str, parent_id: str, detail: str, after_id: str = "", before_id: str = "") -> None:
        """Names one issue.

        Args:
            parent_id: empty for the whole resource.
            after_id, before_id: ids it lies between; empty at the ends of the list.
        """
        self._counts.problems += 1
        shown = self._mask.detail(detail)
        ends = (("after", after_id), ("before", before_id))
        between = "".join(f" {side} {one}" for side, one in ends if one)
        logger.warning("%s: %s %s%s: %s", self._resource, parent_id or "the list", kind, between, shown)
        self._rows.append(
            {
                "load_started_at": self._started_at,
                "resource": self._resource,
                "parent_id": parent_id,
                "kind": kind,
                "detail": shown,
                "after_id": after_id,
                "before_id": before_id,
            }
        )

    def tables(self, load_id: str) -> list[tuple[str, pa.Table]]:
        """Rows of load_issues since the last call, none or one table."""
        if not self._rows:
            return []
        columns = {name: [issue[name] for issue in self._rows] for name in self._rows[0]}
        part = len(self._rows), to_arrays(LOAD_ISSUES, columns)
        self._rows = []
        return [(LOAD_ISSUES.name, table_of(LOAD_ISSUES, [part], load_id))]


def _validator(resource: Resource) -> Callable[[Any], str | None]:
    """A function that says what is wrong with an item of this resource, without its content."""
    from pydantic import ValidationError

    def wrong(item: Any) -> str | None:
        try:
            resource.adapter.validate_python(item)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            return f"{'.'.join(map(str, first['loc']))}: {first['msg']} ({error.error_count()} in all)"
        return None

    return wrong
